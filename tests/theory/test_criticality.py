import math

import pytest
import torch

from jacprobe.errors import ArgumentError, UnknownNameError
from jacprobe.theory import Activation, activation, critical_line, critical_point, gain, length_map
from jacprobe.theory.closed_forms import ClosedForms

REFERENCE = {  # activation -> sigma_b2 -> sigma_w2, q
    "tanh": {2.01e-5: (1.04999563, 0.0259186), 0.01: (1.42420529, 0.2733009), 0.05: (1.76095464, 0.5700479),
             0.1: (1.98607264, 0.8057992), 0.3: (2.50512719, 1.46116945)},
    "erf1": {2.01e-5: (1.04593342, 0.0299137), 0.01: (1.38430714, 0.2916693), 0.05: (1.68736141, 0.5879784),
             0.1: (1.89058934, 0.8194341)},
    "hard-tanh": {2.01e-5: (1.00029702, 0.0763963), 0.01: (1.05206121, 0.2591462), 0.05: (1.16554469, 0.4638640),
                  0.1: (1.26340593, 0.6321555)},
    "sin": {2.01e-5: (1.03920176, 0.0392219), 0.01: (1.30477326, 0.3147733), 0.05: (1.50207010, 0.5520701),
            0.1: (1.61181155, 0.7118116)},
}


@pytest.mark.parametrize("name", REFERENCE)
def test_the_critical_line_has_its_reference_values(name):
    for sigma_b2, (sigma_w2, q) in REFERENCE[name].items():
        point = critical_point(name, sigma_b2=sigma_b2)
        assert point.sigma_w2 == pytest.approx(sigma_w2, abs=6e-9)
        assert point.q == pytest.approx(q, abs=6e-8)
        assert point.sigma_b2 == sigma_b2


def test_the_critical_line_of_tanh_by_length():
    points = critical_line("tanh", q=[0.1, 0.5, 1.0])
    found = [(point.sigma_w2, point.sigma_b2) for point in points]
    assert found[0] == pytest.approx((1.1775691, 0.00083228), rel=1e-5)
    assert found[1] == pytest.approx((1.68797512, 0.0380412), rel=1e-6)
    assert found[2] == pytest.approx((2.15330265, 0.15096463), rel=1e-7)
    mu_2 = [activation("tanh").slope_moment(point.q, 2) for point in points]
    assert mu_2 == pytest.approx([0.7497889838, 0.4559935292, 0.3415092073], abs=6e-11)


@pytest.mark.parametrize("name", ["tanh", "erf", "hard-tanh", "sin", "selu", "elu", "gelu", "silu", "sigmoid", "relu6",
                                  "mish", "softsign", "hard-swish"])
def test_a_critical_point_keeps_gradients_and_its_length(name):
    point = critical_point(name, sigma_b2=0.05)
    phi = activation(name)
    assert point.sigma_w2 * phi.slope_moment(point.q) == pytest.approx(1.0, abs=1e-12)
    assert length_map(phi, point.q, sigma_w2=point.sigma_w2, sigma_b2=0.05) == pytest.approx(point.q, rel=1e-10)


def test_without_bias_the_critical_length_is_zero():
    tanh, gelu = critical_point("tanh", sigma_b2=0.0), critical_point("gelu", sigma_b2=0.0)
    assert (tanh.sigma_w2, tanh.q, tanh.xi_q) == (1.0, 0.0, math.inf)
    assert (gelu.sigma_w2, gelu.q) == (4.0, 0.0)
    assert critical_point("sigmoid", sigma_b2=0.0).q == pytest.approx(45.624277797, rel=1e-9)  # sigmoid(0) is not 0


def test_the_length_of_a_critical_gelu_network_runs_away():
    assert critical_point("gelu", sigma_b2=0.05).xi_q < 0 < critical_point("gelu", sigma_b2=0.3).xi_q


@pytest.mark.parametrize(("spec", "sigma_w2"), [
    ("linear", 1.0), ("relu", 2.0), ("lrelu", 2 / 1.04), (lambda x: torch.where(x > 0, 3 * x, -x), 0.2),
], ids=["linear", "relu", "leaky relu", "callable"])
def test_activations_that_keep_every_length_are_critical_without_bias_only(spec, sigma_w2):
    point = critical_point(spec, sigma_b2=0.0)
    assert point.sigma_w2 == pytest.approx(sigma_w2, rel=1e-12) and point.q is None and point.xi_q == math.inf
    assert critical_point(spec, q=7.0).q == 7.0
    with pytest.raises(ArgumentError, match="`sigma_b2` must be 0 for .*; got 0.05. It has no critical point with a"):
        critical_point(spec, sigma_b2=0.05)


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: critical_point("tanh"), ArgumentError, "`sigma_b2` or `q` must be given, and only one; got neither"),
    (lambda: critical_point("tanh", sigma_b2=0.1, q=1.0), ArgumentError, "and only one; got both"),
    (lambda: critical_point("tanh", sigma_b2=-0.1), ArgumentError, "`sigma_b2` must be a finite number that is at"),
    (lambda: critical_point("tanh", q=-0.1), ArgumentError, "`q` must be a finite number that is at least 0"),
    (lambda: critical_point("tahn", q=1.0), UnknownNameError, "`activation` must be one of"),
    (lambda: critical_point("sigmoid", q=1.0), ArgumentError, "`q` must be a length .*; got 1.0 for sigmoid, which wo"),
    (lambda: critical_point("softplus", sigma_b2=0.05), ArgumentError, "must be one for which softplus has a critical"),
    (lambda: critical_point(lambda x: x**2, q=0.0), ArgumentError, "`activation` must have a slope at lengths near 0;"),
    (lambda: gain(lambda x: 0 * x, q=1.0), ArgumentError, "must have a slope at lengths near 1; got <lambda>, which"),
    (lambda: gain("tanh"), ArgumentError, "`sigma_b2` or `q` must be given, and only one; got neither"),
    (lambda: gain("tanh", q=1.0, sigma_b2=0.1), ArgumentError, "and only one; got both"),
])
def test_what_has_no_critical_point_is_refused(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_where_several_lengths_are_critical_one_is_asked_for():
    made_up = ClosedForms(second_moment=lambda q: -q * math.expm1(-q), slope_moment=lambda q, k: 1.0)
    phi = Activation("made up", torch.tanh, closed_forms=made_up)  # critical weights keep q with the bias q exp(-q)
    with pytest.raises(ArgumentError, match="`q` must be given for made up with sigma_b2 = 0.05, which has critical"
                                            " points at the lengths 0.052706, 4.49976; got None"):
        critical_point(phi, sigma_b2=0.05)


def test_the_gain_makes_the_mean_squared_slope_one():
    assert gain("relu") == pytest.approx(math.sqrt(2)) and gain("linear") == 1.0
    assert gain("tanh", sigma_b2=0.05) ** 2 == pytest.approx(1.76095464, abs=6e-9)
    assert gain("softplus", q=1.0) ** 2 * activation("softplus").slope_moment(1.0) == pytest.approx(1.0, rel=1e-14)
