"""What holds for every score."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import prune as torch_prune

from jacprobe.masks import Masks
from jacprobe.pruning.context import Scoring
from jacprobe.pruning.scores import SCORES

SHAPE = (1, 4, 4)
GRADIENTS = ["snip", "grasp", "fisher", "prospr"]
FEW = {"grasp": {"per_class": 4}, "prospr": {"batch_size": 9}}
NAMES = ["0.weight", "4.weight", "6.weight"]


def make_net(dtype=torch.float32):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 6), nn.Tanh(),
                        nn.Linear(6, 3))
    with torch.no_grad():
        net[1].running_mean.normal_()
        net[1].running_var.uniform_(0.5, 2)
        net[1].weight.uniform_(0.5, 2)
        net[1].bias.normal_()
    return net.to(dtype)


def make_data(num=40, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    return (torch.randn(num, *SHAPE, generator=generator, dtype=torch.float64).to(dtype),
            torch.arange(num) % 3)


def scored(method, net=None, names=NAMES, *, data=None, masks=None, batch_norm="paper", seed=0, **arguments):
    net = make_net() if net is None else net
    scoring = Scoring(data=make_data() if data is None else data, masks=masks, batch_norm=batch_norm, progress=False,
                      generator=torch.Generator().manual_seed(seed))
    return SCORES[method](net, names, scoring, **{**FEW.get(method, {}), **arguments})


def assert_close(found, expected, rtol):
    """Relative to the largest entry of each parameter."""
    assert found.keys() == expected.keys()
    for name in found:
        error = (found[name].double() - expected[name].double()).abs().max()
        assert error <= rtol * expected[name].double().abs().max(), (name, float(error))


@pytest.mark.parametrize("method", SCORES)
def test_there_is_a_finite_tensor_on_the_cpu_per_name(method):
    found, net = scored(method), make_net()
    assert list(found) == NAMES
    for name, score in found.items():
        assert score.shape == net.get_parameter(name).shape and score.device.type == "cpu"
        assert score.dtype in (torch.float32, torch.float64) and score.isfinite().all() and not score.requires_grad


def snapshot(net):
    return ({key: tensor.clone() for key, tensor in net.state_dict().items()},
            [(module.training, sorted(vars(module)), sorted(module._buffers), len(module._forward_hooks))
             for module in net.modules()],
            [(p.requires_grad, p.grad, p.data_ptr()) for p in net.parameters()], torch.get_rng_state())


@pytest.mark.parametrize("batch_norm", ["paper", "eval", "train"])
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("method", SCORES)
def test_the_model_and_the_random_state_are_untouched(method, training, batch_norm):
    if method == "fisher" and batch_norm == "train":
        pytest.skip("samples mix")
    net = make_net().train(training)
    net[4].weight.requires_grad_(False)
    state, flags, parameters, rng = snapshot(net)
    data = make_data()
    kept = [part.clone() for part in data]
    scored(method, net, data=data, batch_norm=batch_norm)
    state_after, *rest_after, rng_after = snapshot(net)
    assert all(torch.equal(state[key], state_after[key]) for key in state)
    assert [flags, parameters] == rest_after
    assert torch.equal(rng, rng_after)
    assert all(torch.equal(one, other) for one, other in zip(kept, data, strict=True))


@pytest.mark.parametrize("method", SCORES)
def test_the_same_seed_gives_the_same_scores(method):
    first = scored(method, seed=3)
    torch.manual_seed(99)
    assert_close(scored(method, seed=3), first, 0)


@pytest.mark.parametrize("sizes", [(40,), (1,) * 40, (13, 1, 26), (39, 1), (7,) * 5 + (5,)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("batch_norm", ["paper", "eval"])
@pytest.mark.parametrize("method", GRADIENTS)
def test_how_samples_are_batched_changes_nothing(method, batch_norm, dtype, sizes):
    data = make_data(dtype=dtype)
    whole = scored(method, make_net(dtype), data=data, batch_norm=batch_norm)
    batches = list(zip(*(part.split(sizes) for part in data), strict=True))
    split = scored(method, make_net(dtype), data=batches, batch_norm=batch_norm)
    assert_close(split, whole, 1e-6 if dtype == torch.float32 else 1e-13)


@pytest.mark.parametrize("chunk", [1, 500, 10**9])
@pytest.mark.parametrize("arguments", [{}, {"accumulate": "absolute"}, {"loss": "random-labels"}], ids=str)
def test_the_size_of_our_own_chunks_changes_nothing(chunk, arguments, monkeypatch):
    whole = scored("snip", **arguments)
    monkeypatch.setattr("jacprobe.pruning.gradients._CHUNK_FLOATS", chunk)
    monkeypatch.setattr("jacprobe.pruning.gradients._PER_SAMPLE_FLOATS", chunk)
    assert_close(scored("snip", **arguments), whole, 1e-6)


def by_masks(net, masks):
    return Masks(masks).apply(net)


def by_torch(net, masks):
    for name, mask in masks.items():
        torch_prune.custom_from_mask(net[int(name[0])], "weight", mask)
    return net


def some_masks():
    generator = torch.Generator().manual_seed(5)
    return {name: torch.rand(make_net().get_parameter(name).shape, generator=generator) < 0.7 for name in NAMES}


@pytest.mark.parametrize("prune_by", [by_masks, by_torch])
@pytest.mark.parametrize("method", sorted(SCORES.keys() - {"random", "ntk-sap", "grasp", "prospr"}))
def test_a_pruned_model_scores_as_one_with_zeros_and_what_it_lacks_scores_lowest(method, prune_by):
    masks, zeroed = some_masks(), make_net()
    with torch.no_grad():
        for name in NAMES:
            zeroed.get_parameter(name).mul_(masks[name])
    found = scored(method, prune_by(make_net(), masks))
    assert_close(found, scored(method, zeroed), 1e-6)
    if method != "phew":
        assert all((found[name][~masks[name]] == 0).all() for name in NAMES)


@pytest.mark.parametrize("method", ["snip", "fisher", "synflow"])
def test_masks_of_the_round_are_where_the_network_is_and_dense_weights_weigh(method):
    masks, net, zeroed = some_masks(), make_net(), make_net()
    with torch.no_grad():
        for name in NAMES:
            zeroed.get_parameter(name).mul_(masks[name])
    found, expected = scored(method, net, masks=Masks(masks)), scored(method, zeroed)
    ratios = []
    for name in NAMES:
        kept = masks[name] & (expected[name] != 0)
        ratios.append(found[name][kept].double() / expected[name][kept].double())
    ratios = torch.cat(ratios)  # one factor: the sums that scale both differ by the weights that are removed
    assert (ratios / ratios.median() - 1).abs().max() < 1e-3
    assert any((found[name][~masks[name]] != 0).any() for name in NAMES), "revival is for the schedule to forbid"


@pytest.mark.parametrize("method", [*GRADIENTS, "ntk-sap", "synflow", "lamp"])
def test_masks_of_the_round_and_of_the_model_are_alike_for_what_is_kept(method):
    masks = some_masks()
    found, expected = scored(method, masks=Masks(masks)), scored(method, by_masks(make_net(), masks))
    ratios = torch.cat([(found[name] / expected[name])[masks[name] & (expected[name].abs() > 1e-5)].double()
                        for name in NAMES])
    assert len(ratios) > 50
    assert (ratios / ratios.median() - 1).abs().max() < 2e-3


@pytest.mark.parametrize("method", [*GRADIENTS, "ntk-sap", "synflow"])
def test_tied_weights_are_scored_with_both_uses(method):
    torch.manual_seed(0)
    tied = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False), nn.Linear(4, 3, bias=False))
    tied[1].weight = tied[0].weight
    data = torch.randn(12, 4), torch.arange(12) % 3
    found = scored(method, tied, ["0.weight"], data=data)["0.weight"]
    apart = copy.deepcopy(tied)
    apart[1].weight = nn.Parameter(tied[0].weight.detach().clone())
    alone = scored(method, apart, ["0.weight"], data=data)["0.weight"]
    assert found.isfinite().all()
    assert not torch.allclose(found, alone, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("method", [*GRADIENTS, "ntk-sap", "synflow"])
def test_a_module_under_two_names_scores_as_two_with_tied_parameters(method):
    torch.manual_seed(0)
    layer = nn.Linear(4, 4)
    net = nn.Sequential(layer, nn.Tanh(), layer, nn.Tanh(), nn.Linear(4, 3))
    tied = nn.Sequential(layer, nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), net[4])
    tied[2].weight, tied[2].bias = layer.weight, layer.bias
    data = torch.randn(12, 4), torch.arange(12) % 3
    names = ["0.weight", "0.bias", "4.weight"]
    state, flags, parameters, _ = snapshot(net)
    found = scored(method, net, names, data=data)
    assert_close(found, scored(method, tied, names, data=data), 1e-6)
    after = snapshot(net)
    assert all(torch.equal(state[key], after[0][key]) for key in state) and [flags, parameters] == list(after[1:3])
    assert net[0] is net[2] and isinstance(layer.weight, nn.Parameter)


@pytest.mark.parametrize("method", [*GRADIENTS, "ntk-sap", "synflow"])
def test_a_parameter_that_is_never_used_scores_zero(method):
    net = make_net()
    net.spare = nn.Parameter(torch.ones(2, 2))
    assert not scored(method, net, [*NAMES, "spare"])["spare"].any()


@pytest.mark.parametrize("method", [*GRADIENTS, "ntk-sap"])
def test_absolute_scores_sum_to_one(method):
    assert sum(float(score.double().abs().sum()) for score in scored(method).values()) == pytest.approx(1, abs=1e-6)


class Limited(nn.Linear):
    """A weight that its own forward pass limits, in place."""

    def forward(self, x):
        self.weight.data.clamp_(-0.1, 0.1)
        return super().forward(x)


@pytest.mark.parametrize("method", ["snip", "grasp", "fisher", "prospr", "ntk-sap"])
def test_a_forward_that_writes_into_its_weights_does_not_reach_the_caller_s(method):
    net = nn.Sequential(Limited(4, 3))
    before = net[0].weight.detach().clone()
    scored(method, net, ["0.weight"], data=(torch.randn(12, 4), torch.arange(12) % 3))
    assert torch.equal(net[0].weight, before)
