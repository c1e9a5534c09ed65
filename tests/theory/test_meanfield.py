import math
from functools import partial

import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import ndtr

from jacprobe.errors import ArgumentError, UnknownNameError
from jacprobe.theory import (
    activation,
    correlation_map,
    critical_point,
    depth_scale,
    fixed_point,
    gradient_map,
    length_map,
)

REFERENCE = {  # activation, sigma_w2, sigma_b2 -> q, chi_1, xi_q, c, xi_c
    ("tanh", 1.3, 0.05): (0.31531648, 0.88016351, 1.785237, 1, 7.834069),
    ("tanh", 2.5, 0.05): (1.06395838, 1.13351570, 1.179873, 0.44680423, 11.795597),
    ("tanh", 4.0, 0.05): (2.19549393, 1.34240241, 0.873293, 0.16506496, 6.980274),
    ("erf1", 1.5, 0.1): (0.56967728, 0.89807577, 1.339335, 1, 9.302253),
    ("erf1", 3.0, 0.1): (1.63418772, 1.21129818, 0.925904, 0.42038508, 7.992827),
    ("erf", 1.5, 0.1): (0.69110043, 0.98435873, 1.131491, 1, 63.432095),
    ("relu", 1.5, 0.1): (0.4, 0.75, 3.476059, 1, 3.476059),
}


@pytest.mark.parametrize("setting", REFERENCE, ids=str)
def test_the_fixed_point_has_its_reference_values(setting):
    name, sigma_w2, sigma_b2 = setting
    point = fixed_point(name, sigma_w2=sigma_w2, sigma_b2=sigma_b2)
    found = (point.q, point.chi_1, point.xi_q, point.c, point.xi_c)
    assert found[:4] == pytest.approx(REFERENCE[setting][:4], rel=1e-6)
    assert found[4] == pytest.approx(REFERENCE[setting][4], rel=1e-6)


@pytest.mark.parametrize(("sigma_w2", "q"), [(1.2, 0.49028011), (3.0, 1.96704167)])
def test_the_hard_tanh_correlation_solves_its_map_by_an_independent_integral(sigma_w2, q):
    point = fixed_point("hard-tanh", sigma_w2=sigma_w2, sigma_b2=0.05)
    end = 1 / math.sqrt(point.q)

    def neither_saturates(c):
        spread = math.sqrt(1 - c * c)
        return quad(lambda x: math.exp(-x * x / 2) / math.sqrt(2 * math.pi)
                    * (ndtr((end - c * x) / spread) - ndtr((-end - c * x) / spread)), -end, end, epsabs=1e-12)[0]

    def gain(c):  # by Price's theorem from C = 0 at c = 0, as hard tanh is odd
        return sigma_w2 * quad(neither_saturates, 0, c, epsabs=1e-10)[0] + 0.05 / point.q - c

    c = brentq(gain, 0.0, 0.5 * (1 + point.c), xtol=1e-9)
    assert point.q == pytest.approx(q, rel=1e-7)
    assert point.c == pytest.approx(c, abs=1e-7)
    assert point.xi_c == pytest.approx(-1 / math.log(sigma_w2 * neither_saturates(c)), rel=1e-5)


@pytest.mark.parametrize(("name", "sigma_w2", "sigma_b2"), [("tanh", 2.0, 0.1), ("gelu", 1.8, 0.1), ("relu", 1.5, 0.2)])
def test_wide_random_networks_follow_the_maps(name, sigma_w2, sigma_b2):
    nets, width, generator = 24, 300, torch.Generator().manual_seed(0)
    phi, draw = activation(name), partial(torch.randn, generator=generator, dtype=torch.float64)
    whitened = torch.linalg.qr(draw(nets, width, 2)).Q * math.sqrt(width)
    pair = whitened @ torch.tensor([[1.0, 0.5], [0.0, 0.75**0.5]], dtype=torch.float64)  # lengths 1, correlation 0.5
    q, c, gradient, factor = 1.0, 0.5, draw(nets, width, 1), 1.0
    for _ in range(4):
        c = correlation_map(name, c, q=q, sigma_w2=sigma_w2, sigma_b2=sigma_b2)
        factor *= gradient_map(name, q, sigma_w2=sigma_w2)
        slopes = torch.from_numpy(phi.slopes(pair[..., :1].numpy()))
        weight = draw(nets, width, width) * math.sqrt(sigma_w2 / width)
        pair = weight @ phi.function(pair) + draw(nets, width, 1) * math.sqrt(sigma_b2)
        gradient = slopes * (weight.mT @ gradient)  # gradients with independent weights: a layer may come in any order
        q = length_map(name, q, sigma_w2=sigma_w2, sigma_b2=sigma_b2)
    correlation = c * q  # as a covariance, which averages over networks
    for measured, expected in [(pair.square().mean(1), q), (pair.prod(-1).mean(1), correlation),
                               (gradient.square().mean(1), factor)]:
        error = float(measured.mean(1).std() if measured.ndim == 2 else measured.std()) / math.sqrt(nets)
        assert float(measured.mean()) == pytest.approx(expected, abs=4 * error) and error < 0.08 * expected


