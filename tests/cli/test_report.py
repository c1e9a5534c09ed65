import hashlib
import re

import pytest
import torch

import jacprobe as jp


@pytest.fixture
def files(tmp_path):
    net = jp.initialize(jp.build("mlp-3-tanh", input_shape=(1, 8, 8), num_classes=10), "orthogonal", seed=0)
    jp.save_model(net, tmp_path / "dense.pt")
    jp.save_model(jp.prune(net, "magnitude", sparsity=0.9).apply(net), tmp_path / "pruned.pt")
    return tmp_path


def text_of(path):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", path.read_text(encoding="utf-8")))


def test_a_model_file_becomes_a_page_with_everything_that_can_be_seen(run, files):
    outcome = run("report", "pruned.pt", "--output", "report.html", "--data", "digits", "--num-inputs", 5)
    assert outcome == (0, "Wrote report.html.\n", "")
    text = text_of(files / "report.html")
    for words in ("Signal propagation: pruned", "Isometry Every singular value of every layer within 0.1 of 1: no,",
                  "connection sensitivity (snip) on 5 inputs from digits (train)", "Mask", "90 % of the weights",
                  hashlib.sha256((files / "pruned.pt").read_bytes()).hexdigest(), "data digits", "num inputs 5",
                  "jacprobe isometrize pruned.pt --output pruned-repaired.pt",
                  "command jacprobe report pruned.pt --output report.html --data digits --num-inputs 5"):
        assert words in text, words


def test_several_files_and_saved_results_stand_beside_each_other(run, files, monkeypatch):
    monkeypatch.setattr("jacprobe.report.page.spectra_pictures", lambda section: [])  # slow
    assert run("spectrum", "dense.pt", "--num-inputs", 2, "--end-to-end", "--output", "saved.npz").status == 0
    outcome = run("report", "saved.npz", "pruned.pt", "--output", files / "report.html", "--num-inputs", 2, "--epsilon",
                  0.2, "--title", "Mine", "--score", "none")
    assert outcome.status == 0
    text = text_of(files / "report.html")
    for words in ("Mine", "Δ is the difference from saved", "saved results hold spectra only.",
                  "Not shown: --score none.", "within 0.2 of 1", "--output report.html"):
        assert words in text, words
    assert str(files) not in text


def test_what_cannot_be_known_has_its_reason_in_the_page(run, files):
    assert run("report", "dense.pt", "--output", "report.html", "--num-inputs", 2).status == 0
    assert "Not shown: `data` must be given for &#39;snip&#39;" in text_of(files / "report.html")


def test_folders_that_name_a_user_are_not_in_the_page(run, files):
    torch.save(torch.zeros(2, 1, 8, 8), files / "images.pt")
    assert run("report", files / "dense.pt", "--output", files / "report.html", "--data", files / "images.pt",
               "--score", "none").status == 0
    text = text_of(files / "report.html")
    assert "jacprobe report dense.pt --output report.html --score none --data images.pt" in text
    assert str(files) not in text


def test_a_file_name_with_markup_is_text(run, files):
    name = "<script>alert(1)<script>.pt"
    (files / "dense.pt").rename(files / name)
    assert run("report", name, "--output", "report.html", "--num-inputs", 2, "--score", "none").status == 0
    page = (files / "report.html").read_text()
    assert "<script>alert" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;script&gt;") > 3


@pytest.mark.parametrize(("arguments", "status", "words"), [
    (["dense.pt", "--output", "page.txt"], 2, "--output must end in .html, .htm; got 'page.txt'"),
    (["dense.pt", "--output", "there.html"], 1, "must not exist yet"),
    (["dense.pt", "--output", "no/page.html"], 1, "must lie in an existing folder"),
    (["dense.pt", "--output", "page.html", "--score", "snib"], 1, "`--score` must be one of"),
    (["dense.pt"] * 11 + ["--output", "page.html"], 2, "report takes at most 10 files; got 11"),
    (["none.pt", "--output", "page.html"], 1, "none.pt"),
    (["saved.npz", "--output", "page.html", "--model", "mlp-7-tanh"], 1, "must be left out where all files are saved"),
    (["empty.npz", "--output", "page.html"], 1, "`FILES` must hold spectra; got an empty set for 'empty'"),
    (["other.pt", "dense.pt", "--output", "page.html", "--num-inputs", 2], 1, "must have layers of the same name"),
], ids=["suffix", "existing", "no folder", "score", "eleven", "no file", "nothing to build", "empty", "strangers"])
def test_refusals_are_one_line_and_write_nothing(run, files, arguments, status, words):
    (files / "there.html").write_text("kept")
    jp.SpectrumSet(()).save(files / "empty.npz")
    torch.save(torch.nn.Sequential(torch.nn.Linear(64, 3)), files / "other.pt") if "other.pt" in arguments else None
    outcome = run("report", *arguments, *(["--trust-file", "--input-shape", "64"] if "other.pt" in arguments else []))
    assert (outcome.status, outcome.out) == (status, "")
    assert len(outcome.err.splitlines()) == 1, outcome.err
    assert words in outcome.err
    assert (files / "there.html").read_text() == "kept"
    assert not (files / "page.html").exists()
