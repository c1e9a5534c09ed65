"""Laws of deep Jacobians against closed forms, exact moment rules and simulated networks."""

from itertools import pairwise

import numpy as np
import pytest

from jacprobe.theory import activation
from jacprobe.theory.freeproduct import FreeProduct
from jacprobe.theory.knownlaws import bernoulli_edge, fuss_catalan_density, fuss_catalan_edge, masked_orthogonal_edges
from jacprobe.theory.layerlaw import LayerLaw
from jacprobe.theory.product import product_law, product_moments

RELU = ([0.0, 1.0], [0.5, 0.5])


def bernoulli(live):
    return [0.0, 1.0], [1 - live, live]


def equal_layers(name, weight, depth, q=0.1, gain=1.0):
    """Layers of one width at criticality."""
    function = activation(name)
    return [LayerLaw(1, 1, weight, gain / function.slope_moment(q), function.slope_law(q))] * depth


def haar(rng, rows, columns):
    """A semi-orthogonal matrix."""
    q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
    q = q * np.sign(np.diag(r))
    return q if rows >= columns else q.T


@pytest.mark.parametrize("depth", [1, 2, 8, 32])
def test_a_gaussian_product_has_the_fuss_catalan_density(depth):
    law = product_law([LayerLaw(10, 10)] * depth)
    angle = np.linspace(0.02, 0.98, 200) * np.pi / (depth + 1)
    sines = [np.log(np.sin(factor * angle)) for factor in (depth + 1, 1, depth)]
    s = np.exp(((depth + 1) * sines[0] - sines[1] - depth * sines[2]) / 2)
    exact = 2 * s * np.exp(2 * sines[1] + (depth - 1) * sines[2] - depth * sines[0]) / np.pi
    np.testing.assert_allclose(law.pdf(s), exact, rtol=1e-3)
    np.testing.assert_allclose(fuss_catalan_density(s, depth), exact, rtol=1e-9)
    assert abs(law.s_max / fuss_catalan_edge(depth) - 1) < 1e-9
    assert abs(law.mean_log_square + depth) < 1e-5


@pytest.mark.parametrize(
    ("layer", "depth", "edge"),
    [
        (LayerLaw(1, 1), 2, 6.75), (LayerLaw(1, 1), 8, 23.09206063), (LayerLaw(1, 1), 64, 175.32742192),
        (LayerLaw(1, 1, "gaussian", 2.0, RELU), 8, 43.54897889),
        (LayerLaw(1, 1, "gaussian", 2.0, RELU), 32, 173.98419221),
        (LayerLaw(1, 1, "gaussian", 2.0, RELU), 64, 347.94715258),
        (LayerLaw(1, 1, "orthogonal", 2.0, RELU), 2, 4.0),
        (LayerLaw(1, 1, "orthogonal", 2.0, RELU), 8, 20.37199758),
        (LayerLaw(1, 1, "orthogonal", 2.0, RELU), 32, 85.62228179),
        (LayerLaw(1, 1, "orthogonal", 2.0, RELU), 64, 172.60911243),
    ],
)
def test_upper_edges_have_their_reference_values(layer, depth, edge):
    law = product_law([layer] * depth)
    assert abs(law.s_max**2 - edge) < 6e-9 * max(1, edge)
    assert abs(law.cdf(law.s_max) - 1) < 1e-6


@pytest.mark.parametrize(
    ("energy", "low", "high"),
    [(0.75, 0.25, np.sqrt(8 / 3)), (0.5, 0, np.sqrt(27 / 8)), (0.9, 0.53136, 1.41946), (0.6, 0.06528, 1.76892),
     (0.99, 0.85617, 1.13884), (0.25, 0, 1.95408)],
)
def test_a_masked_orthogonal_layer_lies_between_its_edges(energy, low, high):
    law = product_law([LayerLaw(1, 1, energy)])
    np.testing.assert_allclose([law.s_min, law.s_max], [low, high], atol=6e-6)
    np.testing.assert_allclose([law.s_min, law.s_max], masked_orthogonal_edges(energy), atol=1e-9)
    assert abs(law.relative_variance - (1 - energy**2)) < 1e-8
    log = np.log(energy) if energy >= 0.5 else np.log(1 - energy) + energy / (1 - energy) - 1
    assert abs(law.mean_log_square - log) < 1e-6


