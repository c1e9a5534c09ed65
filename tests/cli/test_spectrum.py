import json
import os
import pickle
import zipfile

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import jacprobe as jp


@pytest.fixture
def model_file(tmp_path):
    path = tmp_path / "model.pt"
    jp.save_model(jp.build("mlp-3-tanh", input_shape=(1, 8, 8)), path)
    return path


def refused(outcome, *words: str, status: int = 1) -> None:
    assert outcome.status == status
    assert outcome.out == ""
    assert len(outcome.err.splitlines()) == 1, outcome.err
    assert outcome.err.startswith("jacprobe: ")
    for word in words:
        assert word in outcome.err


# what it shows


def test_the_table_shows_what_python_computes(run, demo_folder):
    outcome = run("spectrum", demo_folder / "pruned.pt", "--data", "digits", "--num-inputs", 50)
    result = jp.spectra(jp.load_model(demo_folder / "pruned.pt"), jp.load_data("digits", num=50).images)
    assert "50 inputs from digits (train)" in outcome.out
    for spectrum in result:
        (line,) = [line for line in outcome.out.splitlines() if line.split()[:1] == [spectrum.segment]]
        assert line.split()[1:4] == [f"{spectrum.out_dim}x{spectrum.in_dim}", f"{spectrum.mean:.3g}",
                                     f"{spectrum.std:.3g}"]
        assert line.split()[-1] == "exact"
    assert "it holds in 0 of 7 layers" in outcome.out
    floor = max(spectrum.floor for spectrum in result)
    assert f"none is off by more than the floor of its segment, at most {floor:.1e}" in outcome.out


def test_json_is_exactly_one_document_on_stdout(run, demo_folder):
    outcome = run("spectrum", demo_folder / "model.pt", "--data", "digits", "--num-inputs", 5, "--json")
    document = json.loads(outcome.out)
    assert set(document) == {"model", "segments", "provenance"}
    assert [row["segment"] for row in document["segments"]] == [*(f"fc{i}" for i in range(1, 8)), "end_to_end"]
    assert document["model"]["file"] == "model.pt"
    assert document["provenance"]["data"] == "digits"
    assert document["provenance"]["num_inputs"] == 5


def test_random_inputs_are_labelled_as_such(run, model_file):
    outcome = run("spectrum", model_file, "--num-inputs", 3)
    assert "3 random inputs (standard normal, not data" in outcome.out
    assert json.loads(run("spectrum", model_file, "--num-inputs", 3, "--json").out)["provenance"]["data"] == "random"


@pytest.mark.parametrize(
    ("flags", "kinds"),
    [
        ([], ["layer"] * 3 + ["end_to_end"]),
        (["--layers"], ["layer"] * 3),
        (["--modules"], ["module"] * 3),
        (["--end-to-end"], ["end_to_end"]),
        (["--cumulative"], ["cumulative"] * 3),
        (["--segment", "act1:act2"], ["pair"]),
        (["--layers", "--modules", "--segment", "input:fc2"], ["layer"] * 3 + ["module"] * 3 + ["pair"]),
    ],
)
def test_flags_choose_the_segments(run, model_file, flags, kinds):
    rows = json.loads(run("spectrum", model_file, "--num-inputs", 2, "--json", *flags).out)["segments"]
    assert [row["kind"] for row in rows] == kinds


def test_seed_draws_other_inputs_and_the_same_seed_the_same(run, model_file):
    means = [
        json.loads(run("spectrum", model_file, "--data", "digits", "--num-inputs", 5, "--json", *seed).out)
        ["segments"][0]["mean"]
        for seed in ([], ["--seed", 1], ["--seed", 1], ["--seed", 2])
    ]
    assert means[1] == means[2]
    assert len(set(means)) == 3


def test_accuracy_dtype_and_epsilon_reach_the_result(run, model_file):
    arguments = ("spectrum", model_file, "--num-inputs", 2, "--json")
    document = json.loads(run(*arguments, "--accuracy", "reference", "--epsilon", "0.5").out)
    assert document["provenance"]["dtype"] == "float64"
    assert document["provenance"]["epsilon"] == 0.5
    assert max(row["floor"] for row in document["segments"]) < 1e-12
    assert json.loads(run(*arguments, "--dtype", "float64").out)["provenance"]["dtype"] == "float64"


