import math

import pytest
import torch
from torch import nn

from jacprobe.errors import ArgumentError
from jacprobe.theory import ACTIVATIONS, activation, batch_norm_growth


@pytest.mark.parametrize(("name", "growth", "digits"), [
    ("relu", math.pi / (math.pi - 1), 1e-14), ("relu", 1.46694, 5e-6), ("tanh", 1.1778, 5e-5), ("sin", 1.3130, 5e-5),
    ("linear", 1.0, 1e-14),
])
def test_gradients_grow_by_the_reference_factor(name, growth, digits):
    assert batch_norm_growth(name) == pytest.approx(growth, abs=digits)


def test_no_activation_but_the_linear_one_escapes_growth():
    assert all(batch_norm_growth(name) > 1 for name in ACTIVATIONS if name != "linear")


def test_a_normalised_relu_network_grows_so():
    width, batch, generator = 400, 256, torch.Generator().manual_seed(0)
    signal = torch.randn(batch, width, generator=generator, dtype=torch.float64)
    signals = []
    for _ in range(8):
        weight = torch.randn(width, width, generator=generator, dtype=torch.float64) / math.sqrt(width)
        signal = nn.functional.batch_norm(signal @ weight.T, None, None, training=True, eps=1e-12).relu()
        signal.requires_grad_()
        signals.append(signal)
    loss = (signal * torch.randn(batch, width, generator=generator, dtype=torch.float64)).sum()
    norms = [float(gradient.square().sum()) for gradient in torch.autograd.grad(loss, signals)]
    assert (norms[1] / norms[6]) ** (1 / 5) == pytest.approx(batch_norm_growth("relu"), rel=0.02)


def test_a_constant_activation_is_refused():
    with pytest.raises(ArgumentError, match="`activation` must vary; got <lambda>, which is constant"):
        batch_norm_growth(activation(lambda x: 0 * x + 2))