def test_masked_layers_have_their_reference_scalars():
    found = [[product_law([LayerLaw(1, 1, e)]).mean, product_law([LayerLaw(1, 1, e)]).std] for e in (0.5, 0.75, 0.9)]
    np.testing.assert_allclose(found, [[0.8839, 0.4677], [0.9382, 0.3461], [0.9750, 0.2220]], atol=5.1e-5)


def test_tanh_networks_have_their_reference_values():
    law = product_law(equal_layers("tanh", "orthogonal", 64))
    assert abs(law.relative_variance - 2.5414) < 5e-5 and abs(law.s_max - 2.9218) < 5e-5


@pytest.mark.parametrize(("depth", "mass"), [(8, 0.797), (16, 0.594)])
def test_saturation_leaves_an_atom_above_the_band(depth, mass):
    law = product_law(equal_layers("hard-tanh", "orthogonal", depth, q=0.2))
    live = activation("hard-tanh").slope_moment(0.2)
    (zero, dead), (top, share) = law.atoms
    assert zero == 0 and abs(dead - (1 - live)) < 1e-12
    assert abs(top - live ** (-depth / 2)) < 1e-9 and abs(share - (1 - depth * (1 - live))) < 1e-9
    assert abs(share - mass) < 5e-4
    assert abs(np.exp(law.bands[-1].high / 2) - bernoulli_edge(live, depth, weight="orthogonal")) < 1e-5
    assert law.s_max == top and law.quantile(1 - share / 2) == pytest.approx(top)


@pytest.mark.parametrize("depth", [9, 11])
def test_an_atom_that_nearly_touches_the_band_or_nearly_forms_is_resolved(depth):
    law = product_law([LayerLaw(1, 1, "orthogonal", 1 / 0.9, bernoulli(0.9))] * depth)
    assert len(law.atoms) == 1 + (depth < 10)
    assert abs(law.defect) < 1e-4 and abs(law.relative_variance - depth / 9) < 2e-4


@pytest.mark.parametrize("weight", ["gaussian", "orthogonal", 0.8])
@pytest.mark.parametrize(
    "slope", [None, RELU, bernoulli(0.999), bernoulli(0.01), ([1e-4, 1.0], [0.5, 0.5])],
    ids=["linear", "relu", "nearly linear", "nearly dead", "leaky"],
)
@pytest.mark.parametrize("depth", [1, 3, 128])
def test_mass_is_one_and_moments_obey_the_exact_rules(weight, slope, depth):
    layers = [LayerLaw(1, 1, weight, 1.0 if slope is None else 1 / np.dot(*slope), slope)] * depth
    law, (mean_square, variance) = product_law(layers), product_moments(layers)
    assert abs(law.defect) < 1e-6
    assert abs(sum(mass for _, mass in law.atoms) + sum(band.mass for band in law.bands) - 1) < 1e-6
    assert abs(law.mean_square / mean_square - 1) < 1e-6
    assert abs(law.relative_variance - variance) < 1e-5 * max(1, variance)


@pytest.mark.parametrize("name", ["tanh", "selu", "gelu"])
def test_continuous_slopes_obey_the_exact_rules(name):
    for weight, depth in (("orthogonal", 8), ("gaussian", 2)):
        layers = equal_layers(name, weight, depth, q=0.5)
        law, (mean_square, variance) = product_law(layers), product_moments(layers)
        assert abs(law.defect) < 1e-5  # the far tail shows the nodes of the quadrature
        assert abs(law.mean_square / mean_square - 1) < 1e-5
        assert abs(law.relative_variance / variance - 1) < 1e-4


@pytest.mark.parametrize(
    ("dims", "expected"),
    [((300, 500, 200), [2.1, 4.2, 3.0, 2 / 3, 2 / 3, 0.4]),
     ((400, 400, 100, 300), [6.333333, 12.666667, 9.333333, 0.75, 0.75, 0.25])],
)
def test_unequal_widths_obey_the_rules_over_the_inputs(dims, expected):
    found, means = [], []
    for weight, slope in (("gaussian", None), ("gaussian", RELU), ("orthogonal", RELU)):
        layers = [LayerLaw(after, before, weight, 1.0 if slope is None else 2.0, slope)
                  for before, after in pairwise(dims)]
        law, (mean_square, variance) = product_law(layers), product_moments(layers)
        assert abs(law.mean_square / mean_square - 1) < 1e-6 and abs(law.relative_variance - variance) < 1e-5
        share = min(dims[0], dims[-1]) / dims[0]
        means.append(mean_square * share)
        found.append((1 + variance) / share - 1)
    np.testing.assert_allclose(found + means, expected, rtol=1e-6)