def test_arrays_of_any_size_serve_as_inputs(run, model_file, tmp_path):
    images = np.random.default_rng(0).normal(size=(120, 1, 8, 8)).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "few.npy", images[:7])
    for file, count in (("images.npy", 100), ("few.npy", 7)):
        document = json.loads(run("spectrum", model_file, "--data", file, "--json").out)
        assert document["provenance"]["num_inputs"] == count


def test_a_state_dict_takes_its_network_by_name_or_factory(run, tmp_path):
    net = jp.build("mlp-3-tanh", input_shape=(1, 8, 8))
    torch.save(net.state_dict(), tmp_path / "weights.pt")
    (tmp_path / "mynets.py").write_text(
        "import jacprobe as jp\ndef small():\n    return jp.build('mlp-3-tanh', input_shape=(1, 8, 8))\n")
    documents = [
        json.loads(run("spectrum", "weights.pt", "--model", model, "--data", "digits", "--num-inputs", 3, "--json").out)
        for model in ("mlp-3-tanh", "mynets:small")
    ]
    assert documents[0]["segments"][0]["mean"] == documents[1]["segments"][0]["mean"]


def test_a_pickled_module_of_torch_classes_is_probed(run, tmp_path):
    torch.save(nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)), tmp_path / "module.pt")
    rows = json.loads(run("spectrum", "module.pt", "--input-shape", "4", "--json").out)["segments"]
    assert [row["segment"] for row in rows] == ["0", "2", "end_to_end"]


def test_a_layer_without_spectrum_is_explained_below_the_table(run, tmp_path):
    (tmp_path / "bilinear.py").write_text(
        "from torch import nn\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.mix = nn.Bilinear(4, 4, 3)\n    def forward(self, x):\n        return self.mix(x, x.tanh())\n")
    torch.save(nn.ModuleDict({"mix": nn.Bilinear(4, 4, 3)}).state_dict(), tmp_path / "weights.pt")
    out = run("spectrum", "weights.pt", "--model", "bilinear:Net", "--input-shape", "4").out
    assert "mix has no spectrum: Bilinear takes two inputs" in out


# outputs


@pytest.mark.parametrize("suffix", [".npz", ".parquet", ".json", ".csv"])
def test_output_is_written_whole_and_holds_the_table(run, model_file, tmp_path, suffix):
    path = tmp_path / f"result{suffix}"
    assert run("spectrum", model_file, "--num-inputs", 3, "--output", path).status == 0
    expected = json.loads(run("spectrum", model_file, "--num-inputs", 3, "--json").out)["segments"]
    if suffix == ".json":
        rows = json.loads(path.read_text())["segments"]
    elif suffix == ".csv":
        rows = pd.read_csv(path).to_dict("records")
    else:
        rows = jp.SpectrumSet.load(path).to_dict()["segments"]
    assert [row["mean"] for row in rows] == pytest.approx([row["mean"] for row in expected], rel=1e-12)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.pt", path.name]


def test_plot_is_a_picture(run, model_file, tmp_path):
    assert run("spectrum", model_file, "--num-inputs", 3, "--plot", "layers.png").status == 0
    assert (tmp_path / "layers.png").read_bytes().startswith(b"\x89PNG")


def test_a_figure_that_cannot_be_drawn_leaves_no_table_behind(run, model_file, tmp_path, monkeypatch):
    def undrawable(*arguments, **settings):
        raise jp.errors.ArgumentError("`result` must be thin.")

    monkeypatch.setattr(jp, "plot_layers", undrawable)
    refused(run("spectrum", model_file, "--num-inputs", 3, "--plot", "out.png", "--output", "out.csv"), "must be thin")
    assert not list(tmp_path.glob("out.*"))


@pytest.mark.parametrize("option", ["--output", "--plot"])
def test_nothing_is_replaced_unless_told(run, model_file, tmp_path, option):
    name = "out.npz" if option == "--output" else "out.png"
    (tmp_path / name).write_text("precious")
    refused(run("spectrum", model_file, option, name), name, "must not exist yet")
    assert (tmp_path / name).read_text() == "precious"
    assert run("spectrum", model_file, "--num-inputs", 2, option, name, "--overwrite").status == 0
    assert (tmp_path / name).read_bytes() != b"precious"


# refusals: one line, nothing written


