import pytest
import torch
from torch import nn

from jacprobe.errors import ArgumentError
from jacprobe.pruning import prune
from jacprobe.pruning.context import Scoring
from jacprobe.pruning.scores import SCORES

NAMES = ["0.weight", "2.weight"]


def make_net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()


def ntk_sap(net=None, seed=0, **arguments):
    scoring = Scoring(progress=False, generator=torch.Generator().manual_seed(seed))
    return SCORES["ntk-sap"](net or make_net(), NAMES, scoring, **{"input_shape": (4,), **arguments})


def redrawn(weight, generator):
    noise = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
    return weight.mean() + weight.sub(weight.mean()).square().mean().sqrt() * noise


@pytest.mark.parametrize("redraw", [True, False])
def test_the_score_is_the_slope_of_the_squared_change_by_masks(redraw):
    """By masks that are real numbers, drawn as the score draws: weights, changes in the order of the names, inputs."""
    net, generator = make_net(), torch.Generator().manual_seed(3)
    weights = {name: net.get_parameter(name).detach() for name in NAMES}
    weights = {name: redrawn(weight, generator) for name, weight in weights.items()} if redraw else weights
    changes = {name: 0.05 * torch.randn(weights[name].shape, generator=generator, dtype=torch.float64)
               for name in NAMES}
    inputs = torch.randn(100, 4, generator=generator, dtype=torch.float64)
    c = {name: torch.ones_like(weights[name], requires_grad=True) for name in NAMES}
    outputs = [torch.func.functional_call(net, {name: (weights[name] + s * changes[name]) * c[name] for name in NAMES},
                                          (inputs,)) for s in (0, 1)]
    (outputs[0] - outputs[1]).square().sum().backward()
    total = sum(c[name].grad.abs().sum() for name in NAMES)
    found = ntk_sap(seed=3, epsilon=0.05, num_inputs=100, redraw=redraw)
    for name in NAMES:
        assert torch.allclose(found[name], c[name].grad.abs() / total, rtol=1e-10, atol=1e-15)


def test_for_a_linear_output_layer_the_scores_are_the_kernel_s():
    """f = W x: the expected squared change is epsilon^2 |x|^2 per output and unit mask, so that all rows are alike."""
    torch.manual_seed(0)
    net = nn.Linear(3, 2, bias=False).double()
    scoring = Scoring(progress=False, generator=torch.Generator().manual_seed(0))
    found = SCORES["ntk-sap"](net, ["weight"], scoring, input_shape=(3,), num_inputs=500, num_draws=150)["weight"]
    assert torch.allclose(found, torch.full((2, 3), 1 / 6, dtype=torch.float64), atol=0.06)


def test_draws_are_averaged_and_come_from_the_generator():
    first, again, other, more = (ntk_sap(seed=seed, num_draws=draws)["0.weight"]
                                 for seed, draws in ((1, 1), (1, 1), (2, 1), (1, 5)))
    assert torch.equal(first, again) and not torch.allclose(first, other) and not torch.allclose(first, more)


def test_every_round_of_a_schedule_has_weights_of_its_own():
    """A second network with the same moments, whatever its weights are, has the same masks."""
    net, other = make_net(), make_net()
    with torch.no_grad():
        for name in NAMES:
            weight = other.get_parameter(name)
            weight.copy_(weight.flatten().flip(0).view_as(weight))
    arguments = {"sparsity": 0.7, "num_rounds": 3, "input_shape": (4,)}
    first = prune(net, "ntk-sap", **arguments)
    assert first == prune(other, "ntk-sap", **arguments)
    assert first != prune(net, "ntk-sap", seed=1, **arguments)
    assert prune(net, "ntk-sap", redraw=False, **arguments) != prune(other, "ntk-sap", redraw=False, **arguments)


@pytest.mark.parametrize(("arguments", "match"), [
    ({"num_inputs": 0}, r"`num_inputs` must be a positive whole number; got 0\. Leave it out"),
    ({"num_draws": 1.5}, r"`num_draws` must be a positive whole number; got 1\.5"),
    ({"epsilon": 0}, r"`epsilon` must be a positive number; got 0\. Try 0\.01"),
    ({"input_shape": None}, r"`input_shape` must be given for 'ntk-sap'; got None"),
], ids=str)
def test_arguments_must_be_sensible(arguments, match):
    with pytest.raises(ArgumentError, match=match):
        ntk_sap(**arguments)
