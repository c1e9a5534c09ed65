"""Convolutions run pixel by pixel in memory only where the model allows it, with the same result."""

import copy

import pytest
import torch
from oracles import dense_jacobian, randomized, seeded_normal, singular_values
from torch import nn

import jacprobe as jp
from jacprobe.probe.session import Session


class _Flat(nn.Module):
    """Flattens by `view`, which tensors in another order refuse, or by `reshape`."""

    def __init__(self, views):
        super().__init__()
        self.conv, self.linear, self.views = nn.Conv2d(3, 4, 3), nn.Linear(144, 5), views

    def forward(self, x):
        x = self.conv(x).relu()
        return self.linear(x.view(len(x), -1) if self.views else x.reshape(len(x), -1))


@pytest.mark.parametrize("views", [True, False], ids=["view", "reshape"])
def test_a_view_keeps_the_order_of_the_user(views):
    net, inputs = randomized(_Flat(views)).eval(), seeded_normal(3, 3, 8, 8)
    session = Session(net, inputs, output=None, accuracy="standard", dtype=None, device=None)
    with session.opened():
        weight = session.state["conv.weight"]
        assert weight.is_contiguous(memory_format=torch.channels_last) == (not views)
    spectrum = jp.spectra(net, inputs, kind="end_to_end").end_to_end
    exact = singular_values(dense_jacobian(copy.deepcopy(net).double(), inputs.double()))
    assert abs(spectrum.values.numpy() - exact).max() <= spectrum.floor