def test_lengths_of_two_inputs_may_differ():
    expected = activation("erf").covariance(1.0, 4.0, 1.0) * 2 / math.sqrt(
        length_map("erf", 1.0, sigma_w2=2.0) * length_map("erf", 4.0, sigma_w2=2.0))
    assert correlation_map("erf", 0.5, q=(1.0, 4.0), sigma_w2=2.0) == pytest.approx(expected, rel=1e-14)


def test_a_critical_network_is_told_apart_from_ordered_and_chaotic_ones():
    critical = critical_point("tanh", sigma_b2=0.05)
    point = fixed_point("tanh", sigma_w2=critical.sigma_w2, sigma_b2=0.05)
    assert (point.phase, point.xi_c, point.xi_grad, point.c) == ("critical", math.inf, math.inf, 1.0)
    assert point.q == pytest.approx(critical.q, rel=1e-12) and point.xi_q == pytest.approx(critical.xi_q, rel=1e-10)
    assert fixed_point("tanh", sigma_w2=critical.sigma_w2 - 1e-6, sigma_b2=0.05).phase == "ordered"
    chaotic = fixed_point("tanh", sigma_w2=critical.sigma_w2 + 1e-4, sigma_b2=0.05)
    assert chaotic.phase == "chaotic" and 0.999 < chaotic.c < 1 and chaotic.xi_c > 1e4


def test_at_criticality_correlations_close_as_powers_of_depth():
    # l (1 - c) -> 2 mu_1 / (q E[phi''^2]) for smooth activations, l^2 (1 - c) -> 9 pi^2 / 2 for ReLU
    q = 1.0
    sigma_w2 = 1 / activation("erf1").slope_moment(q)
    sigma_b2 = q - sigma_w2 * activation("erf1").second_moment(q)
    a = math.pi / 4  # phi''^2 = 4 a^2 x^2 exp(-2 a x^2) for phi = erf(sqrt(a) x), phi' = exp(-a x^2)
    curvature = 4 * a**2 * q / (1 + 4 * a * q) ** 1.5
    smooth = relu = 0.5
    for _ in range(4000):
        smooth = correlation_map("erf1", smooth, q=q, sigma_w2=sigma_w2, sigma_b2=sigma_b2)
        relu = correlation_map("relu", relu, q=q, sigma_w2=2.0)
    assert 4000 * (1 - smooth) == pytest.approx(2 / sigma_w2 / (q * curvature), rel=0.02)
    assert 4000**2 * (1 - relu) == pytest.approx(9 * math.pi**2 / 2, rel=0.02)


def test_lengths_that_vanish_keep_correlations_of_smooth_activations_only():
    tanh, relu = fixed_point("tanh", sigma_w2=0.9), fixed_point("relu", sigma_w2=1.5)
    assert (tanh.q, tanh.c, tanh.xi_c, tanh.phase) == (0.0, None, math.inf, "ordered")
    assert (relu.q, relu.c, relu.xi_c, relu.chi_1) == (0.0, 1.0, math.inf, 0.75)
    critical = fixed_point("tanh", sigma_w2=1.0)
    assert (critical.q, critical.phase, critical.xi_q) == (0.0, "critical", math.inf)


