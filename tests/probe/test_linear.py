"""Which operations count as linear by construction, and which merely as reshapes."""

import pytest
import torch
import torch.nn.functional as F
from oracles import dense_jacobian, seeded_normal
from torch import nn
from torch.autograd.graph import get_gradient_edge

import jacprobe as jp
from jacprobe.probe.graph import PathGraph
from jacprobe.probe.linear import is_linear, is_reshape


class View(torch.autograd.Function):
    """A Function that is called like an operation of torch."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.square()

    @staticmethod
    def backward(ctx, grad):
        return 2 * grad * ctx.saved_tensors[0]


def _graph(function, *shape):
    entry = seeded_normal(3, *shape).requires_grad_().clone()
    result = function(entry)
    return PathGraph(get_gradient_edge(entry), get_gradient_edge(result))


RESHAPES = {
    "view": lambda x: x.view(3, -1),
    "flatten and back": lambda x: x.flatten(1).unflatten(1, (2, 4, 4)),
    "reshape, squeeze, unsqueeze": lambda x: x.unsqueeze(1).reshape(3, 1, 32).squeeze(1),
    "copy": lambda x: x.clone().contiguous(memory_format=torch.channels_last),
}
LINEAR = {
    "permutation": lambda x: x.permute(0, 2, 3, 1).flip(1).roll(1, 2),
    "slices": lambda x: torch.cat([x[:, :1, ::2], x[:, 1:, 1::2]], 1),
    "padding": lambda x: F.pad(x, (1, 1, 0, 2)),
    "mean and sum": lambda x: x.mean(2).sum(2),
    "scale and shift": lambda x: 1 - 2 * x / 3,
    "scale of channels": lambda x: torch.tensor([2.0, 3.0]).view(1, 2, 1, 1) * x,
    "batch norm": lambda x: nn.BatchNorm2d(2).eval()(x),
    "sum of branches": lambda x: x.flip(1) - torch.add(x, x.roll(1, 1), alpha=2),
    "convolution": lambda x: nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect").requires_grad_(False)(x),
    "linear": lambda x: nn.Linear(4, 3).requires_grad_(False)(x),
    "pooling": lambda x: F.avg_pool2d(F.interpolate(x, scale_factor=2), 3),
}
OTHERS = {
    "activation": lambda x: x.relu(),
    "gate by the input": lambda x: x * (x > 0).float().detach(),
    "gate per sample": lambda x: x / x.detach().amax((1, 2, 3), keepdim=True),
    "product of two": lambda x: x * x.flip(1),
    "maximum": lambda x: x.amax(1),
    "sorting": lambda x: x.sort(1).values,
    "chosen entries": lambda x: x.gather(1, x.detach().argmax(1, keepdim=True)),
    "statistics of the sample": lambda x: nn.InstanceNorm2d(2)(x),
    "in-place clamp of a part": lambda x: _clamped(x),
    "mask by the input": lambda x: x.masked_fill(x > 0, 0.0),
    "function that is called like a view": View.apply,
}


def _clamped(x):
    x = x.clone()
    x[:, 0].clamp_(max=0.1)
    return x


@pytest.mark.parametrize("name", [*RESHAPES, *LINEAR, *OTHERS])
def test_what_is_linear_by_construction_has_one_jacobian_and_other_operations_are_found_out(name):
    torch.manual_seed(0)
    function = {**RESHAPES, **LINEAR, **OTHERS}[name]
    graph = _graph(function, 2, 4, 4)
    assert is_linear(graph) == (name not in OTHERS)
    assert is_reshape(graph) == (name in RESHAPES)
    if name in RESHAPES:
        inputs = seeded_normal(3, 2, 4, 4)
        assert torch.equal(function(inputs).flatten(), inputs.flatten())


def _hooked():
    layer = nn.Linear(6, 6)
    layer.register_full_backward_hook(lambda *args: None)
    layer.register_forward_hook(lambda *args: None)
    return layer


class _LowRank(nn.Linear):
    def __init__(self):
        super().__init__(6, 6)
        self.down, self.up = nn.Parameter(torch.ones(2, 6)), nn.Parameter(torch.eye(6)[:, :2])

    def forward(self, x):
        return super().forward(x) + 0.5 * F.linear(F.linear(x, self.down), self.up)


@pytest.mark.parametrize("factory", [_hooked, _LowRank], ids=["hooks that only look", "low-rank update"])
def test_modules_that_stay_linear_keep_their_factors(factory):
    net = nn.Sequential(factory(), nn.Tanh())
    inputs = seeded_normal(40, 6)
    spectrum = jp.spectra(net, inputs, kind="end_to_end").end_to_end
    assert (spectrum.method, spectrum.note) == ("factors + gram float64", "")
    truth = torch.linalg.svdvals(dense_jacobian(net.double(), inputs.double()))
    assert float((spectrum.values - truth).abs().max()) <= spectrum.floor <= 1e-4 * spectrum.max
