"""The value itself, laws of residual networks and of unequal variances, and what is refused."""

import numpy as np
import pytest

from jacprobe.errors import ArgumentError, ShapeError, UnknownNameError
from jacprobe.theory import (
    LayerLaw,
    SpectralLaw,
    bernoulli_edge,
    fuss_catalan_edge,
    masked_orthogonal_edges,
    persistent_gates_variance,
    product_law,
    product_moments,
    profile_law,
    residual_edges,
    residual_law,
    residual_layers_law,
)

CIRCLE = product_law([LayerLaw(1, 1)])


def test_cdf_and_quantile_are_inverse_and_agree_with_the_quarter_circle():
    s = np.linspace(0.1, 1.9, 10)
    exact = (s * np.sqrt(4 - s**2) / 2 + 2 * np.arcsin(s / 2)) / np.pi
    np.testing.assert_allclose(CIRCLE.cdf(s), exact, atol=1e-6)
    np.testing.assert_allclose(CIRCLE.quantile(CIRCLE.cdf(s)), s, atol=1e-9)
    assert CIRCLE.cdf(-1.0) == 0 and CIRCLE.pdf(3.0) == 0 and CIRCLE.pdf([0.0])[0] == 0


def test_an_atom_is_jumped_over_by_the_distance_not_counted_as_a_gap():
    law = SpectralLaw(((0.0, 0.25), (1.0, 0.75)), ())
    exact = np.array([0.0, 1.0, 1.0, 1.0])
    assert law.distance(exact) == 0
    assert law.distance(exact + 1e-6 * np.array([0, 1, -1, 0])) == 0  # rounding
    assert law.distance(exact + 1e-3 * np.array([0, 1, 0, 0])) == pytest.approx(0.25)
    assert law.distance([0.0, 0.0, 1.0, 1.0]) == pytest.approx(0.25)
    assert law.distance([1e-17, 1.0, 1.0, 1.0]) == 0
    assert law.mean == law.mean_square == 0.75 and law.s_min == law.zero_mass - 0.25 == 0
    np.testing.assert_array_equal(law.quantile([0.2, 0.25]), [0, 0])
    assert law.quantile(0.3) == pytest.approx(1)


def test_distance_equals_that_of_scipy_where_there_are_no_atoms():
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(0).uniform(0.1, 1.8, 50)
    assert CIRCLE.distance(values) == pytest.approx(stats.kstest(values, CIRCLE.cdf).statistic, abs=1e-12)


@pytest.mark.parametrize(("gain", "low", "high"), [(0.25, 0.4860, 2.0577), (1.0, 0.2177, 4.5929)])
def test_residual_networks_have_their_reference_edges(gain, low, high):
    law = residual_law(gain)
    np.testing.assert_allclose([*residual_edges(gain)], [low, high], atol=1e-4)
    np.testing.assert_allclose([law.s_min, law.s_max], [low, high], atol=1e-4)
    assert abs(law.relative_variance - 2 * gain) < 1e-9 and abs(law.mean_square - np.exp(gain)) < 1e-9
    assert abs(law.cdf(high + 1) - 1) < 1e-9


def test_many_thin_residual_layers_approach_the_law_of_infinite_depth():
    thin, limit = residual_layers_law(64, 0.25 / 64), residual_law(0.25)
    s = np.linspace(0.6, 1.8, 7)
    np.testing.assert_allclose(thin.cdf(s), limit.cdf(s), atol=3e-3)
    assert abs(residual_layers_law(4, 0.25).s_max - 3.7225) < 1e-4


def test_persistent_gates_spread_more_than_fresh_ones():
    found = [persistent_gates_variance(0.25, 2.0), persistent_gates_variance(1.0, 2.0)]
    np.testing.assert_allclose([*found, persistent_gates_variance(1.0, 1.0)], [0.5576, 2.7358, 2.0], atol=1e-4)