def test_an_odd_activation_without_bias_makes_chaotic_signals_orthogonal():
    point = fixed_point("tanh", sigma_w2=1.5)
    assert point.c == 0.0 and point.phase == "chaotic" and point.xi_grad < 0


def test_where_the_start_decides_it_is_asked_for_and_used():
    with pytest.raises(ArgumentError, match=r"`start` must be given where lengths can settle at 0.0250908, inf; got"):
        fixed_point("gelu", sigma_w2=2.3, sigma_b2=0.01)
    assert fixed_point("gelu", sigma_w2=2.3, sigma_b2=0.01, start=0.1).q == pytest.approx(0.0250907657, rel=1e-8)
    with pytest.raises(ArgumentError, match="whose length grows without end"):
        fixed_point("gelu", sigma_w2=2.3, sigma_b2=0.01, start=100.0)
    with pytest.raises(ArgumentError, match=r"`start` must be given where every length stays; got None.* for relu"):
        fixed_point("relu", sigma_w2=2.0)
    kept = fixed_point("relu", sigma_w2=2.0, start=3.0)
    assert (kept.q, kept.chi_1, kept.phase) == (3.0, 1.0, "critical")


@pytest.mark.parametrize(("name", "sigma_w2", "sigma_b2"), [
    ("linear", 1.0, 0.1), ("linear", 1.5, 0.0), ("relu", 2.0, 0.1), ("relu", 2.5, 0.0), ("selu", 2.0, 0.0),
])
def test_lengths_without_end_are_refused(name, sigma_w2, sigma_b2):
    with pytest.raises(ArgumentError, match=f"`sigma_w2` must keep the length finite; got {sigma_w2}.*for {name}"):
        fixed_point(name, sigma_w2=sigma_w2, sigma_b2=sigma_b2)


def test_a_length_that_overshoots_settles():
    def bump(x):
        return torch.exp(-x * x)

    point = fixed_point(bump, sigma_w2=400.0, sigma_b2=0.01, start=1.0)
    assert length_map(bump, point.q, sigma_w2=400.0, sigma_b2=0.01) == pytest.approx(point.q, rel=1e-10)
    assert point.q == pytest.approx(400 / math.sqrt(1 + 4 * point.q) + 0.01, rel=1e-10)  # E[exp(-2 u^2)] in closed form


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: fixed_point("tanh", sigma_w2=0.0), ArgumentError, "`sigma_w2` must be a finite number that is positive"),
    (lambda: fixed_point("tanh", sigma_w2=-1.0), ArgumentError, "`sigma_w2` must be a finite .* positive; got -1.0"),
    (lambda: fixed_point("tanh", sigma_w2=1.0, sigma_b2=-0.1), ArgumentError, "`sigma_b2` must be .* at least 0"),
    (lambda: fixed_point("tanh", sigma_w2=1.0, start=0.0), ArgumentError, "`start` must be .* positive; got 0.0"),
    (lambda: fixed_point("tanhh", sigma_w2=1.0), UnknownNameError, "`activation` must be one of"),
    (lambda: length_map("tanh", -1.0, sigma_w2=1.0), ArgumentError, "`q` must be a finite number that is at least 0"),
    (lambda: correlation_map("tanh", 1.5, q=1.0, sigma_w2=1.0), ArgumentError, r"`c` must lie in \[-1, 1\]; got 1.5"),
    (lambda: correlation_map("tanh", 0.5, q=0.0, sigma_w2=1.0), ArgumentError, "`q` must be .* positive; got 0.0"),
    (lambda: correlation_map(lambda x: 0 * x, 0.5, q=1.0, sigma_w2=1.0), ArgumentError, "`activation` must not vanish"),
    (lambda: gradient_map("tanh", 1.0, sigma_w2=1.0, width_ratio=0.0), ArgumentError, "`width_ratio` must be"),
])
def test_numbers_out_of_their_domain_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_depth_scales_are_signed():
    assert depth_scale(math.exp(-0.5)) == pytest.approx(2.0) and depth_scale(math.exp(0.25)) == pytest.approx(-4.0)
    assert depth_scale(0.0) == 0.0 and depth_scale(1.0) == math.inf
