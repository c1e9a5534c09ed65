"""Tied weights and masked models that were pickled whole."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import jacprobe as jp
from jacprobe.checkpoint import load_model, read_checkpoint
from jacprobe.errors import UntrustedFileError
from jacprobe.masks import Masks, assert_masked

KEPT = torch.eye(3) > 0


def make_tied():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
    net[2].weight = net[0].weight
    return net


def make_tied_and_pruned(second=KEPT):
    net = make_tied()
    for layer, mask in ((net[0], KEPT), (net[2], second)):
        prune.custom_from_mask(layer, "weight", mask)
    net[2].weight_orig = net[0].weight_orig
    return net


def test_a_pickled_module_keeps_its_weights_tied(write):
    net, inputs = make_tied(), torch.randn(2, 3)
    checkpoint = read_checkpoint(write(net))
    assert checkpoint.num_parameters == 9 + 3 + 3
    assert [row.name for row in checkpoint.layers] == ["0.weight"]
    loaded = load_model(checkpoint.path)
    assert loaded[0].weight is loaded[2].weight
    assert torch.equal(loaded(inputs), net(inputs))


def test_a_pickled_module_with_tied_and_pruned_weights_stays_tied_and_masked(write):
    net, inputs = make_tied_and_pruned(), torch.randn(2, 3)
    checkpoint = read_checkpoint(write(net))
    assert checkpoint.masks == Masks({"0.weight": KEPT})
    assert checkpoint.num_parameters == 9 + 3 + 3
    assert checkpoint.module[0].weight is checkpoint.module[2].weight
    loaded = load_model(checkpoint.path)
    assert torch.equal(loaded(inputs), net(inputs))
    assert loaded[0].parametrizations.weight.original is loaded[2].parametrizations.weight.original
    optimiser = torch.optim.SGD(loaded.parameters(), lr=0.1, weight_decay=0.1)
    loaded(inputs).square().sum().backward()
    optimiser.step()
    assert torch.equal(loaded[0].weight, loaded[2].weight)
    assert torch.equal(loaded[0].weight == 0, ~KEPT)
    assert jp.read_masks(checkpoint.path) == checkpoint.masks


def test_tied_weights_with_different_masks_are_read_apart(write):
    net, inputs = make_tied_and_pruned(second=~KEPT), torch.randn(2, 3)
    checkpoint = read_checkpoint(write(net))
    assert checkpoint.masks == Masks({"0.weight": KEPT, "2.weight": ~KEPT})
    assert torch.equal(load_model(checkpoint.path)(inputs), net(inputs))


def make_tied_and_masked():
    return Masks({"0.weight": KEPT}).apply(make_tied())


@pytest.mark.parametrize("make", [make_tied, make_tied_and_pruned, make_tied_and_masked],
                         ids=["dense", "pruned by torch", "masked"])
def test_a_state_dict_of_tied_weights_fills_a_tied_network(make, write):
    net, inputs = make(), torch.randn(2, 3)
    loaded = load_model(write(net.state_dict()), model=make_tied)
    assert torch.equal(loaded(inputs), net(inputs))
    assert Masks.of(loaded) == Masks.of(net)
    assert sum(p.numel() for p in loaded.parameters()) == 9 + 3 + 3


def test_a_masked_model_saved_whole_needs_trust_and_comes_back_masked(write):
    net, inputs = make_tied_and_masked(), torch.randn(2, 3)
    path = write(net)
    with pytest.raises(UntrustedFileError, match=r"it wants jacprobe\.masks\.parametrisation\.KeepMask, .*Ask for"):
        read_checkpoint(path)
    loaded = load_model(path, trust_file=True)
    assert torch.equal(loaded(inputs), net(inputs))
    assert Masks.of(loaded) == Masks({"0.weight": KEPT})
    assert_masked(loaded)