SIMULATED = {
    "linear, Gaussian, 4": ("linear", "gaussian", 1.0, [400] * 5),
    "linear, orthogonal, half removed": ("linear", "orthogonal", 0.5, [400] * 3),
    "tanh, orthogonal, 8": ("tanh", "orthogonal", 1.0, [400] * 9),
    "tanh, Gaussian, 8, a third removed": ("tanh", "gaussian", 0.67, [400] * 9),
    "tanh, orthogonal, a tenth removed": ("tanh", "orthogonal", 0.9, [400] * 5),
    "relu, Gaussian, 2, widening": ("relu", "gaussian", 1.0, [200, 500, 400]),
    "hard tanh, orthogonal, 8": ("hard-tanh", "orthogonal", 1.0, [400] * 9),
    "gelu, orthogonal, 2, other widths": ("gelu", "orthogonal", 1.0, [400, 500, 300]),
    "leaky relu, orthogonal masked, other widths": ("lrelu", "orthogonal", 0.7, [300, 400, 400, 350]),
    "erf, orthogonal, one layer": ("erf1", "orthogonal", 1.0, [400, 400]),
}


@pytest.mark.parametrize("case", SIMULATED.values(), ids=SIMULATED)
def test_simulated_networks_follow_the_law(case):
    """The slopes are those of independent normal units, in their exact proportions, so that only weights scatter."""
    name, weight, density, dims = case
    function, rng = activation(name), np.random.default_rng(0)
    sigma_w2, slope = 1 / function.slope_moment(0.3), function.slope_law(0.3)
    kind = density if weight == "orthogonal" else weight
    layers = [LayerLaw(after, before, kind, sigma_w2, slope) for before, after in pairwise(dims)]
    values = []
    for _ in range(2):
        jacobian = np.eye(dims[0])
        for before, after in pairwise(dims):
            dense = haar(rng, after, before) if weight == "orthogonal" else rng.standard_normal((after, before))
            scale = 1 / density if weight == "orthogonal" else 1 / (density * before)
            matrix = dense * (rng.random(dense.shape) < density) * np.sqrt(scale * sigma_w2)
            levels = (np.arange(after) + 0.5) / after
            squares = slope[0][np.argsort(slope[0])][np.searchsorted(
                np.cumsum(np.asarray(slope[1])[np.argsort(slope[0])]) / np.sum(slope[1]), levels)]
            jacobian = rng.permutation(np.sqrt(squares))[:, None] * (matrix @ jacobian)
        values.append(np.linalg.svd(jacobian, compute_uv=False))
    assert product_law(layers).distance(np.concatenate(values)) < 0.02


def test_a_mixed_network_satisfies_the_identity_of_the_s_transform():
    rng, dims = np.random.default_rng(1), [300, 500, 200, 400]
    kinds = ["gaussian", 0.7, "orthogonal"]
    slopes = [RELU, bernoulli(0.7), None]
    layers = [LayerLaw(after, before, kind, 1.0, slope)
              for before, after, kind, slope in zip(dims, dims[1:], kinds, slopes, strict=False)]
    jacobian = np.eye(dims[0])
    for before, after, kind, slope in zip(dims, dims[1:], kinds, slopes, strict=False):
        matrix = haar(rng, after, before)
        if kind == "gaussian":
            matrix = rng.standard_normal((after, before)) / np.sqrt(before)
        elif kind != "orthogonal":
            matrix = matrix * (rng.random(matrix.shape) < kind) / np.sqrt(kind)
        live = after if slope is None else round(slope[1][1] * after)
        squares = rng.permutation(np.arange(after) < live)
        jacobian = np.sqrt(squares)[:, None] * (matrix @ jacobian)
    squares = np.linalg.svd(jacobian, compute_uv=False) ** 2
    for z in (-0.1, -1.0, -10.0):
        moment = (squares / (z - squares)).sum() / dims[0]
        defect = FreeProduct(layers).step(np.array([np.log(-moment) + 0j]), [], np.log(-z)).residual
        assert abs(defect[0]) < 0.02


def test_unlike_layers_obey_the_exact_rules():
    function = activation("tanh")
    layers = [LayerLaw(1, 1, "orthogonal", 1 / function.slope_moment(q), function.slope_law(q))
              for q in np.linspace(0.1, 0.5, 4)]
    law, (mean_square, variance) = product_law(layers), product_moments(layers)
    assert abs(law.defect) < 1e-5 and abs(law.mean_square / mean_square - 1) < 1e-5
    assert abs(law.relative_variance / variance - 1) < 1e-4
