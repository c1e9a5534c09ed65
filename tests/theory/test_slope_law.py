import math

import numpy as np
import pytest
from scipy.integrate import quad

from jacprobe.theory import ACTIVATIONS, Chain, LayerLaw, activation, product_law, product_moments, slope_law, spectrum
from jacprobe.theory.prediction import Prediction

SMOOTH = ["tanh", "erf1", "gelu", "silu", "selu", "softsign"]


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("q", [1e-3, 0.5, 30.0])
def test_cells_have_the_moments_of_the_nodes_and_atoms_are_those_of_flat_pieces(name, q):
    phi = activation(name)
    law = slope_law(phi, q)
    flat = {"selu": 1, "elu": 1, "hard-swish": 2}.get(name, 0)
    saturated = q == 30 and name in ("gelu", "gelu-tanh", "mish")  # the slope is 1 but for rounding
    if law.cells is None:
        assert len(law.values) <= 2
        return
    assert (np.diff(law.cells.edges) > 0).all() and (law.cells.masses >= 0).all()
    assert len(law.cells.atoms) <= flat + saturated + (law.values[0] == 0)
    means = np.diff(law.cells.edges) / np.diff(np.log(law.cells.edges))
    expected = law.weights[~law.atoms()] @ law.values[~law.atoms()]
    assert law.cells.masses @ means == pytest.approx(expected, rel=1e-8)
    assert law.cells.masses.sum() + law.weights[law.atoms()].sum() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("name", ["tanh", "gelu", "silu"])
def test_the_transform_between_the_nodes_is_that_of_the_activation(name):
    phi, q = activation(name), 0.5
    point = 0.3 + 0.02j  # above the law, where single nodes would show

    def mean(part):
        def integrand(u):
            square = phi.slopes(np.array([u]))[0] ** 2
            return getattr(square / (point - square), part) * math.exp(-u * u / (2 * q)) / math.sqrt(2 * math.pi * q)

        return quad(integrand, -7, 7, limit=800, points=np.linspace(-6, 6, 41), epsabs=1e-9)[0]

    found = slope_law(phi, q).transform(np.array([point]))[0][0]
    assert found == pytest.approx(mean("real") + 1j * mean("imag"), rel=2e-3)


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize(("weight", "depth"), [(0.8, 1), (0.8, 2), ("orthogonal", 2), ("gaussian", 1)])
def test_the_mass_of_a_law_of_continuous_slopes_is_one(name, weight, depth):
    phi = activation(name)
    for q in (0.1, 2.0):
        layers = [LayerLaw(1, 1, weight, 1 / phi.slope_moment(q), slope_law(phi, q))] * depth
        law, variance = product_law(layers), product_moments(layers)[1]
        assert abs(law.defect) < 2e-5 and len(law.bands) <= 2, q  # single nodes gave up to 4e-4 and twelve bands
        assert law.relative_variance == pytest.approx(variance, rel=1e-4), q


def test_one_orthogonal_layer_of_a_smooth_activation_has_no_atoms():
    law = product_law([LayerLaw(1, 1, "orthogonal", 1.0, slope_law("gelu", 0.5))])
    assert law.atoms == ()
    s = np.sort(np.abs(activation("gelu").slopes(np.random.default_rng(0).normal(0, math.sqrt(0.5), 200_000))))
    assert law.distance(s) < 4e-3


def test_unlike_layers_keep_their_moments():
    layers = [LayerLaw(1, 1, "orthogonal", 1.0, slope_law("tanh", q)) for q in np.linspace(0.1, 0.6, 6)]
    law, (mean_square, variance) = product_law(layers), product_moments(layers)
    assert abs(law.defect) < 1e-5
    assert (law.mean_square, law.relative_variance) == pytest.approx((mean_square, variance), rel=2e-5)


def test_a_prediction_with_cells_is_plain_and_comes_back():
    predicted = spectrum(Chain([30, 30, 30], lambda x: x * (1.7 * x).sigmoid(), "orthogonal", density=0.8))
    again = Prediction.from_dict(predicted.to_dict())
    assert again["fc1"].quantile(0.3) == pytest.approx(predicted["fc1"].quantile(0.3), rel=1e-9)
    assert again["fc1"].s_max == pytest.approx(predicted["fc1"].s_max, rel=1e-9)
