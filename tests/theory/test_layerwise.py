import math

import pytest
import torch

from jacprobe.errors import ArgumentError, UnknownNameError
from jacprobe.theory import activation, critical_point, critical_rescale, gain, kept_energy, layer_moments


@pytest.mark.parametrize(("name", "q", "mean", "std"), [
    ("relu", 1.0, 0.70711, 0.70711), ("tanh", 0.1, 0.99377, 0.11142), ("tanh", 0.5, 0.94365, 0.33093),
    ("hard-tanh", 0.5, 0.91799, 0.39661), ("erf1", 0.5, 0.94765, 0.31930),
])
def test_layers_have_their_reference_moments(name, q, mean, std):
    moments = layer_moments(name, q=q, sigma_w2=gain(name, q=q) ** 2)
    assert (moments.mean, moments.std) == pytest.approx((mean, std), abs=6e-6)
    assert moments.mean_square == pytest.approx(1.0, rel=1e-14)


def test_a_measured_orthogonal_layer_agrees():
    generator = torch.Generator().manual_seed(0)
    weight = torch.linalg.qr(torch.randn(600, 600, generator=generator, dtype=torch.float64)).Q * math.sqrt(1.7)
    lengths = torch.randn(600, generator=generator, dtype=torch.float64)
    slopes = torch.from_numpy(activation("silu").slopes(lengths.numpy()))
    values = torch.linalg.svdvals(slopes[:, None] * weight)
    moments = layer_moments("silu", q=1.0, sigma_w2=1.7)
    assert moments.mean == pytest.approx(float(values.mean()), rel=0.06)
    assert moments.std == pytest.approx(float(values.std()), rel=0.06)
    assert moments.mean_square == pytest.approx(float(values.square().mean()), rel=0.1)
    relative = float(values.square().var() / values.square().mean() ** 2)
    assert moments.relative_variance == pytest.approx(relative, rel=0.15)


@pytest.mark.parametrize(("density", "energy"), [
    (0.05, 0.2791), (0.1, 0.4393), (0.2, 0.6498), (0.3, 0.7833), (0.5, 0.9287), (0.8, 0.9958), (0.0, 0.0), (1.0, 1.0),
])
def test_magnitude_masks_keep_their_reference_energy(density, energy):
    assert kept_energy(density) == pytest.approx(energy, abs=6e-5)


def test_the_energy_of_a_magnitude_mask_is_as_measured():
    weight = torch.randn(1_000_000, generator=torch.Generator().manual_seed(0)).abs().sort(descending=True)[0]
    measured = weight[:200_000].square().sum() / weight.square().sum()
    assert kept_energy(0.2) == pytest.approx(float(measured), rel=2e-3)
    assert kept_energy(0.3, pattern="random") == 0.3


def test_rescaling_restores_the_gain_of_a_masked_critical_network():
    generator = torch.Generator().manual_seed(0)
    point, width, keep = critical_point("tanh", q=0.5), 400, 0.2
    signal = torch.randn(width, 1, generator=generator, dtype=torch.float64) * math.sqrt(0.5)
    gradient, lengths = torch.randn(width, 1, generator=generator, dtype=torch.float64), []
    for _ in range(30):
        weight = torch.randn(width, width, generator=generator, dtype=torch.float64) * math.sqrt(point.sigma_w2 / width)
        threshold = weight.abs().flatten().kthvalue(round((1 - keep) * width**2)).values
        weight = torch.where(weight.abs() > threshold, weight, 0.0) * critical_rescale(kept_energy(keep))
        bias = torch.randn(width, 1, generator=generator, dtype=torch.float64) * math.sqrt(point.sigma_b2)
        gradient = (1 - signal.tanh() ** 2) * (weight.T @ gradient)
        signal = weight @ signal.tanh() + bias
        lengths.append(float(signal.square().mean()))
    assert sum(lengths) / len(lengths) == pytest.approx(0.5, rel=0.05)
    assert float(gradient.square().mean()) ** (1 / 30) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: kept_energy(1.2), ArgumentError, r"`density` must lie in \[0, 1\]; got 1.2"),
    (lambda: kept_energy(0.5, pattern="rows"), UnknownNameError, "`pattern` must be one of random, magnitude"),
    (lambda: critical_rescale(0.0), ArgumentError, "`energy` must be a finite number that is positive; got 0.0"),
    (lambda: critical_rescale(1.5), ArgumentError, "`energy` must be at most 1; got 1.5"),
    (lambda: layer_moments("tanh", q=1.0, sigma_w2=0.0), ArgumentError, "`sigma_w2` must be .* positive; got 0.0"),
    (lambda: layer_moments(lambda x: 0 * x, q=1.0, sigma_w2=1.0), ArgumentError, "`activation` must have a slope"),
])
def test_numbers_out_of_their_domain_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