def test_unequal_rows_and_columns_follow_both_equations():
    rng = np.random.default_rng(0)
    rows, columns = rng.gamma(2.0, size=120), rng.gamma(3.0, size=160)
    rows[:30] = 0
    profile = np.outer(rows / rows.mean(), columns / columns.mean()) / 160
    layer = LayerLaw(120, 160, row_energies=rows, column_energies=columns)
    by_profile, by_product = profile_law(profile), product_law([layer])
    values = [np.linalg.svd(rng.standard_normal(profile.shape) * np.sqrt(profile), compute_uv=False) for _ in range(4)]
    for law in (by_profile, by_product):
        assert law.atoms == ((0.0, pytest.approx(0.25)),)
        assert law.distance(values) < 0.02
    spread = [np.var(energies) / np.mean(energies) ** 2 for energies in (rows, columns)]
    mean_square, variance = product_moments([layer])
    over_inputs = (1 + variance) * 160 / 120 - 1
    assert abs(over_inputs - (160 / 120 * (spread[0] + 1) + spread[1])) < 1e-9
    assert abs(mean_square - 1) < 1e-12


@pytest.mark.parametrize(
    ("call", "error", "match"),
    {
        "no layer": (lambda: product_law([]), ArgumentError, "`layers` must hold at least one layer; got none"),
        "no fit": (lambda: product_law([LayerLaw(2, 3), LayerLaw(2, 3)]), ShapeError, "layer 1 must be 2.*got 3"),
        "out of range": (lambda: product_law([LayerLaw(1, 1, "gaussian", 1e99)] * 9), ArgumentError, "Rescale"),
        "moments out of range": (lambda: product_moments([LayerLaw(1, 1, "gaussian", 1e99)] * 9), ArgumentError, "Res"),
        "no width": (lambda: LayerLaw(0, 3), ArgumentError, "`out_dim` must be a positive integer; got 0"),
        "no kind": (lambda: LayerLaw(1, 1, "haar"), UnknownNameError, "`weight` must be one of gaussian, orthogonal"),
        "no energy": (lambda: LayerLaw(1, 1, 1.5), ArgumentError, "`weight` must be a name or a kept energy"),
        "no variance": (lambda: LayerLaw(1, 1, "gaussian", 0.0), ArgumentError, "`sigma_w2` must be positive"),
        "no slopes": (lambda: LayerLaw(1, 1, slope=([], [])), ShapeError, "`slope` must be values and as many"),
        "negative slope": (lambda: LayerLaw(1, 1, slope=([-1.0], [1.0])), ArgumentError, "finite values >= 0, squares"),
        "weights": (lambda: LayerLaw(1, 1, slope=([1.0, 2.0], [1.0, 1.0])), ArgumentError, "weights >= 0 that sum"),
        "dead": (lambda: LayerLaw(1, 1, slope=([0.0], [1.0])), ArgumentError, "must have a positive value"),
        "dead rows": (lambda: LayerLaw(1, 1, row_energies=[0.0, 0.0]), ArgumentError, "`row_energies` must have a pos"),
        "quantile": (lambda: CIRCLE.quantile(1.5), ArgumentError, r"`p` must lie in \[0, 1\]; got 1.5"),
        "no values": (lambda: CIRCLE.distance([]), ArgumentError, "`values` must be at least one finite"),
        "negative values": (lambda: CIRCLE.distance([-1.0]), ArgumentError, "got -1.0 to -1.0"),
        "no matrix": (lambda: profile_law([1.0]), ShapeError, "`variances` must be a matrix"),
        "no variances": (lambda: profile_law([[0.0]]), ArgumentError, "`variances` must be finite, >= 0 and not all"),
        "gain": (lambda: residual_law(0.0), ArgumentError, "`gain` must be positive and finite"),
        "branch gain": (lambda: residual_layers_law(2, -1.0), ArgumentError, "`branch_gain` must be positive"),
        "layers": (lambda: residual_layers_law(0, 1.0), ArgumentError, "`depth` must be a positive integer"),
        "ratio": (lambda: persistent_gates_variance(1.0, 0.5), ArgumentError, "`slope_ratio` must be at least 1"),
        "depth": (lambda: fuss_catalan_edge(0), ArgumentError, "`depth` must be a positive integer; got 0"),
        "live": (lambda: bernoulli_edge(0.0, 2), ArgumentError, r"`live` must lie in \(0, 1\]; got 0.0"),
        "kind": (lambda: bernoulli_edge(0.5, 2, weight="x"), ArgumentError, "`weight` must be 'gaussian' or"),
        "kept": (lambda: masked_orthogonal_edges(2.0), ArgumentError, r"`kept_energy` must lie in \[0, 1\]; got 2.0"),
    }.values(),
    ids=lambda value: None,
)
def test_bad_input_is_refused_in_one_line(call, error, match):
    with pytest.raises(error, match=match) as caught:
        call()
    assert "\n" not in str(caught.value)
