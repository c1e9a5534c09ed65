"""torch's defaults for new tensors do not reach the results, and the model still sees them."""

import pytest
import torch
from oracles import randomized, seeded_normal
from torch import nn

import jacprobe as jp


class _Watching(nn.Module):
    """Takes note of the default type in its forward."""

    def __init__(self, seen):
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.note = seen.append

    def forward(self, x):
        self.note(torch.get_default_dtype())
        return self.linear(x)


def _found(method):
    net = randomized(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5))).float()
    net[0].weight.data[0, :4] = 0
    return list(jp.spectra(net, seeded_normal(4, 6), method=method, num_probes=3, num_steps=4, num_values=2))


@pytest.mark.parametrize("method", ["exact", "density", "largest", "moments"])
def test_another_default_dtype_changes_nothing(method):
    plain = _found(method)
    torch.set_default_dtype(torch.float64)
    try:
        other = _found(method)
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    for one, two in zip(plain, other, strict=True):
        assert one.floor == two.floor
        assert one.mean_square == two.mean_square or one.label == "bounded"
        for first, second in ((one.values, two.values),
                              (one.density and one.density.nodes, two.density and two.density.nodes)):
            assert first is second is None or torch.equal(first, second)


def test_the_model_runs_under_the_defaults_of_the_user():
    seen = []
    net = _Watching(seen)
    torch.set_default_dtype(torch.float64)
    try:
        jp.spectra(net, seeded_normal(2, 4))
    finally:
        torch.set_default_dtype(torch.float32)
    assert set(seen) == {torch.float64}


def test_a_default_device_reaches_only_the_model():
    net, inputs = randomized(nn.Linear(4, 3)), seeded_normal(2, 4)
    with torch.device("meta"):
        values = jp.spectra(net, inputs, kind="layers")["model"].values
    assert values.device.type == "cpu"
