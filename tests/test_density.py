import math

import numpy as np
import pytest
import torch
from oracles import seeded_normal

from jacprobe.errors import ArgumentError, UnknownNameError
from jacprobe.results.density import Density


def known(nodes, weights, *, dim=10, zeros=(0,), frobenius=None):
    """A density from nested lists (num_inputs, num_probes, num_steps)."""
    return Density(torch.tensor(nodes, dtype=torch.float64), torch.tensor(weights, dtype=torch.float64), dim,
                   torch.tensor(zeros), frobenius, 0)


def sampled(values, num_probes, *, seed=0, frobenius=False):
    """The exact quadrature of random directions: every value is a node, with its Dirichlet distributed weight.

    `values` are those of one input, or one row for each.
    """
    values = torch.atleast_2d(torch.as_tensor(values, dtype=torch.float64)).sort(descending=True).values
    num_inputs, dim = values.shape
    squares = seeded_normal(num_inputs, num_probes, dim, seed=seed, dtype=torch.float64).square()
    nodes = values.unsqueeze(1).expand(-1, num_probes, -1)
    norms = values.norm(dim=1) if frobenius else None
    zeros = torch.zeros(num_inputs, dtype=torch.int64)
    return Density(nodes, squares / squares.sum(2, keepdim=True), dim, zeros, norms, 0)


TWO = {"nodes": [[[2.0, 1, 0]]], "weights": [[[0.5, 0.5, 0]]], "dim": 4, "zeros": (2,)}


def test_statistics_hold_structural_zeros_as_exact_atoms():
    density = known(**TWO)
    assert density.mean == pytest.approx(0.75)
    assert density.mean_square == pytest.approx(1.25)
    assert density.std == pytest.approx(math.sqrt(1.25 - 0.75**2))
    assert density.maximum == 2
    assert density.smallest == 1
    assert density.quantile(0.5) == 0
    assert density.quantile(0.51) == 1
    assert density.quantile(1) == 2
    assert density.share(-1, 0.5) == 0.5
    assert density.share(1, 2) == 0.5
    assert density.share(3, 4) == density.share(2, 1) == 0
    np.testing.assert_allclose(density.distribution([-1, 0, 0.9, 1, 1.9, 2]), [0, 0.5, 0.5, 0.75, 0.75, 1])


def test_inputs_are_pooled_like_all_their_values():
    density = known([[[3.0]], [[1.0]]], [[[1.0]], [[1.0]]], dim=4, zeros=(1, 4))
    assert density.mean == pytest.approx(3 * 3 / 8)
    assert density.std == pytest.approx(np.std([3, 3, 3, 0, 0, 0, 0, 0]))
    assert density.smallest == 3
    assert density.quantile(1) == 3
    assert density.share(0, 0) == pytest.approx(5 / 8)


def test_curves_integrate_to_one_for_every_width_and_need_a_positive_one():
    density = known(**TWO)
    x = torch.linspace(0, 20, 20001, dtype=torch.float64)
    for width in (0.01, 0.3, 2):
        assert float(torch.trapezoid(density.curve(x, width), x)) == pytest.approx(1, abs=1e-4)
    assert density.curve(-1.0, 0.1) == 0
    with pytest.raises(ArgumentError, match="`width` must be positive; got 0"):
        density.curve(x, 0)


def test_standard_errors_cover_the_truth_and_shrink_with_the_root_of_the_probes():
    values = seeded_normal(300, seed=1).abs().numpy()
    for seed in range(5):
        few, many = sampled(values, 10, seed=seed), sampled(values, 1000, seed=seed)
        for density in (few, many):
            for name, truth in (("mean", values.mean()), ("std", values.std()), ("mean_square", (values**2).mean())):
                assert abs(getattr(density, name) - truth) <= 4 * density.standard_error(name)
        assert few.standard_error("mean") / many.standard_error("mean") == pytest.approx(10, rel=0.1)


def test_a_known_frobenius_norm_makes_the_mean_square_exact_and_the_others_better():
    values = seeded_normal(300, seed=1).abs().numpy() + 1
    plain, anchored = sampled(values, 10), sampled(values, 10, frobenius=True)
    assert anchored.mean_square == pytest.approx((values.astype(float) ** 2).mean(), rel=1e-12)
    assert anchored.standard_error("mean_square") < 1e-12
    for name, truth in (("mean", values.mean()), ("std", values.std())):
        assert anchored.standard_error(name) < 0.7 * plain.standard_error(name)
        assert abs(getattr(anchored, name) - truth) <= 4 * anchored.standard_error(name)


def test_an_isometry_has_no_spread_whatever_is_known():
    for frobenius in (None, torch.tensor([4.0], dtype=torch.float64)):
        density = known([[[1.0], [1.0]]], [[[1.0], [1.0]]], dim=16, frobenius=frobenius)
        assert (density.mean, density.std) == (1, 0)
        assert density.standard_error("std") == density.standard_error("mean") == 0


def test_a_standard_error_is_that_of_a_uniformly_random_direction():
    values = seeded_normal(300, seed=1).abs()
    means = [sampled(values, 1, seed=seed).mean for seed in range(400)]
    assert sampled(values, 1).standard_error("mean") == pytest.approx(np.std(means), rel=0.1)
    with pytest.raises(UnknownNameError, match="`statistic` must be one of mean, std, mean_square; got 'median'"):
        sampled(values, 1).standard_error("median")


