"""The gain of theory by layer, against the order in which models call their modules and functions."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import prune

import jacprobe as jp
from jacprobe.errors import ArgumentError
from jacprobe.isometry.followers import activations_after

RELU, LEAKY = math.sqrt(2), math.sqrt(2 / 1.04)  # of slope 0.2


class ThreeLayers(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(6, 6) for _ in range(3))
        self.act = nn.ReLU()

    def forward(self, x):
        return self.c(self.act(self.b(self.act(self.a(x)))))


class ByFunctions(ThreeLayers):
    def forward(self, x):
        hidden = F.leaky_relu(self.b(F.relu(self.a(x), inplace=True)), 0.2)
        return self.c(hidden.flatten(1)).clamp(min=0)


class InOtherOrder(ThreeLayers):
    def forward(self, x):
        return self.a(self.act(self.c(torch.tanh(self.b(x)))))


class Residual(ThreeLayers):
    def forward(self, x):
        shortcut = self.c(x)
        return self.act(self.b(torch.tanh(self.a(x))) + shortcut)


class Swish(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(x)


class Skipped(nn.Module):
    """As stochastic depth is in evaluation mode: a straight line."""

    def forward(self, x):
        return 2 * x if self.training else x


class Gated(ThreeLayers):
    def forward(self, x):
        hidden = self.a(x)
        return self.c(self.b(hidden * torch.sigmoid(hidden)))


class Branching(ThreeLayers):
    def forward(self, x):
        return self.a(x) if x.sum() > 0 else self.b(x)


class Unused(ThreeLayers):
    def forward(self, x):
        return self.b(F.relu(self.a(x)))


class Split(ThreeLayers):
    def forward(self, x):
        hidden = self.a(x)
        return self.b(torch.relu(hidden)) + self.c(torch.tanh(hidden))


def theory_gains(model):
    return [row["gain"] for row in jp.isometrize(model, gain="theory", method="rescale").rows]


def chain(*modules):
    return nn.Sequential(*[part for module in modules for part in (nn.Linear(6, 6), module)], nn.Linear(6, 6))


def pruned_by_torch():
    net = chain(nn.ReLU())
    prune.random_unstructured(net[0], "weight", amount=0.3)
    return net


CASES = {
    "one module for all activations": (ThreeLayers(), [RELU, RELU, 1]),
    "functions and a method": (ByFunctions(), [RELU, LEAKY, RELU]),
    "another order than that of registration": (InOtherOrder(), [1, 1, RELU]),
    "branch and shortcut": (Residual(), [1, RELU, RELU]),
    "unlike activations": (chain(nn.ReLU(), nn.Tanh(), nn.LeakyReLU(0.2)), [RELU, 1, LEAKY, 1]),
    "learnt slopes": (chain(nn.PReLU(init=0.0), nn.PReLU(init=1.0)), [RELU, 1, 1]),
    "normalisation and dropout between": (chain(nn.Sequential(nn.BatchNorm1d(6), nn.Dropout(), nn.ReLU())), [RELU, 1]),
    "a module of its own": (chain(Swish()), [2, 1]),  # the slope at 0 is one half
    "a straight line between": (chain(nn.Sequential(Skipped(), nn.ReLU())), [RELU, 1]),
    "masked": (jp.prune(chain(nn.ReLU()), "random", sparsity=0.5, seed=0).apply(chain(nn.ReLU())), [RELU, 1]),
    "masked by torch": (pruned_by_torch(), [RELU, 1]),
    "data parallel": (nn.DataParallel(ThreeLayers()), [RELU, RELU, 1]),
}


@pytest.mark.parametrize(("model", "gains"), CASES.values(), ids=CASES)
def test_the_gain_of_a_layer_is_that_of_the_activation_that_its_output_meets_first(model, gains):
    assert theory_gains(model) == pytest.approx(gains, rel=1e-9)


@pytest.mark.parametrize("name", ["resnet-20", "vgg16", "lenet-5", "mlp-3-relu"])
def test_all_layers_of_the_networks_of_the_paper_but_the_last_meet_a_relu(name):
    *hidden, last = activations_after(jp.build(name)).values()
    assert last == [] and all(len(met) == 1 and isinstance(met[0], nn.ReLU) for met in hidden)


def test_tracing_leaves_attributes_that_a_forward_pass_writes_as_they_are():
    class Counting(ThreeLayers):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return super().forward(x)

    net = Counting()
    assert jp.isometrize(net, gain="theory", method="rescale").model.calls == net.calls == 0


def test_gains_of_theory_are_found_where_gradients_are_off():
    with torch.no_grad():
        assert theory_gains(chain(nn.Hardtanh())) == [1, 1]


@pytest.mark.parametrize(("model", "match"), {
    "no activation": (nn.Linear(2, 2), r"number where no known activation follows a layer; got 'theory'\. Pass 1\.0"),
    "no critical point": (chain(nn.Softplus()), r"number for Softplus\(.*\); got 'theory', but it has no single crit"),
    "control flow": (Branching(), r"where the forward pass cannot be traced without data; got 'theory': symbolically"),
    "a product in the forward pass": (Gated(), r"an activation multiplies its own input; got 'theory', and 'a' meets"),
    "a layer out of use": (Unused(), r"does not meet all layers; got 'theory', but 'c\.weight' is not met"),
    "two activations": (Split(), r"meets unlike activations; got 'theory', and 'a\.weight' meets gains 1, 1\.41421"),
}.values(), ids=lambda value: value[:30] if isinstance(value, str) else "")
def test_a_gain_that_theory_does_not_give_is_refused(model, match):
    with pytest.raises(ArgumentError, match=rf"`gain` must be .*{match}"):
        jp.isometrize(model, gain="theory")
