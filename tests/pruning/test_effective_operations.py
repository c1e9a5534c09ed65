import pytest
import torch
from torch import nn
from torch.nn import functional as F
from unitgraph import random_masks

from jacprobe.errors import ModelError
from jacprobe.masks import Masks
from jacprobe.pruning.effective import effective_masks


class Function(nn.Module):
    """Two layers with a function between them."""

    def __init__(self, function, width=6):
        super().__init__()
        self.function, self.first, self.last = function, nn.Linear(4, 6), nn.Linear(width, 2)

    def forward(self, inputs):
        return self.last(self.function(self.first(inputs)))


ONE_PATH = {"first.weight": torch.arange(24).reshape(6, 4) == 0}  # from the first input to unit 0


def reached_units(function, width=6):
    """Return the units behind `function` that depend on unit 0 before it."""
    net = Function(function, width)
    kept = Masks({**ONE_PATH, "last.weight": torch.ones(2, width, dtype=torch.bool)})
    return effective_masks(net, kept, torch.randn(2, 4))["last.weight"][0].nonzero().flatten().tolist()


ELEMENTWISE = [
    F.relu, F.relu_, torch.tanh, torch.sigmoid, F.gelu, F.silu, F.mish, F.elu, F.selu, F.celu, F.leaky_relu,
    F.hardtanh, F.hardswish, F.hardsigmoid, F.softplus, F.softsign, F.logsigmoid, F.relu6, F.tanhshrink, torch.abs,
    torch.exp, torch.square, F.dropout, nn.PReLU(), nn.RReLU(), nn.AlphaDropout(), nn.BatchNorm1d(6),
    lambda x: 2 - x / 3, lambda x: x**2, lambda x: x.clamp(-1, 1), lambda x: torch.where(x > 0, x, 0.1 * x),
    lambda x: x.masked_fill(x < 0, 0), lambda x: torch.maximum(x, torch.zeros(6)), lambda x: x * torch.rand(6),
    lambda x: x.add_(1).mul_(2), lambda x: x.clone().contiguous(), lambda x: F.dropout(x, 0.99),
    lambda x: x.double().float(),
    lambda x: F.pad(x, (1, 0))[:, 1:], lambda x: x.reshape(-1, 2, 3).transpose(1, 2).transpose(1, 2).flatten(1),
    lambda x: torch.stack(x.unbind(1), 1), lambda x: torch.cat(x.chunk(3, 1), 1), lambda x: x @ torch.eye(6),
]


@pytest.mark.parametrize("function", ELEMENTWISE, ids=[str(k) for k in range(len(ELEMENTWISE))])
def test_what_acts_on_each_entry_keeps_units_apart(function):
    assert reached_units(function) == [0]


MIXING = {
    "softmax": lambda x: x.softmax(1),
    "log softmax": lambda x: x.log_softmax(1),
    "layer norm": nn.LayerNorm(6),
    "rms norm": nn.RMSNorm(6),
    "one group": nn.GroupNorm(1, 6),
    "length": F.normalize,
    "gate of all": lambda x: x * x.mean(1, keepdim=True).sigmoid(),
    "standardised": lambda x: (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True),
    "maximum": lambda x: x + x.amax(1, keepdim=True),
    "a dense matrix": lambda x: torch.einsum("bi,ji->bj", x, torch.ones(6, 6)),
    "outer product": lambda x: (x[:, :, None] @ x[:, None, :]).sum(1) + x,
}


@pytest.mark.parametrize("function", MIXING.values(), ids=MIXING)
def test_what_takes_units_together_connects_them(function):
    assert reached_units(function) == list(range(6))


