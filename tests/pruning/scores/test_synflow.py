import pytest
import torch
from torch import nn
from torch.nn import functional

from jacprobe.errors import ArgumentError, ModelError, NonFiniteError
from jacprobe.models import build
from jacprobe.pruning.context import Scoring
from jacprobe.pruning.scores import SCORES
from jacprobe.pruning.scores.paths import Paths


def synflow(net, names=None, shape=None, **fields):
    names = [name for name, p in net.named_parameters() if p.ndim > 1] if names is None else names
    return SCORES["synflow"](net, names, Scoring(progress=False, **fields), input_shape=shape)


def mlp(depth=3, width=6, activation=nn.ReLU, scale=1.0, bias=True):
    torch.manual_seed(0)
    layers = [nn.Linear(width, width, bias=bias) for _ in range(depth)]
    for layer in layers:
        layer.weight.data *= scale
    return nn.Sequential(*[module for layer in layers for module in (layer, activation())][:-1])


@pytest.mark.parametrize("activation", [nn.Identity, nn.ReLU, nn.Tanh, nn.GELU, nn.PReLU])
def test_scores_are_the_shares_of_all_paths(activation):
    net = mlp(activation=activation)
    W = [net[index].weight.detach().double().abs() for index in (0, 2, 4)]
    one = torch.ones(6, dtype=torch.float64)
    before, after = [one, W[0] @ one, W[1] @ W[0] @ one], [one @ W[2] @ W[1], one @ W[2], one]
    flows = [w * torch.outer(a, b) for w, a, b in zip(W, after, before, strict=True)]
    for name, flow in zip(("0.weight", "2.weight", "4.weight"), flows, strict=True):
        found = synflow(net, ["0.weight", "2.weight", "4.weight"], (6,))[name]
        assert torch.allclose(found, flow / (3 * flow.sum()), rtol=1e-12, atol=0)


NETS = {"mlp-7-tanh": {"width": 20}, "mlp-7-relu": {"width": 20}, "lenet-5": {}, "vgg16": {"width": 4},
        "vgg16-bn": {"width": 4}}


@pytest.mark.parametrize("name", NETS)
def test_every_layer_of_a_chain_has_the_same_sum(name):
    net = build(name, input_shape=(1, 12, 12), **NETS[name])
    sums = [float(score.sum()) for score in synflow(net).values()]
    assert sums == pytest.approx([1 / len(sums)] * len(sums), rel=1e-10)


@pytest.mark.parametrize("name", ["resnet-20", "wrn-16-1"])
def test_what_enters_a_hidden_unit_of_a_residual_network_leaves_it(name):
    scores = synflow(build(name, input_shape=(1, 8, 8)))
    into, out_of = scores["stage1.0.conv1.weight"].sum((1, 2, 3)), scores["stage1.0.conv2.weight"].sum((0, 2, 3))
    assert torch.allclose(into, out_of, rtol=1e-10)
    assert float(scores["conv1.weight"].sum()) == pytest.approx(float(scores["fc.weight"].sum()), rel=1e-10)


def test_a_residual_network_scores_as_without_any_change_of_unit(monkeypatch):
    net = build("resnet-20", input_shape=(1, 8, 8))
    found = synflow(net)
    monkeypatch.setattr(Paths, "cuts", lambda self: set())
    plain = synflow(net)
    assert all(torch.allclose(found[name], plain[name], rtol=1e-10, atol=0) for name in found)


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_the_ranking_does_not_know_the_scale_of_a_layer(factor):
    net = mlp()
    before = synflow(net, shape=(6,))
    net[2].weight.data *= factor
    after = synflow(net, shape=(6,))
    assert all(torch.allclose(before[name], after[name], rtol=1e-5) for name in before)


@pytest.mark.parametrize("scale", [1e4, 1e-6])
def test_nothing_overflows_in_a_deep_wide_network(scale):
    net = mlp(150, 64, nn.Tanh, scale)
    scores = synflow(net, shape=(64,))
    sums = [float(score.sum()) for score in scores.values()]
    assert sums == pytest.approx([1 / 150] * 150, rel=1e-9)


class Residual(nn.Module):
    """Blocks in a loop over a list, with an activation that is used beside what it came from."""

    def __init__(self, depth):
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList(nn.Linear(8, 8) for _ in range(depth))
        for block in self.blocks:
            block.weight.data *= 1e4

    def forward(self, x):
        for block in self.blocks:
            x = block(functional.relu(x)) + x
        return x


def test_nothing_overflows_in_a_deep_residual_network():
    scores = synflow(Residual(200), shape=(8,))
    assert all(score.isfinite().all() and (score > 0).all() for score in scores.values())
    small = synflow(Residual(3), shape=(8,))
    W = [block.weight.detach().double().abs() for block in Residual(3).blocks]
    eye, one = torch.eye(8, dtype=torch.float64), torch.ones(8, dtype=torch.float64)
    flow = W[1] * torch.outer(one @ (eye + W[2]), (eye + W[0]) @ one)
    assert torch.allclose(small["blocks.1.weight"] / small["blocks.1.weight"].sum(), flow / flow.sum(), rtol=1e-10)


def test_biases_are_on_no_path():
    net = mlp()
    scores = synflow(net, ["0.weight", "0.bias"], (6,))
    assert not scores["0.bias"].any() and scores["0.weight"].all()


def test_batch_statistics_do_not_matter():
    net = build("vgg16-bn", input_shape=(1, 8, 8), width=4)
    before = synflow(net)
    with torch.no_grad():
        for name, tensor in [*net.named_parameters(), *net.named_buffers()]:
            if "bn" in name and tensor.is_floating_point():
                tensor.uniform_(0.5, 2)
    after = synflow(net)
    assert all(torch.equal(before[name], after[name]) for name in before)


class Ending(nn.Sequential):
    """A chain and a function of its own behind it."""

    def __init__(self, function):
        super().__init__(*mlp())
        self.function = function

    def forward(self, x):
        return self.function(super().forward(x))


@pytest.mark.parametrize("function", [lambda x: x.softmax(1), lambda x: functional.layer_norm(x, (6,)), torch.exp,
                                      lambda x: x + 1], ids=["softmax", "layer norm", "exponential", "a constant"])
def test_what_is_not_homogeneous_is_refused(function):
    with pytest.raises(ModelError, match=r"`model` must conserve the sum over its paths for 'synflow'; .*softmax"):
        synflow(Ending(function), shape=(6,))


def test_a_network_without_paths_is_refused():
    net = mlp()
    nn.init.zeros_(net[2].weight)
    with pytest.raises(ModelError, match="every score is zero"):
        synflow(net, shape=(6,))


def test_an_overflow_between_cuts_names_a_parameter():
    with pytest.raises(NonFiniteError, match=r"`scores` must be finite; those of '0\.weight' are not\. Check"):
        synflow(Ending(lambda x: x * 1e200 * 1e200 + x), shape=(6,))


def test_the_shape_of_the_input_must_be_known():
    with pytest.raises(ArgumentError, match="`input_shape` must be given for 'synflow'"):
        synflow(mlp())


def test_the_shape_of_the_input_must_fit():
    with pytest.raises(ModelError, match=r"`model` must run on inputs of shape \(1, 7\); it raised RuntimeError"):
        synflow(mlp(), shape=(7,))
