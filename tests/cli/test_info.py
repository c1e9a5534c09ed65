import json

import torch
from torch import nn

import jacprobe as jp


def test_info_tells_network_masks_and_provenance(run, demo_folder):
    out = run("info", demo_folder / "pruned.pt").out
    for fact in ("jacprobe checkpoint", "mlp-7-tanh", "5740 of 57400 weights kept", "digits", "1x8x8", "58010"):
        assert fact in out
    assert [line.split()[0] for line in out.splitlines() if line.endswith("%")] == [f"fc{i}.weight"
                                                                                    for i in range(1, 8)]


def test_info_json_is_one_document(run, demo_folder):
    facts = json.loads(run("info", demo_folder / "model.pt", "--json").out)
    assert facts["network"]["name"] == "mlp-7-tanh"
    assert facts["num parameters"] == 58_010
    assert len(facts["sha256"]) == 64


def test_info_reads_a_state_dict_without_its_network(run, tmp_path):
    torch.save(nn.Linear(3, 2).state_dict(), tmp_path / "weights.pt")
    out = run("info", tmp_path / "weights.pt").out
    assert "state dict" in out
    assert "2x3" in out


def test_info_refuses_in_one_line(run):
    outcome = run("info", "missing.pt")
    assert (outcome.status, outcome.out) == (1, "")
    assert len(outcome.err.splitlines()) == 1


def test_markup_in_names_is_printed_as_it_is(run, tmp_path):
    torch.save({"[red]weight": torch.ones(2, 2)}, tmp_path / "[bold]m.pt")
    out = run("info", tmp_path / "[bold]m.pt").out
    assert "[red]weight" in out
    assert "[bold]m.pt" in out


def test_info_runs_nothing_of_a_pickled_module(run, tmp_path):
    torch.save(jp.build("mlp-3-tanh", input_shape=(1, 8, 8)), tmp_path / "module.pt")
    assert run("info", tmp_path / "module.pt").status == 0


def test_lists_in_the_provenance_are_shown(run, tmp_path):
    net = jp.build("mlp-3-tanh", input_shape=(1, 2, 2))
    jp.save_model(net, tmp_path / "net.pt", provenance={"scales": [0.1, 0.2]})
    assert "scales 0.1; 0.2" in run("info", tmp_path / "net.pt").out
