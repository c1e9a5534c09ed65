import json

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import jacprobe as jp
from jacprobe.interchange import WRITABLE
from jacprobe.masks import Masks

KEPT = torch.tensor([[True, False, True], [False, False, True]])


@pytest.fixture
def masks():
    return Masks({"fc.weight": KEPT, "fc.bias": torch.tensor([True, True])}, {"method": "snip", "seed": 0})


@pytest.fixture
def mask_file(tmp_path, masks):
    return jp.write_masks(masks, tmp_path / "mask.safetensors")


@pytest.fixture
def model_file(tmp_path):
    net = nn.ModuleDict({"fc": nn.Linear(3, 2)})
    torch.save(net.state_dict(), tmp_path / "model.pt")
    return tmp_path / "model.pt"


def test_convert_writes_another_tool_s_file_and_says_what_it_did(run, tmp_path, mask_file, masks):
    outcome = run("convert", mask_file, "--to", "open-lth", "--output", "mask.pth")
    assert outcome.status == 0
    assert "masks of 2 parameters, 5 of 8 weights kept, sparsity 0.375" in outcome.out
    assert masks.digest in outcome.out
    assert outcome.err == ("mask.safetensors: open-lth files keep no provenance; that of mask.safetensors is left"
                           " out.\n")
    theirs = torch.load(tmp_path / "mask.pth", weights_only=True)
    assert {name: mask.dtype for name, mask in theirs.items()} == {"fc.weight": torch.int32, "fc.bias": torch.int32}
    assert torch.equal(theirs["fc.weight"], KEPT.int())


@pytest.mark.parametrize("format", WRITABLE)
def test_every_format_is_reached_from_the_shell_and_back(run, tmp_path, mask_file, model_file, masks, format):
    there = tmp_path / ("a.npz" if format == "npz" else "a.safetensors" if format == "safetensors" else "a.pt")
    assert run("convert", mask_file, "--to", format, "--output", there, "--model", model_file).status == 0
    outcome = run("convert", there, "--to", "safetensors", "--output", "b.safetensors")
    assert outcome.status == 0, outcome.err
    expected = masks if format != "dense" else Masks({"fc.weight": KEPT})
    assert jp.read_masks(tmp_path / "b.safetensors") == expected


def test_json_is_one_document(run, mask_file, masks):
    facts = json.loads(run("convert", mask_file, "--to", "npz", "--output", "m.npz", "--json").out)
    assert facts["from"] == "safetensors"
    assert facts["to"] == "npz"
    assert facts["digest"] == masks.digest
    assert (facts["num_parameters"], facts["num_prunable"], facts["num_kept"], facts["sparsity"]) == (2, 8, 5, 0.375)
    assert len(facts["notes"]) == 1


def test_a_model_pruned_by_torch_needs_no_model_option(run, tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 2))
    prune.custom_from_mask(net[0], "weight", KEPT)
    torch.save(net.state_dict(), tmp_path / "theirs.pt")
    outcome = run("convert", "theirs.pt", "--to", "parametrized", "--output", "ours.pt")
    assert outcome.err == ""
    fresh = Masks({"0.weight": ~KEPT}).apply(nn.Sequential(nn.Linear(3, 2)))
    fresh.load_state_dict(torch.load(tmp_path / "ours.pt", weights_only=True))
    assert torch.equal(fresh[0].weight, net[0].weight)
    assert torch.equal(fresh[0].parametrizations.weight.original, net[0].weight_orig)


def test_a_jacprobe_checkpoint_is_converted_and_serves_as_model(run, demo_folder, tmp_path):
    assert run("convert", demo_folder / "pruned.pt", "--to", "safetensors", "--output", "m.safetensors").status == 0
    found = jp.read_masks(tmp_path / "m.safetensors")
    assert found == Masks.of(jp.load_model(demo_folder / "pruned.pt"))
    assert found.provenance["method"] == "snip"
    outcome = run("convert", "m.safetensors", "--to", "torch-prune", "--output", "t.pt", "--model",
                  demo_folder / "model.pt")
    assert outcome.status == 0
    state = torch.load(tmp_path / "t.pt", weights_only=True)
    assert torch.equal(state["fc1.weight_orig"], jp.load_model(demo_folder / "model.pt").fc1.weight)