def test_data_of_another_shape_than_the_file_says_are_refused_with_both_shapes(run, model_file):
    np.save("images.npy", np.zeros((2, 1, 9, 9), np.float32))
    refused(run("spectrum", model_file, "--data", "images.npy"), "(1, 8, 8)", "has (1, 9, 9)")
    refused(run("spectrum", model_file, "--data", "digits", "--input-shape", "3,4,5"), "(3, 4, 5), as --input-shape")


def test_the_verdict_is_open_where_a_layer_has_no_spectrum(run, tmp_path):
    net = jp.initialize(jp.build("mlp-3-linear", input_shape=(1, 2, 2), num_classes=3, width=4), "orthogonal")
    jp.save_model(net, tmp_path / "net.pt")
    assert "yes, in all 3 layers" in run("spectrum", "net.pt").out
    (tmp_path / "wide.py").write_text(  # one layer too large for the limit, the other isometric
        "import torch\nfrom torch import nn\ndef net():\n    wide = nn.Sequential(nn.Linear(40, 40), nn.Tanh(),"
        " nn.Linear(40, 2, bias=False))\n    nn.init.eye_(wide[2].weight)\n    return wide\n")
    torch.save({"0.weight": torch.eye(40), "0.bias": torch.zeros(40), "2.weight": torch.eye(2, 40)}, "wide.pt")
    out = run("spectrum", "wide.pt", "--model", "wide:net", "--input-shape", "40", "--work", "1e5", "--layers").out
    assert "not known, it holds in 1 of 2 layers, the rest have no spectrum" in out


def test_notes_on_the_file_go_to_stderr(run, tmp_path):
    state = jp.build("mlp-3-tanh", input_shape=(1, 8, 8)).state_dict()
    torch.save({"ema": state, "other": state}, tmp_path / "two.pt")
    outcome = run("spectrum", "two.pt", "--model", "mlp-3-tanh", "--data", "digits", "--json")
    assert "two.pt: unwrapped key 'ema' (also there: other)" in outcome.err
    json.loads(outcome.out)


def test_wrong_outputs_are_refused_before_any_work(run, model_file, tmp_path):
    refused(run("spectrum", "missing.pt", "--output", "out.txt"), "--output must end in .npz", status=2)
    refused(run("spectrum", "missing.pt", "--plot", "out.npz"), "--plot must end in .png", status=2)
    refused(run("spectrum", "missing.pt", "--output", "nowhere/out.npz"), "existing folder")
    refused(run("spectrum", "missing.pt", "--plot", "out.png", "--modules"), "--layers", status=2)
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="needs a folder that not even root can write to")
def test_an_unwritable_folder_is_refused(run, model_file):
    refused(run("spectrum", model_file, "--output", "/proc/out.npz"), "must be writable")