def test_operations_connect_what_they_move():
    assert reached_units(lambda x: x.flip(1)) == [5]
    assert reached_units(lambda x: x.roll(2, 1)) == [2]
    assert reached_units(lambda x: x[:, torch.tensor([3, 0, 0])], width=3) == [1, 2]
    assert reached_units(lambda x: x.cumsum(1)) == list(range(6))
    assert reached_units(lambda x: x.roll(4, 1).cumsum(1)) == [4, 5]
    assert reached_units(nn.GroupNorm(2, 6)) == [0, 1, 2]
    assert reached_units(lambda x: F.glu(x.roll(4, 1)), width=3) == [1]
    assert reached_units(lambda x: F.max_pool1d(x[:, None], 3, 1, 1)[:, 0]) == [0, 1]
    assert reached_units(lambda x: F.adaptive_max_pool1d(x[:, None], 3)[:, 0], width=3) == [0]
    assert reached_units(lambda x: F.avg_pool1d(x[:, None], 2)[:, 0], width=3) == [0]
    assert reached_units(lambda x: F.interpolate(x[:, None], scale_factor=2)[:, 0], width=12) == [0, 1]
    assert reached_units(lambda x: F.pad(x, (2, 0), mode="circular" if x.ndim > 2 else "constant"), width=8) == [2]
    assert reached_units(lambda x: F.pad(x[:, None], (2, 0), mode="replicate")[:, 0], width=8) == [0, 1, 2]
    assert reached_units(lambda x: x * torch.tensor([0.0, 1, 1, 1, 1, 1])) == []


def set_first(x):
    x[:, 2] = x[:, 0] * 2
    return x


def test_writing_into_a_part_moves_its_signal():
    assert reached_units(set_first) == [0, 2]


class Gate(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.gate, self.fc = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, inputs):
        return self.fc(self.body(inputs) * torch.sigmoid(self.gate(inputs)))


def test_either_factor_of_a_product_carries_a_signal():
    net = Gate()
    dense = random_masks(net, 2.0)
    closed = Masks({**dense, "gate.weight": torch.zeros(4, 4, dtype=torch.bool)})
    assert effective_masks(net, dense, torch.ones(1, 4)) == dense
    assert effective_masks(net, closed, torch.ones(1, 4)) == closed  # the gate is 1/2 then, and lets all pass


def test_an_operation_without_a_stand_in_is_refused_by_name_or_connects_everything():
    net = Function(lambda x: torch.fft.fft(x).real)
    masks = Masks({**ONE_PATH, "last.weight": torch.ones(2, 6, dtype=torch.bool)})
    with pytest.raises(ModelError, match=r"`model` must consist of operations .*'_fft_r2c' has none\. Pass unknown="):
        effective_masks(net, masks, torch.randn(1, 4))
    assert effective_masks(net, masks, torch.randn(1, 4), unknown="connected") == masks


def test_places_that_depend_on_the_input_are_refused():
    net = Function(lambda x: x.gather(1, x.argsort(1)))
    masks = Masks({**ONE_PATH, "last.weight": torch.ones(2, 6, dtype=torch.bool)})
    with pytest.raises(ModelError, match="'sort' has none"):
        effective_masks(net, masks, torch.randn(1, 4))
    chosen = Function(lambda x: x.gather(1, x.argmax(1, keepdim=True).expand(-1, 6)))
    with pytest.raises(ModelError, match="'gather' has none"):
        effective_masks(chosen, masks, torch.randn(1, 4))
    assert effective_masks(chosen, masks, torch.randn(1, 4), unknown="connected") == masks


def test_a_known_operation_in_an_unknown_form_is_refused():
    net = Function(lambda x: x.scatter(1, torch.zeros(1, 6).long(), 2.0, reduce="add"))
    masks = Masks({**ONE_PATH, "last.weight": torch.ones(2, 6, dtype=torch.bool)})
    with pytest.raises(ModelError, match=r"must use operations in a form .* aten\.scatter\.value_reduce raised"):
        effective_masks(net, masks, torch.randn(1, 4))


def test_every_tensor_of_the_output_is_an_end():
    net = Function(lambda x: x)
    net.forward = lambda inputs: {"first": net.first(inputs), "both": (net.last(net.first(inputs)),)}
    masks = Masks({"first.weight": torch.ones(6, 4, dtype=torch.bool), "last.weight": torch.eye(6)[:2].bool()})
    assert effective_masks(net, masks, torch.ones(1, 4)) == masks