def test_zeros_taken_for_masks_are_warned_of_on_stderr(run, model_file, mask_file, tmp_path):
    run("convert", mask_file, "--to", "dense", "--output", "zeros.pt", "--model", model_file)
    outcome = run("convert", "zeros.pt", "--to", "npz", "--output", "m.npz")
    assert outcome.status == 0
    assert "the 3 exact zeros in its 1 tensors of two and more axes are taken for removed weights" in outcome.err
    assert len(outcome.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.pt", "--to", "npz", "--output", "m.npz"], "there is no such file"),
        (["mask.safetensors", "--to", "open_lth", "--output", "m.pt"], "`--to` must be one of safetensors, npz"),
        (["mask.safetensors", "--to", "npz", "--from", "nnni", "--output", "m.npz"], "Did you mean 'nni'?"),
        (["mask.safetensors", "--to", "checkpoint", "--output", "m.pt"], "`--to` must be one of"),
        (["mask.safetensors", "--to", "torch-prune", "--output", "m.pt"], "(`--model` at the shell)"),
        (["mask.safetensors", "--to", "npz", "--output", "model.pt"], "must not exist yet"),
        (["mask.safetensors", "--to", "npz", "--output", "m.npz", "--model", "other.pt"], "must fit the model"),
        (["model.pt", "--to", "npz", "--output", "m.npz"], "its weights have none and no exact zeros"),
        (["mask.safetensors", "--to", "npz", "--from", "nni", "--output", "m.npz"], "must map module names"),
        (["mask.safetensors", "--to", "nni", "--output", "m.npz"], "must not end in .npz"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_convert_refuses_in_one_line_and_writes_nothing(run, tmp_path, mask_file, model_file, arguments, message):
    torch.save({"0.weight": torch.ones(2, 3), "0.bias": torch.ones(2)}, tmp_path / "other.pt")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    outcome = run("convert", *arguments)
    assert (outcome.status, outcome.out) == (1, "")
    assert message in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("missing", ["--to", "--output"])
def test_a_missing_option_is_misuse(run, mask_file, missing):
    arguments = {"--to": "npz", "--output": "m.npz"}
    del arguments[missing]
    outcome = run("convert", mask_file, *[word for pair in arguments.items() for word in pair])
    assert outcome.status == 2
    assert missing in outcome.err


def test_overwrite_replaces(run, tmp_path, mask_file):
    (tmp_path / "m.npz").write_text("old")
    assert run("convert", mask_file, "--to", "npz", "--output", "m.npz", "--overwrite").status == 0
    assert jp.read_masks(tmp_path / "m.npz").num_kept == 5


# info


def test_info_shows_masks_digest_and_provenance(run, mask_file, masks):
    out = run("info", mask_file).out
    for fact in ("masks, safetensors", "5 of 8 weights kept, sparsity 0.375", masks.digest, "method snip, seed 0"):
        assert fact in out
    rows = [line.split() for line in out.splitlines() if line.endswith("%")]
    assert rows == [["fc.weight", "2x3", "3", "6", "50.00", "%"], ["fc.bias", "2", "2", "2", "0.00", "%"]]


def test_info_json_of_masks_is_one_document(run, mask_file, masks):
    facts = json.loads(run("info", mask_file, "--json").out)
    assert facts["digest"] == masks.digest
    assert facts["provenance"] == {"method": "snip", "seed": 0}
    assert facts["parameters"][0] == {"parameter": "fc.weight", "shape": [2, 3], "kept": 3, "total": 6, "sparsity": 0.5}


@pytest.mark.parametrize("format", ["npz", "open-lth", "nni"])
def test_info_knows_the_mask_files_of_other_tools(run, tmp_path, masks, format):
    path = jp.write_masks(masks, tmp_path / ("m.npz" if format == "npz" else "m.pt"), format=format)
    assert f"masks, {format}" in run("info", path).out


def test_info_of_a_damaged_mask_file_is_one_line(run, mask_file):
    data = mask_file.read_bytes()
    mask_file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    outcome = run("info", mask_file)
    assert (outcome.status, outcome.out) == (1, "")
    assert "must have the digest" in outcome.err