class _Bomb:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def test_files_that_are_no_models_are_refused(run, tmp_path, model_file):
    whole = model_file.read_bytes()
    (tmp_path / "folder.pt").mkdir()
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "page.pt").write_text("<!DOCTYPE html><html></html>")
    (tmp_path / "short.pt").write_bytes(whole[: len(whole) // 2])
    with zipfile.ZipFile(model_file) as archive:
        info = next(i for i in archive.infolist() if i.file_size > 1000)
    position = whole.index(b"PK", info.header_offset) + 1000
    (tmp_path / "flipped.pt").write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
    for name, words in {"missing.pt": "no such file", "folder.pt": "folder", "empty.pt": "empty", "page.pt": "text",
                        "short.pt": "truncated or damaged", "flipped.pt": "damaged"}.items():
        refused(run("spectrum", name, "--data", "digits"), name, words)


def test_a_file_that_would_run_code_is_refused_and_does_not_run(run, tmp_path):
    marker = tmp_path / "marker"
    torch.save({"weight": torch.ones(2, 2), "bomb": _Bomb(marker)}, tmp_path / "zip.pt")
    torch.save({"bomb": _Bomb(marker)}, tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(_Bomb(marker)))
    for name in ("zip.pt", "legacy.pt", "bare.pt"):
        refused(run("spectrum", name, "--data", "digits"), "system", "--trust-file")
        refused(run("info", name), "system", "--trust-file")
    assert not marker.exists()


def test_weights_without_the_right_network_are_refused(run, tmp_path):
    torch.save(jp.build("mlp-3-tanh", input_shape=(1, 8, 8)).state_dict(), tmp_path / "weights.pt")
    arguments = ("spectrum", "weights.pt", "--data", "digits")
    refused(run(*arguments), "must name the network", "mlp-7-tanh", "--model")
    refused(run(*arguments, "--model", "mlp-7-tanh"), "'fc4.weight'", "(10, 100)")
    refused(run(*arguments, "--model", "mlp-4-tanh"), "Did you mean")
    refused(run(*arguments, "--model", "nowhere:net"), "nowhere")


def test_weights_that_are_not_finite_are_refused_by_name(run, tmp_path):
    net = jp.build("mlp-3-tanh", input_shape=(1, 8, 8))
    net.fc2.weight.data[1, 2] = float("inf")
    jp.save_model(net, tmp_path / "bad.pt")
    refused(run("spectrum", "bad.pt", "--data", "digits"), "'fc2.weight' has 1 NaN or infinite")


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((2, 1, 9, 9), np.float32), "must have samples of shape (1, 8, 8)"),
        (np.ones((2, 1, 8, 8), np.int64), "floating"),
        (np.full((2, 1, 8, 8), np.nan, np.float32), "finite"),
        (np.zeros((0, 1, 8, 8), np.float32), "zero samples"),
    ],
    ids=["wrong shape", "integers", "NaN", "no samples"],
)
def test_wrong_inputs_are_refused(run, model_file, array, words):
    np.save("images.npy", array)
    refused(run("spectrum", model_file, "--data", "images.npy"), words)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("return x.detach() @ self.weight", "must depend on its input"),
        ("return (x - x.mean(0)) @ self.weight", "must treat samples one by one"),
        ("return nn.functional.batch_norm(x, None, None, training=True) @ self.weight", "one by one"),
        ("return nn.functional.dropout(x) @ self.weight", "must repeat its output"),
        ("return x @ self.weight, x", "must return one tensor"),
    ],
    ids=["constant", "mixing", "batch norm in train mode", "random", "tuple"],
)
def test_models_that_have_no_jacobian_per_sample_are_refused(run, tmp_path, code, words, request):
    name = f"net_{request.node.callspec.indices['code']}"  # modules of one name would be imported once
    (tmp_path / f"{name}.py").write_text(
        "import torch\nfrom torch import nn\nclass Net(nn.Module):\n    def __init__(self):\n"
        "        super().__init__()\n        self.weight = nn.Parameter(torch.ones(4, 3))\n"
        f"    def forward(self, x):\n        {code}\n")
    torch.save({"weight": torch.ones(4, 3)}, tmp_path / "weights.pt")
    refused(run("spectrum", "weights.pt", "--model", f"{name}:Net", "--input-shape", "4"), words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "imagenet"], "digits, mnist, fashion-mnist, cifar-10, random"),
        (["--data", "missing.npy"], "missing.npy"),
        (["--split", "validation"], "`--split` must be one of"),
        (["--data", "mnist", "--data-root", "."], "train-images"),
        (["--data", "digits", "--num-inputs", "5000"], "5000"),
        (["--num-inputs", "0"], "`--num-inputs` must be a whole number of at least 1"),
        (["--device", "gpu"], "`--device` must be one of cpu"),
        (["--dtype", "float16"], "float32, float64"),
        (["--accuracy", "best"], "fast, standard, reference"),
        (["--epsilon", "0"], "`--epsilon` must be a positive number"),
        (["--segment", "input:act9"], "fc1, act1"),
        (["--segment", "act2:act1"], "must lead from a site"),
        (["--split", "validation"], "train"),
    ],
)
def test_wrong_values_are_refused_with_the_valid_ones(run, model_file, arguments, words):
    refused(run("spectrum", model_file, *arguments), words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["spectrum"], "Missing argument"),
        (["spectrum", "m.pt", "--bogus"], "--bogus"),
        (["spectrum", "m.pt", "--num-inputs", "many"], "--num-inputs"),
        (["spectrum", "m.pt", "--segment", "act1"], "A:B"),
        (["spectrum", "m.pt", "--input-shape", "axb"], "1,28,28"),
        (["spectra"], "spectra"),
    ],
)
def test_misuse_exits_with_two(run, arguments, words):
    refused(run(*arguments), words, status=2)


def test_weights_alone_with_random_data_ask_for_a_shape(run, tmp_path):
    torch.save(nn.Linear(3, 2).state_dict(), tmp_path / "weights.pt")
    refused(run("spectrum", "weights.pt"), "--input-shape")
