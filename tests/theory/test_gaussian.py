import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import ndtr

from jacprobe.errors import ArgumentError, NonFiniteError
from jacprobe.theory import ACTIVATIONS, Activation, activation

CLOSED = ["linear", "relu", "leaky-relu", "lrelu", "erf", "erf1", "hard-tanh", "sin"]
LENGTHS = [0.01, 0.1, 1.0, 10.0, 100.0, 1000.0]


def by_quadrature(name):
    """Return the activation without its closed forms."""
    phi = ACTIVATIONS[name]
    return Activation(f"{name} by quadrature", phi.function, phi.kinks)


@pytest.mark.parametrize("name", CLOSED)
def test_quadrature_agrees_with_closed_forms_for_small_and_large_lengths(name):
    phi, bare = ACTIVATIONS[name], by_quadrature(name)
    for q in LENGTHS:
        assert bare.second_moment(q) == pytest.approx(phi.second_moment(q), rel=1e-12)
        assert bare.second_moment_slope(q) == pytest.approx(phi.second_moment_slope(q), rel=1e-11, abs=1e-13)
        for k in (1, 2, 3):
            assert bare.slope_moment(q, k) == pytest.approx(phi.slope_moment(q, k), rel=1e-12)


@pytest.mark.parametrize("name", ["relu", "lrelu", "erf", "sin"])
def test_bivariate_quadrature_agrees_with_closed_forms(name):
    phi, bare = ACTIVATIONS[name], by_quadrature(name)
    for pair in [(0.01, 0.013, 0.004), (2.0, 1.0, 0.0), (1000.0, 1000.0, 999.9999)]:
        scale = phi.second_moment(max(pair))
        assert bare.covariance(*pair) == pytest.approx(phi.covariance(*pair), rel=0, abs=1e-11 * scale)
        assert bare.slope_covariance(*pair) == pytest.approx(phi.slope_covariance(*pair), rel=0, abs=1e-11)


@pytest.mark.parametrize("q", [0.1, 1.0, 10.0, 100.0])
def test_tanh_moments_agree_with_the_trapezoid_rule(q):
    z, step = np.linspace(-9, 9, 20_001, retstep=True)
    weights = np.exp(-z * z / 2) * step / math.sqrt(2 * math.pi)
    values, slopes = np.tanh(math.sqrt(q) * z), 1 / np.cosh(math.sqrt(q) * z) ** 2
    tanh = activation("tanh")
    assert tanh.second_moment(q) == pytest.approx(weights @ values**2, rel=1e-12)
    assert tanh.slope_moment(q) == pytest.approx(weights @ slopes**2, rel=1e-12)
    assert tanh.slope_moment(q, 0.5) == pytest.approx(weights @ slopes, rel=1e-12)
    assert tanh.second_moment_slope(q) == pytest.approx(weights @ (z * values * slopes) / math.sqrt(q), rel=1e-12)
    assert tanh.mean(q) == pytest.approx(0.0, abs=1e-14)


def test_the_slope_of_the_second_moment_is_its_derivative():
    for name, phi in ACTIVATIONS.items():
        change = (phi.second_moment(1.501) - phi.second_moment(1.499)) / 0.002
        assert phi.second_moment_slope(1.5) == pytest.approx(change, rel=1e-5), name


def test_hard_tanh_slope_covariance_is_the_chance_that_neither_unit_saturates():
    q, c = 0.7, 0.6
    end, spread = 1 / math.sqrt(q), math.sqrt(1 - c * c)
    chance, _ = quad(lambda x: math.exp(-x * x / 2) / math.sqrt(2 * math.pi)
                     * (ndtr((end - c * x) / spread) - ndtr((-end - c * x) / spread)), -end, end, epsabs=1e-13)
    assert activation("hard-tanh").slope_covariance(q, q, c * q) == pytest.approx(chance, abs=1e-12)


