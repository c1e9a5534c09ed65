"""What `prune` makes of a choice of parameters."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from jacprobe.errors import ModelError
from jacprobe.pruning import prune


def make_net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 6, bias=False), nn.Linear(6, 3)
    )


def make_data(num=20):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(num, 1, 4, 4, generator=generator), torch.randint(0, 3, (num,), generator=generator)


NUM_WEIGHTS = 36 + 96 + 18


def test_protected_layers_are_never_pruned_and_do_not_count():
    masks = prune(make_net(), "magnitude", sparsity=1, protected=[nn.Conv2d])
    assert list(masks) == ["4.weight", "5.weight"] and masks.num_kept == 0
    assert prune(make_net(), "random", sparsity=1, protected=iter(["4.*"])).num_prunable == NUM_WEIGHTS - 96


def test_the_paper_s_set_holds_the_biases_and_at_zero_they_go_first():
    net = make_net()
    for module in (net[0], net[5]):
        nn.init.zeros_(module.bias)
    masks = prune(net, "snip", sparsity=7 / 157, data=make_data(), prunable="paper")
    assert list(masks) == ["0.weight", "0.bias", "4.weight", "5.weight", "5.bias"]
    assert masks.layer_sparsity() == {"0.weight": 0, "0.bias": 1, "4.weight": 0, "5.weight": 0, "5.bias": 1}


def test_a_list_of_names_is_the_set_each_once_and_in_order():
    masks = prune(make_net(), "magnitude", sparsity=0.5, prunable=iter(["5.weight", "1.weight", "5.weight"]))
    assert list(masks) == ["5.weight", "1.weight"]
    assert masks.num_prunable == 22


@pytest.mark.parametrize("prunable", ["weights", ["2.weight"], ["2.weight", "0.weight"]], ids=str)
def test_tied_parameters_are_pruned_once_under_their_first_name(prunable):
    net = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
    net[2].weight = net[0].weight
    masks = prune(net, "magnitude", sparsity=5 / 9, prunable=prunable)
    assert (list(masks), masks.num_kept) == (["0.weight"], 4)
    pruned = masks.apply(net)
    assert torch.equal(pruned[0].weight, pruned[2].weight)
    assert list(prune(pruned, "random", sparsity=0.9)) == ["0.weight"]


def test_a_layer_with_a_computed_weight_is_not_left_out_silently():
    net = nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 3)), nn.Linear(3, 2))
    with pytest.raises(ModelError, match=r"must own the weights to prune; '0\.weight' is computed from other"):
        prune(net, "random", sparsity=0.5)
    names = ["0.weight.original1", "1.weight"]
    assert prune(net, "magnitude", sparsity=0.5, prunable=names).num_prunable == 15
