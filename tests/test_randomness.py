import numpy as np
import pytest
import torch
from torch import nn

import jacprobe as jp
from jacprobe.errors import ArgumentError, DtypeError
from jacprobe.randomness import drawn_seed, make_generator


def test_a_seed_and_a_generator_of_that_seed_draw_the_same():
    net = nn.Linear(20, 20)
    drawn = jp.initialize(net, "vs-l", seed=torch.Generator().manual_seed(3))
    assert torch.equal(drawn.weight, jp.initialize(net, "vs-l", seed=3).weight)


def test_a_random_mask_does_not_follow_weights_of_the_same_seed():
    net = jp.initialize(nn.Sequential(nn.Linear(300, 300), nn.Linear(300, 300)), "vs-l", seed=0)
    masks = jp.prune(net, "random", sparsity=0.6, seed=0)
    for name, mask in masks.items():
        energy = net.state_dict()[name].square()
        kept = float(energy[mask].sum() / energy.sum())
        assert kept == pytest.approx(float(mask.double().mean()), abs=0.01)  # standard deviation 0.0023


def test_random_inputs_do_not_follow_weights_of_the_same_seed():
    inputs = jp.load_data("random", num=300, input_shape=(300,), seed=0).images.flatten()
    weights = jp.initialize(nn.Linear(300, 300), "vs-l", seed=0).weight.detach().flatten()
    assert abs(float(torch.corrcoef(torch.stack([inputs, weights]))[0, 1])) < 4 / 300


def test_a_seed_for_a_purpose_repeats():
    first, second = (torch.rand(3, generator=make_generator(5, purpose="scores")) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, torch.rand(3, generator=make_generator(6, purpose="scores")))


def test_an_integer_of_numpy_is_a_seed_like_another():
    net = nn.Linear(9, 9)
    masks, same = (jp.prune(net, "random", sparsity=0.5, seed=seed) for seed in (np.int64(3), 3))
    assert masks == same and masks.provenance == same.provenance
    assert type(drawn_seed(np.int64(3))) is int


@pytest.mark.parametrize("seed", [2**64, -(2**63) - 1])
def test_a_seed_of_more_than_64_bits_is_refused(seed):
    with pytest.raises(ArgumentError, match=r"`seed` must fit into 64 bits; got -?\d+\. Pass a seed such as 0"):
        make_generator(seed)


@pytest.mark.parametrize("seed", ["0", None, 1.0, True])
def test_anything_else_is_refused(seed):
    with pytest.raises(DtypeError, match=r"`seed` must be an integer or a torch\.Generator; got .*\. Pass a seed"):
        make_generator(seed)
