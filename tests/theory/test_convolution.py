import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from jacprobe.errors import ArgumentError, ShapeError
from jacprobe.theory import convolution_covariance_map, convolution_modes, correlation_map, fixed_point, length_map

THIRDS = np.full(3, 1 / 3)


def test_random_circular_convolutions_follow_the_map():
    nets, channels, generator = 60, 150, torch.Generator().manual_seed(0)
    profile = np.array([0.5, 0.2, 0.3])
    mixing = torch.tensor([[1.0, 0.4, 0.0, 0.0, 0.2], [0.0, 1.2, 0.5, 0.0, 0.0], [0.0, 0.0, 0.9, 0.3, 0.0],
                           [0.0, 0.0, 0.0, 0.8, 0.1], [0.0, 0.0, 0.0, 0.0, 1.0]], dtype=torch.float64)
    measured = []
    for _ in range(nets):
        signal = torch.randn(channels, 5, generator=generator, dtype=torch.float64) @ mixing
        weight = torch.randn(channels, channels, 3, generator=generator, dtype=torch.float64)
        weight *= torch.from_numpy(np.sqrt(1.5 * profile / channels))
        bias = torch.randn(channels, generator=generator, dtype=torch.float64) * math.sqrt(0.1)
        following = F.conv1d(F.pad(signal.relu()[None], (1, 1), mode="circular"), weight, bias)[0]
        measured.append(following.T @ following / channels)
    expected = convolution_covariance_map("relu", (mixing.T @ mixing).numpy(), profile=profile, sigma_w2=1.5,
                                          sigma_b2=0.1)
    measured = torch.stack(measured)
    errors = measured.std(0) / math.sqrt(nets)
    assert ((measured.mean(0) - torch.from_numpy(expected)).abs() < 4 * errors).all() and errors.max() < 0.04


def test_one_tap_is_the_map_of_a_fully_connected_layer_at_each_pair_of_positions():
    covariance = np.array([[1.0, 0.3], [0.3, 1.0]])
    following = convolution_covariance_map("tanh", covariance, profile=np.array([0.0, 1.0, 0.0]), sigma_w2=1.5,
                                           sigma_b2=0.1)
    q = length_map("tanh", 1.0, sigma_w2=1.5, sigma_b2=0.1)
    c = correlation_map("tanh", 0.3, q=1.0, sigma_w2=1.5, sigma_b2=0.1)
    assert following == pytest.approx(q * np.array([[1, c], [c, 1]]), rel=1e-12)


def test_modes_are_the_eigenvalues_of_the_linearised_map():
    # a small wave on the diagonal at offset 1 of the covariance of 6 positions shrinks by exp(-1 / xi)
    point, step = fixed_point("erf1", sigma_w2=1.5, sigma_b2=0.1), 1e-5
    modes = convolution_modes("erf1", profile=THIRDS, size=(6,), sigma_w2=1.5, sigma_b2=0.1)
    c = 1 - 1e-9  # equal signals, just apart from the edge
    base = np.full((6, 6), c * point.q) + (1 - c) * point.q * np.eye(6)
    place = np.arange(6)
    for frequency in (0, 1, 3):
        wave = np.zeros((6, 6))
        wave[place, (place + 1) % 6] = np.cos(2 * np.pi * frequency * place / 6)
        wave += wave.T
        apart = base - step * (1 - np.eye(6))
        lower, upper = (convolution_covariance_map("erf1", apart + sign * step * wave, profile=THIRDS, sigma_w2=1.5,
                                                   sigma_b2=0.1) for sign in (-0.4, 0.4))
        change = ((upper - lower) / (0.8 * step))[place, (place + 1) % 6]
        factor = change @ np.cos(2 * np.pi * frequency * place / 6) / (wave[place, (place + 1) % 6] ** 2).sum()
        assert abs(factor) == pytest.approx(math.exp(-1 / modes.xi_c[frequency]), rel=1e-3)


def test_factors_of_a_uniform_kernel_and_of_one_tap():
    modes = convolution_modes("tanh", profile=np.full((3, 3), 1 / 9), size=(8, 5), sigma_w2=1.3, sigma_b2=0.05)
    waves = [(1 + 2 * np.cos(2 * np.pi * np.arange(size) / size)) / 3 for size in (8, 5)]
    assert modes.factors == pytest.approx(abs(np.outer(*waves)), abs=1e-14)
    assert modes.xi_c[0, 0] == pytest.approx(7.834069, rel=1e-6)
    assert modes.xi_q[0, 0] == pytest.approx(1.785237, rel=1e-6)
    delta = np.zeros((3, 3))
    delta[1, 1] = 1.0
    assert (convolution_modes("tanh", profile=delta, size=(8, 5), sigma_w2=1.3).factors == 1).all()


def test_an_image_has_both_positions_in_two_dimensions():
    covariance = np.ones((2, 2, 2, 2)) * 0.5 + 0.5 * np.eye(4).reshape(2, 2, 2, 2)
    following = convolution_covariance_map("linear", covariance, profile=np.full((1, 3), 1 / 3), sigma_w2=3.0)
    # two positions per row: one tap stays and two go to the neighbour, for both signals alike
    assert following == pytest.approx(3 * covariance)


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: convolution_covariance_map("relu", np.eye(3), profile=np.ones(3), sigma_w2=1.0), ArgumentError,
     "`profile` must hold shares of variance of 1 or 2 dimensions that sum to 1; got 1 dimensions and the sum 3"),
    (lambda: convolution_covariance_map("relu", np.eye(3)[:2], profile=THIRDS, sigma_w2=1.0), ShapeError,
     r"`covariance` must have the positions twice.*got \(2, 3\)"),
    (lambda: convolution_covariance_map("relu", np.array([[1.0, 0.2], [0.3, 1.0]]), profile=THIRDS, sigma_w2=1.0),
     ArgumentError, "`covariance` must be symmetric with positive lengths"),
    (lambda: convolution_modes("relu", profile=THIRDS, size=(4, 4), sigma_w2=1.0), ShapeError,
     r"`size` must have one positive number for each of the 1 dimensions of the profile; got \(4, 4\)"),
])
def test_what_does_not_fit_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
