import contextlib
import io
import shlex

import pytest

import jacprobe as jp
from jacprobe.cli import main


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The folder in which the demo ran with its defaults, and what it printed."""
    folder, out = tmp_path_factory.mktemp("demo"), io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(out):
        assert main(["demo"]) == 0
    return folder, out.getvalue()


def test_demo_writes_two_models_and_a_figure_and_its_next_command_works(run, demo, monkeypatch):
    folder, out = demo
    monkeypatch.chdir(folder)
    assert sorted(path.name for path in (folder / "jacprobe-demo").iterdir()) == ["model.pt", "pruned.pt",
                                                                                 "spectra.png"]
    assert (folder / "jacprobe-demo" / "spectra.png").read_bytes().startswith(b"\x89PNG")
    command = shlex.split(out.strip().splitlines()[-1])
    assert command[0] == "jacprobe"
    assert run(*command[1:]).status == 0


def test_demo_prints_every_layer_of_both_networks_side_by_side(demo):
    folder, out = demo
    dense, pruned = (jp.load_model(folder / "jacprobe-demo" / name) for name in ("model.pt", "pruned.pt"))
    images = jp.load_data("digits", num=200).images
    for before, after in zip(jp.spectra(dense, images), jp.spectra(pruned, images), strict=True):
        (line,) = [line for line in out.splitlines() if line.split()[:1] == [before.segment]]
        assert f"{before.mean:.3g}" in line.split()
        assert f"{after.mean:.3g}" in line.split()


def test_the_pruned_model_keeps_exactly_one_weight_in_ten(demo_folder):
    masks = jp.Masks.of(jp.load_model(demo_folder / "pruned.pt"))
    assert (masks.num_prunable, masks.num_kept) == (57_400, 5_740)


def test_demo_replaces_nothing_unless_told(run, demo_folder):
    before = {path: path.read_bytes() for path in demo_folder.iterdir()}
    outcome = run("demo", "--output", demo_folder, "--seed", 1)
    assert outcome.status == 1
    assert outcome.out == ""
    assert "must not exist yet" in outcome.err
    assert {path: path.read_bytes() for path in demo_folder.iterdir()} == before
    assert run("demo", "--output", demo_folder, "--seed", 1, "--overwrite").status == 0
    after = {path: path.read_bytes() for path in demo_folder.iterdir()}
    assert after.keys() == before.keys()
    assert all(after[path] != before[path] for path in before)


def test_demo_refuses_a_folder_that_cannot_be_made(run, tmp_path):
    (tmp_path / "file").write_text("")
    outcome = run("demo", "--output", tmp_path / "file" / "folder")
    assert outcome.status == 1
    assert len(outcome.err.splitlines()) == 1
    assert "must be a folder that can be made" in outcome.err
