"""Constants, masks that a model carries, tied names, and what is refused."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils import prune as torch_prune
from unitgraph import random_masks

from jacprobe.errors import DtypeError, ModelError, ShapeError, UnknownNameError
from jacprobe.masks import Masks
from jacprobe.pruning.effective import effective_masks


def make_net():
    """A convolution used twice, batch norm and dropout."""
    twice = nn.Conv2d(2, 2, 2, padding=1, dilation=2)
    return nn.Sequential(twice, nn.ReLU(), nn.BatchNorm2d(2), nn.Dropout(), twice, nn.Flatten(), nn.Linear(18, 2))


# biases and other constants


def test_a_bias_on_its_own_starts_no_path_unless_constants_are_alive():
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    kept = torch.tensor([[True, False], [False, False]])
    masks = Masks({"0.weight": kept, "0.bias": torch.ones(2, dtype=torch.bool),
                   "2.weight": torch.ones(1, 2, dtype=torch.bool), "2.bias": torch.ones(1, dtype=torch.bool)})
    dead = effective_masks(net, masks, torch.ones(1, 2))
    assert {name: mask.int().tolist() for name, mask in dead.items()} == {
        "0.weight": [[1, 0], [0, 0]], "0.bias": [1, 0], "2.weight": [[1, 0]], "2.bias": [1]}
    assert effective_masks(net, masks, torch.ones(1, 2), constants="alive") == masks


def test_a_bias_counts_only_where_its_unit_is_read():
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 1))
    masks = Masks({"0.bias": torch.ones(2, dtype=torch.bool), "1.bias": torch.ones(2, dtype=torch.bool),
                   "1.weight": torch.ones(2, dtype=torch.bool), "2.weight": torch.tensor([[True, False]])})
    for constants in ("dead", "alive"):
        found = effective_masks(net, masks, torch.ones(1, 2), constants=constants)
        assert all(found[name].tolist() == [True, False] for name in ("0.bias", "1.bias", "1.weight"))


# masks that the model carries, derived weights, tied names


def test_masks_may_be_carried_by_the_model_in_either_way():
    net, inputs = make_net(), torch.randn(1, 2, 3, 3)
    masks = random_masks(net, 0.3)
    expected = effective_masks(net, masks, inputs)
    assert effective_masks(masks.apply(net), masks, inputs) == expected
    dense = random_masks(net, 2.0)
    assert effective_masks(masks.apply(net), dense, inputs) == expected
    pruned = make_net()
    for name, mask in masks.items():
        torch_prune.custom_from_mask(pruned.get_submodule(name.rpartition(".")[0]), "weight", mask)
    assert effective_masks(pruned, dense, inputs) == expected


def test_derived_weights_keep_the_zeros_of_their_masks():
    net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    masks = random_masks(net, 0.4, seed=3)
    expected = effective_masks(net, masks, torch.ones(1, 4))
    net[0] = parametrizations.spectral_norm(net[0])
    assert effective_masks(net, masks, torch.ones(1, 4)) == expected


def test_tied_parameters_are_seen_from_all_their_places():
    net = nn.Sequential(nn.Linear(3, 3, bias=False), nn.ReLU(), nn.Linear(3, 3, bias=False))
    net[2].weight = net[0].weight
    mask = torch.tensor([[0, 1, 0], [0, 0, 1], [0, 0, 0]]).bool()  # 2 -> 1 -> 0, used in both layers
    assert effective_masks(net, Masks({"0.weight": mask}), torch.ones(1, 3))["0.weight"].equal(mask)


def test_the_values_of_weights_do_not_matter():
    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    masks = random_masks(net, 0.6)
    expected = effective_masks(net, masks, torch.randn(5, 3))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    assert effective_masks(net, masks, torch.zeros(1, 3)) == expected


def test_a_parameter_that_nothing_uses_is_not_effective():
    net = nn.Linear(2, 2)
    net.unused = nn.Linear(2, 2)
    effective = effective_masks(net, random_masks(net, 2.0), torch.ones(1, 2))
    assert effective.layer_sparsity() == {"weight": 0.0, "unused.weight": 1.0}


def test_the_model_and_the_random_state_are_left_alone():
    net = make_net().train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    torch.manual_seed(3)
    state = torch.get_rng_state()
    with torch.inference_mode():
        effective_masks(net, random_masks(net, 0.5), torch.randn(2, 2, 3, 3, generator=torch.Generator()))
    assert torch.equal(torch.get_rng_state(), state)
    assert net.training and net[2].training
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_the_default_dtype_does_not_matter():
    net, inputs = make_net(), torch.randn(1, 2, 3, 3)
    masks = random_masks(net, 0.3)
    expected = effective_masks(net, masks, inputs)
    try:
        torch.set_default_dtype(torch.float64)
        assert effective_masks(net, masks, inputs) == expected
    finally:
        torch.set_default_dtype(torch.float32)


# bad input

NET = nn.Linear(2, 1)
MASKS = Masks({"weight": torch.ones(1, 2, dtype=torch.bool)})


class Deciding(nn.Linear):
    def forward(self, inputs):
        return super().forward(inputs if inputs.sum() > 0 else -inputs)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((NET, MASKS, [1.0, 2.0]), {}, DtypeError, "`inputs` must be a tensor; got list"),
        ((NET, MASKS, torch.ones(0, 2)), {}, ShapeError, r"`inputs` must hold at least one sample; got shape \(0, 2\)"),
        ((NET, MASKS, torch.ones(1, 3)), {}, ModelError, r"`model` must run on `inputs` .* shape \(1, 3\) raised"),
        ((Deciding(2, 1), MASKS, torch.ones(1, 2)), {}, ModelError, "do the same whatever their values"),
        ((NET, dict(MASKS), torch.ones(1, 2)), {}, DtypeError, "`masks` must be Masks; got dict"),
        ((NET, Masks({"w": torch.ones(1, 2).bool()}), torch.ones(1, 2)), {}, UnknownNameError, "`masks` must be one"),
        ((NET, Masks({"weight": torch.ones(2).bool()}), torch.ones(1, 2)), {}, ShapeError, "must match the model's"),
        ((NET, MASKS, torch.ones(1, 2)), {"constants": "no"}, UnknownNameError, "`constants` must be one of dead, al"),
        ((NET, MASKS, torch.ones(1, 2)), {"unknown": "no"}, UnknownNameError, "`unknown` must be one of refuse, "),
    ],
)
def test_bad_input_is_refused(arguments, options, error, message):
    with pytest.raises(error, match=message):
        effective_masks(*arguments, **options)
