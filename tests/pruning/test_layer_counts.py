"""How many weights of each layer `prune` keeps."""

import pytest
import torch
from torch import nn

from jacprobe.errors import ArgumentError
from jacprobe.pruning import prune


def make_net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 6, bias=False), nn.Linear(6, 3)
    )


def make_data(num=20):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(num, 1, 4, 4, generator=generator), torch.randint(0, 3, (num,), generator=generator)


@pytest.mark.parametrize("sparsity", [0, 0.1, 0.5, 0.77])
@pytest.mark.parametrize("allocation", ["global", "uniform", "erk", "uniform-plus", "igq", "smart-ratio"])
@pytest.mark.parametrize("prunable", ["weights", "paper"])
def test_the_count_is_exact_for_every_allocation(allocation, sparsity, prunable):
    if (allocation, sparsity) == ("uniform-plus", 0.77):
        sparsity = 0.6  # its first convolution stays dense
    masks = prune(make_net(), "random", sparsity=sparsity, allocation=allocation, prunable=prunable)
    assert masks.num_prunable - masks.num_kept == round(sparsity * masks.num_prunable)


def test_a_uniform_allocation_removes_the_lowest_of_each_layer():
    net = make_net()
    masks = prune(net, "magnitude", sparsity=0.5, allocation="uniform")
    assert masks.layer_sparsity() == dict.fromkeys(masks, 0.5)
    for name, mask in masks.items():
        weight = net.get_parameter(name).abs()
        assert weight[mask].min() >= weight[~mask].max()


def test_the_allocation_of_another_mask_gives_random_masks_of_its_layer_densities():
    first = prune(make_net(), "snip", sparsity=0.8, data=make_data())
    control = prune(make_net(), "random", sparsity=0.8, allocation=first)
    assert control != first and control.layer_sparsity() == first.layer_sparsity()


@pytest.mark.parametrize("allocation", ["global", "uniform", "erk", "igq"])
@pytest.mark.parametrize("prunable", ["weights", "paper"])
def test_every_layer_keeps_its_minimum_and_the_total_is_exact(allocation, prunable):
    def favours_the_first(model, names):
        return {name: torch.full_like(model.get_parameter(name), -i) for i, name in enumerate(names)}

    masks = prune(make_net(), favours_the_first, sparsity=0.9, allocation=allocation, min_kept=4, prunable=prunable)
    kept = {name: int(mask.sum()) for name, mask in masks.items() if name.endswith("weight")}
    assert masks.num_kept == masks.num_prunable - round(0.9 * masks.num_prunable)
    assert min(kept.values()) >= 4
    if allocation == "global":
        assert (kept["4.weight"], kept["5.weight"]) == (4, 4)


def test_an_empty_layer_is_refused_where_the_caller_asks():
    net = make_net()
    nn.init.constant_(net[5].weight, 1e-9)
    assert not prune(net, "magnitude", sparsity=0.5)["5.weight"].any()
    with pytest.raises(ArgumentError, match=r"`sparsity` must leave weights in every layer; 5\.weight would be empty"):
        prune(net, "magnitude", sparsity=0.5, allow_empty=False)
    zero = nn.init.zeros_
    for module in (net[0], net[5]):
        zero(module.bias)
    masks = prune(net, "magnitude", sparsity=0.5, allow_empty=False, min_kept=1, prunable="paper")
    assert masks["5.weight"].any() and not masks["5.bias"].any()  # biases are no layers


def test_minima_must_fit_the_total():
    with pytest.raises(ArgumentError, match=r"`min_kept` must leave enough weights for every layer; .+ 15\. Lower one"):
        prune(make_net(), "random", sparsity=0.9, min_kept=6)


@pytest.mark.parametrize("min_kept", [-1, 1.5, True, None], ids=str)
def test_a_minimum_must_be_a_whole_number(min_kept):
    with pytest.raises(ArgumentError, match=r"`min_kept` must be a whole number from 0 on; got .+\. 1 lets no layer"):
        prune(make_net(), "random", sparsity=0.5, min_kept=min_kept)