def test_equal_inputs_count_as_one():
    one = sampled(seeded_normal(50).abs(), 5)
    three = Density(one.nodes.expand(3, -1, -1), one.weights.expand(3, -1, -1), 50, one.zeros.expand(3), None, 0)
    assert three.standard_error("mean") == pytest.approx(one.standard_error("mean"))
    x = torch.linspace(0, 3, 20)
    for a, b in zip(three.band(x), one.band(x), strict=True):
        torch.testing.assert_close(a, b)


def test_each_run_of_equal_inputs_counts_as_one():
    """Three inputs share a matrix and its probes; two more have probes of their own."""
    parts = [sampled(seeded_normal(50).abs(), 5, seed=seed) for seed in range(3)]
    counts = torch.tensor([3, 1, 1])
    nodes, weights = (torch.cat([getattr(part, name) for part in parts]).repeat_interleave(counts, 0)
                      for name in ("nodes", "weights"))
    found = Density(nodes, weights, 50, torch.zeros(5, dtype=torch.int64), None, 0)
    errors = np.array([part.standard_error("mean") for part in parts])
    assert found.standard_error("mean") == pytest.approx(np.linalg.norm([3, 1, 1] * errors) / 5)
    x = torch.linspace(0, 3, 20)
    half = float((found.band(x)[1] - found.distribution(x)).max())
    one = float((parts[0].band(x)[1] - parts[0].distribution(x)).max())
    apart = one / 5**0.5
    assert apart < half < one


@pytest.mark.parametrize("frobenius", [False, True], ids=["norm unknown", "norm known"])
@pytest.mark.parametrize(("num_values", "num_probes", "num_inputs"), [(5, 2, 1), (5, 16, 1), (5, 1, 30), (40, 1, 30)])
def test_standard_errors_are_right_for_few_probes_of_few_values(num_values, num_probes, num_inputs, frobenius):
    scores = []
    for seed in range(200):
        values = torch.linalg.svdvals(seeded_normal(num_inputs, num_values, 72, seed=seed))
        found = sampled(values, num_probes, seed=1000 + seed, frobenius=frobenius)
        scores.append((found.mean - float(values.double().mean())) / found.standard_error("mean"))
    scores = np.array(scores)
    assert 0.8 < np.sqrt((scores**2).mean()) < 1.35
    assert abs(scores.mean()) < 0.3  # no bias that many inputs would add up
    assert (np.abs(scores) > 3).mean() < 0.05


def test_one_probe_of_a_handful_of_values_has_no_standard_error():
    values = seeded_normal(5).abs()
    assert math.isnan(sampled(values, 1).standard_error("mean"))
    assert sampled(values, 2).standard_error("mean") > 0
    assert sampled([2.0], 1).standard_error("mean") == 0  # it sees the only value


@pytest.mark.parametrize("values", [np.r_[1000, np.linspace(0.1, 1, 999)], np.linspace(0, 1, 300) ** 3,
                                    np.linspace(0.95, 1.05, 300), np.r_[np.ones(3), np.zeros(297)]],
                         ids=["one outlier", "most of them small", "near an isometry", "rank-deficient"])
def test_a_known_frobenius_norm_never_makes_the_mean_worse(values):
    plain, anchored = (sampled(values, 10, frobenius=frobenius) for frobenius in (False, True))
    assert anchored.standard_error("mean") <= plain.standard_error("mean")
    assert abs(anchored.mean - values.mean()) <= 4 * anchored.standard_error("mean") + 1e-12


def test_bands_lie_around_the_estimate_and_narrow_with_probes():
    values = seeded_normal(300, seed=1).abs()
    x = torch.linspace(-0.5, 4, 50)
    widths = []
    for num_probes in (10, 1000):
        density = sampled(values, num_probes)
        lower, upper = density.band(x)
        estimate = density.distribution(x)
        assert (lower <= estimate + 1e-12).all()
        assert (estimate <= upper + 1e-12).all()
        assert (lower[x < 0] == 0).all()
        assert (upper[x < 0] == 0).all()
        widths.append(float((upper - lower).mean()))
    assert widths[1] < widths[0] / 4
    low, high = density.share_band(0.5, 1.5)
    assert 0 < low <= density.share(0.5, 1.5) <= high < 1
    assert density.share_band(-2, -1) == (0, 0)


def test_an_exhausted_probe_knows_its_function_exactly():
    exhausted = known([[[2.0, 1, 0]]], [[[0.5, 0.5, 0]]], dim=10**9)
    running = known([[[2.0, 1]]], [[[0.5, 0.5]]], dim=10**9)
    inside = exhausted.share_band(0.9, 1.1)
    np.testing.assert_allclose(inside, 0.5, atol=1e-3)
    assert running.share_band(0.9, 1.1) == (0, 1)


@pytest.mark.parametrize("failure", [0, 1, -1, 2])
def test_a_failure_that_is_no_probability_is_refused(failure):
    with pytest.raises(ArgumentError, match="`failure` must lie between 0 and 1"):
        known(**TWO).band(1.0, failure=failure)


def test_a_quantile_outside_of_the_unit_interval_is_refused():
    with pytest.raises(ArgumentError, match=r"`q` must lie in \[0, 1\]; got 50"):
        known(**TWO).quantile(50)