@pytest.mark.parametrize("name", ["tanh", "gelu", "selu"])
def test_covariance_obeys_price_and_ends_in_the_second_moment(name):
    phi = ACTIVATIONS[name]
    slope = (phi.covariance(1.2, 0.8, 0.5005) - phi.covariance(1.2, 0.8, 0.4995)) / 0.001
    assert phi.slope_covariance(1.2, 0.8, 0.5) == pytest.approx(slope, rel=1e-6)
    assert phi.covariance(1.2, 1.2, 1.2) == pytest.approx(phi.second_moment(1.2), rel=1e-12)
    assert phi.slope_covariance(1.2, 1.2, 1.2) == pytest.approx(phi.slope_moment(1.2), rel=1e-12)
    assert phi.covariance(1.2, 0.8, 0.0) == pytest.approx(phi.mean(1.2) * phi.mean(0.8), abs=1e-12)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_law_of_the_slope_integrates_moments_and_resolvents(name):
    phi = ACTIVATIONS[name]
    for q in (0.05, 2.0):
        values, weights = phi.slope_law(q)
        assert weights.sum() == pytest.approx(1.0, abs=1e-13) and (weights >= 0).all() and (np.diff(values) > 0).all()
        for k in (0.5, 1, 2, 5):
            reach = 1e-3 if k == 0.5 else 1e-10  # |phi'| has a kink where phi' changes sign
            assert weights @ values**k == pytest.approx(phi.slope_moment(q, k), rel=reach)
        level = values.max() * (1.1 + 0.1j)
        dense = np.linspace(-10, 10, 40_002)[1::2] * math.sqrt(q)  # midpoints
        mass = np.exp(-dense**2 / (2 * q))
        expected = (mass / (level - phi.slopes(dense) ** 2)).sum() / mass.sum()
        assert (weights / (level - values)).sum() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(("name", "values", "weights"), [
    ("linear", [1.0], [1.0]),
    ("relu", [0.0, 1.0], [0.5, 0.5]),
    ("lrelu", [0.04, 1.0], [0.5, 0.5]),
    ("hard-tanh", [0.0, 1.0], [math.erfc(1 / math.sqrt(4)), math.erf(1 / math.sqrt(4))]),
    ("relu6", [0.0, 1.0], [1.5 - ndtr(6 / math.sqrt(2)), ndtr(6 / math.sqrt(2)) - 0.5]),
])
def test_piecewise_linear_slopes_are_exact_atoms(name, values, weights):
    law = ACTIVATIONS[name].slope_law(2.0)
    assert law[0] == pytest.approx(values, rel=1e-15) and law[1] == pytest.approx(weights, rel=1e-13)


def test_a_law_handed_out_can_be_changed_without_harm():
    ACTIVATIONS["relu"].slope_law(2.0)[0][:] = 7.0
    assert ACTIVATIONS["relu"].slope_law(2.0)[0].tolist() == [0.0, 1.0]


def test_length_zero_is_the_limit_of_small_lengths():
    for name, phi in ACTIVATIONS.items():
        assert phi.slope_moment(0.0) == pytest.approx(phi.slope_moment(1e-12), rel=1e-5), name
        assert phi.second_moment(0.0) == pytest.approx(phi.second_moment(1e-12), abs=1e-5), name
    assert activation("selu").one_sided_slopes() == pytest.approx((1.7580993408473766, 1.0507009873554805))


@pytest.mark.parametrize(("call", "message"), [
    (lambda phi: phi.second_moment(-1.0), "`q` must be a finite number that is at least 0; got -1.0"),
    (lambda phi: phi.second_moment("1"), "`q` must be a finite number that is at least 0; got '1'"),
    (lambda phi: phi.slope_moment(math.inf), "`q` must be a finite number"),
    (lambda phi: phi.slope_moment(1.0, 0), "`k` must be a finite number that is positive; got 0"),
    (lambda phi: phi.second_moment_slope(0.0), "`q` must be a finite number that is positive; got 0.0"),
    (lambda phi: phi.slope_law(0.0), "`q` must be a finite number that is positive; got 0.0"),
    (lambda phi: phi.covariance(0.0, 1.0, 0.0), "`q11` must be a finite number that is positive"),
    (lambda phi: phi.slope_covariance(1.0, 0.0, 0.0), "`q22` must be a finite number that is positive"),
    (lambda phi: phi.covariance(1.0, 1.0, 1.1), r"`q12` must lie within sqrt\(q11 q22\) = 1 of 0; got 1.1"),
])
def test_lengths_out_of_their_domain_are_refused(call, message):
    with pytest.raises(ArgumentError, match=message):
        call(activation("tanh"))


@pytest.mark.parametrize(("function", "error", "message"), [
    (lambda x: x.abs().sqrt(), ArgumentError, "finite Gaussian moments.*near x = "),
    (lambda x: torch.exp(3 * x), ArgumentError, "must grow slowly enough for its Gaussian moments"),
    (lambda x: torch.exp(x**4), NonFiniteError, "must be finite with a finite slope; got steep"),
])
def test_a_moment_that_does_not_exist_is_refused(function, error, message):
    with pytest.raises(error, match=message):
        Activation("steep", function).slope_moment(4.0)
