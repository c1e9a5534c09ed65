"""Statistics of spectra of every label, against NumPy on values written out."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from made_up import bounded, estimated, exact, missing, only_moments, tensor
from oracles import seeded_normal

from jacprobe.results import SpectrumSet
from jacprobe.results.intervals import Intervals


def written_out(spectrum):
    """Return all values of a density's inputs as one array, each node as often as it occurs, zeros last."""
    density = spectrum.density
    rows = []
    for nodes, weights, zeros in zip(density.nodes, density.weights, density.zeros, strict=True):
        live = density.dim - int(zeros)
        counts = (weights * live).round().long()
        rows += [np.concatenate([np.repeat(n, c), np.zeros(int(zeros))])
                 for n, c in zip(nodes.numpy(), counts.numpy(), strict=True)]
    return np.array(rows)


DENSITY = estimated(nodes=[[[1.5, 1.05, 0.5]], [[3.0, 0.95, 0.25]]], counts=[[[1, 3, 2]], [[2, 1, 3]]], zeros=2)


# exact


def test_statistics_are_those_of_numpy():
    rows = np.sort(-np.abs(seeded_normal(5, 7).double().numpy()), axis=1) * -1
    spectrum = exact(rows=rows.tolist())
    assert spectrum.mean == pytest.approx(rows.mean(), rel=1e-14)
    assert spectrum.std == pytest.approx(rows.std(), rel=1e-14)
    assert (spectrum.min, spectrum.max) == (rows.min(), rows.max())
    assert spectrum.cond == rows.max() / rows.min()
    np.testing.assert_array_equal(spectrum.cond_per_input.numpy(), rows[:, 0] / rows[:, -1])
    for q in (0, 0.05, 0.5, 1):
        assert spectrum.quantile(q) == pytest.approx(np.quantile(rows, q), rel=1e-14)
    assert spectrum.ldi(0.3) == (np.abs(rows - 1) <= 0.3).mean()


def test_counts_part_structural_zeros_from_small_values():
    spectrum = exact(rows=((1.0, 1e-9, 0.0), (1.0, 1e-6, 1e-7), (1.0, 0.0, 0.0)), zeros=torch.tensor([1, 0, 1]))
    assert (spectrum.num_zeros, spectrum.num_under_floor) == (2, 4)


def test_no_value_counts_as_unresolved_where_each_is_known_to_a_relative_error():
    spectrum = exact(rows=((1.0, 1e-9, 0.0),), zeros=1, floor=1e-6, relative_floor=1e-10)
    assert (spectrum.num_zeros, spectrum.num_under_floor) == (1, 0)
    assert exact(rows=((1.0, 1e-9),), floor=1e-6, relative_floor=1e-10).cond == pytest.approx(1e9)
    assert exact(rows=((1.0, 1e-9),), floor=1e-6).cond == pytest.approx(1e6)


def test_without_a_floor_only_zeros_are_unresolved():
    assert exact(rows=((1.0, 1e-9, 0.0),), zeros=1, floor=math.nan).num_under_floor == 0
    assert exact(rows=((1.0, 0.0),), floor=math.nan).cond == math.inf


def test_the_condition_number_is_infinite_with_zeros_and_nan_for_a_zero_map():
    assert exact(zeros=torch.tensor([0, 1])).cond == math.inf
    assert math.isnan(exact(rows=((0.0, 0.0),), zeros=2).cond)


def test_a_spectrum_that_is_missing_has_nan_statistics_and_a_reason():
    gone = missing()
    numbers = [gone.mean, gone.std, gone.min, gone.max, gone.cond, gone.quantile(0.5), gone.ldi(0.1)]
    numbers += [*gone.mean_interval, *gone.min_interval, *gone.max_interval, *gone.ldi_interval(0.1)]
    numbers += [gone.mean_square, gone.relative_variance, gone.relative_std, gone.stable_rank, gone.participation,
                gone.effective_rank, gone.log_det, gone.log_det_nonzero, gone.standard_error()]
    assert all(map(math.isnan, numbers))
    assert (gone.num_zeros, gone.num_under_floor, gone.cond_per_input, gone.is_isometric(0.1)) == (0, 0, None, None)
    assert "never called" in repr(gone)


def test_values_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        exact().floor = 0


def test_exact_numbers_lie_within_the_floor():
    spectrum = exact(rows=((2.0, 1.0, 0.05, 0.0),), zeros=1, floor=0.1)
    assert spectrum.mean_interval == pytest.approx(((1.9 + 0.9 + 0) / 4, (2.1 + 1.1 + 0.15) / 4))
    assert spectrum.max_interval == pytest.approx((1.9, 2.1))
    assert spectrum.min_interval == (0, 0)  # a structural zero has no error
    assert exact(rows=((2.0, 0.05),), floor=0.1).min_interval == pytest.approx((0, 0.15))
    assert spectrum.ldi_interval(0.05) == (0, 0.25)  # 1.0 may lie within or not
    assert spectrum.ldi_interval(0.2) == (0.25, 0.25)


def test_a_relative_floor_takes_the_place_of_the_floor():
    spectrum = exact(rows=((2.0, 1e-9),), floor=0.1, relative_floor=0.5)
    assert spectrum.max_interval == pytest.approx((2 * math.exp(-0.5), 2 * math.exp(0.5)))
    assert spectrum.min_interval == pytest.approx((1e-9 * math.exp(-0.5), 1e-9 * math.exp(0.5)))


def test_without_a_floor_nothing_is_bounded():
    spectrum = exact(rows=((2.0, 1.0),), floor=math.nan)
    assert all(map(math.isnan, (*spectrum.mean_interval, *spectrum.max_interval, *spectrum.ldi_interval(0.1))))


# bounded


def test_bounds_of_every_value_bound_the_statistics_and_give_none():
    spectrum = bounded()
    assert all(map(math.isnan, (spectrum.mean, spectrum.std, spectrum.min, spectrum.max, spectrum.cond,
                                spectrum.ldi(0.1), spectrum.quantile(0.5))))
    assert spectrum.mean_interval == pytest.approx((2.4 / 3, 3.4 / 3))
    assert spectrum.min_interval == (0, 0.4)
    assert spectrum.max_interval == (1.5, 2.0)
    assert spectrum.ldi_interval(0.1) == pytest.approx((1 / 3, 1 / 3))
    assert spectrum.ldi_interval(0.6) == pytest.approx((1 / 3, 1))
    assert spectrum.is_isometric(0.1) is False
    assert spectrum.is_isometric(0.6) is None
    assert spectrum.is_isometric(1.0) is True


def test_bounds_leave_room_for_rounding():
    spectrum = bounded(floor=0.1)
    assert spectrum.max_interval == pytest.approx((1.4, 2.1))
    assert spectrum.min_interval == pytest.approx((0, 0.5))


def test_the_largest_values_tell_the_largest_and_bound_the_smallest():
    spectrum = bounded(lower=[[1.5, 1.2], [1.4, 1.3]], upper=[[1.6, 1.4], [1.7, 1.35]], dim=9,
                       values=[[1.5, 1.2], [1.4, 1.3]])
    assert spectrum.max == 1.5
    assert spectrum.max_interval == (1.5, 1.7)
    assert spectrum.min_interval == (0, 1.35)  # no value of the second input is larger from the second on
    assert all(map(math.isnan, (spectrum.mean, spectrum.std, spectrum.min, spectrum.cond, spectrum.ldi(0.1),
                                *spectrum.mean_interval, spectrum.stable_rank)))
    assert spectrum.cond_per_input is None
    assert spectrum.ldi_interval(0.1) == pytest.approx((0, 14 / 18))  # the further 7 of each may lie anywhere below
    assert spectrum.is_isometric(0.1) is False
    assert spectrum.num_values == 2


def test_structural_zeros_behind_the_largest_values_are_known():
    spectrum = bounded(lower=[[1.0]], upper=[[1.05]], dim=4, values=[[1.0]], zeros=torch.tensor([1]))
    assert (spectrum.num_zeros, spectrum.num_under_floor, spectrum.min, spectrum.cond) == (1, 0, 0, math.inf)
    assert spectrum.min_interval == (0, 0)
    assert spectrum.ldi_interval(0.1) == (0.25, 0.75)
    assert spectrum.log_det == -math.inf


def test_intervals_hold_whatever_the_values_are():
    generator = np.random.default_rng(0)
    for _ in range(200):
        dim, num_inputs = generator.integers(1, 7), generator.integers(1, 4)
        zeros = generator.integers(0, dim + 1, num_inputs)
        values = -np.sort(-generator.uniform(0.01, 2, (num_inputs, dim)), axis=1)
        values[np.arange(dim) >= dim - zeros[:, None]] = 0
        count = generator.integers(0, dim + 1)
        slack = generator.uniform(0, 0.3, (2, num_inputs, count))
        known = values[:, :count]
        lower, upper = (np.sort(ends, axis=1)[:, ::-1].copy() for ends in (known - slack[0], known + slack[1]))
        intervals = Intervals.of(tensor(lower), tensor(upper), torch.from_numpy(zeros), int(dim))
        low, high = sorted(generator.uniform(-0.2, 2, 2))
        least, most = intervals.share(low, max(high, 0))
        share = ((values >= low) & (values <= max(high, 0))).mean()
        assert least - 1e-12 <= share <= most + 1e-12
        for (least, most), truth in ((intervals.mean, values.mean()), (intervals.min, values.min()),
                                     (intervals.max, values.max())):
            assert math.isnan(least) or least - 1e-12 <= truth <= most + 1e-12


# estimated


def test_statistics_of_a_density_are_those_of_its_nodes_written_out():
    values = written_out(DENSITY)
    assert values.shape == (2, 8)
    assert DENSITY.mean == pytest.approx(values.mean())
    assert DENSITY.std == pytest.approx(values.std())
    assert DENSITY.mean_square == pytest.approx((values**2).mean())
    assert DENSITY.ldi(0.1) == pytest.approx((np.abs(values - 1) <= 0.1).mean())
    for q in (0.05, 0.3, 0.5, 0.9):
        assert DENSITY.quantile(q) == np.quantile(values, q, method="inverted_cdf")


def test_a_density_knows_its_zeros_but_neither_its_smallest_nor_more_than_a_bound_of_its_largest_value():
    assert (DENSITY.num_zeros, DENSITY.min, DENSITY.cond, DENSITY.max) == (4, 0, math.inf, 3)
    open_ = estimated()
    assert math.isnan(open_.min)
    assert math.isnan(open_.cond)
    assert open_.min_interval == (0, 0.5)
    assert open_.max_interval[0] == 1.5
    assert math.isnan(open_.max_interval[1])
    assert all(map(math.isnan, open_.mean_interval))  # a standard error is no bound
    assert open_.cond_per_input is None


def test_a_floor_and_a_norm_bound_the_ends_of_a_density():
    spectrum = estimated(floor=0.1, norms=[2.5])
    assert spectrum.min_interval == (0, 0.6)
    assert spectrum.max_interval == (1.4, 2.5)


def test_bounds_beside_a_density_tighten_its_ends():
    spectrum = estimated(bounds=(tensor([[1.55]]), tensor([[1.7]])), norms=[2.5])
    assert spectrum.max_interval == (1.55, 1.7)
    assert spectrum.min_interval == (0, 0.5)


def test_a_density_has_standard_errors_over_its_probes():
    nodes = [[[1.5, 0.5], [1.25, 0.75], [1.0, 0.5]]]
    spectrum = estimated(nodes=nodes, counts=[[[2, 2]] * 3])
    variance = np.var(nodes[0])  # of which a random direction among n values sees 2 / (n + 2)
    independent = 3 * (spectrum.dim + 2) / 2  # of which one is lost to the mean
    assert spectrum.standard_error("mean") == pytest.approx(np.sqrt(variance / (independent - 1)))
    assert spectrum.standard_error("std") > 0
    assert math.isnan(spectrum.standard_error("relative_variance"))
    assert math.isnan(exact().standard_error())


def test_no_standard_error_is_smaller_than_what_rounding_leaves_unknown():
    isometry = {"nodes": [[[2.0, 0.0]] * 4], "counts": [[[100, 0]] * 4]}
    assert estimated(**isometry).standard_error("mean") == 0
    rounded = estimated(**isometry, floor=0.01)
    assert rounded.standard_error("mean") == rounded.standard_error("std") == 0.01
    assert rounded.standard_error("mean_square") == pytest.approx(2.01**2 - 2**2)
    spread = estimated(nodes=[[[1.5, 0.5]] * 3], counts=[[[2, 2]] * 3])
    both = dataclasses.replace(spread, floor=0.2)
    assert both.standard_error("mean") == pytest.approx(math.hypot(spread.standard_error("mean"), 0.2))


def test_rounding_is_in_the_standard_errors_of_moments():
    spectrum = only_moments(mean_square=(4.0,), relative_variance=(0.25,))
    rounded = dataclasses.replace(spectrum, floor=0.01)
    values = np.array([2 * np.sqrt(1.5), 2 * np.sqrt(0.5)])  # mean square 4, relative variance 1/4
    moved = values + np.array([0.01, -0.01])
    change = (moved**2).var() / (moved**2).mean() ** 2 - 0.25
    for name, least in (("mean_square", 2.01**2 - 2**2), ("relative_variance", change)):
        own, whole = spectrum.standard_error(name), rounded.standard_error(name)
        assert math.hypot(own, least) <= whole < math.hypot(own, 3 * least)
    nothing = only_moments(mean_square=(0.0,), relative_variance=(math.nan,), floor=0.01)
    assert nothing.standard_error("mean_square") == pytest.approx(1e-4)
    assert math.isnan(nothing.standard_error("relative_variance"))


def test_the_share_within_epsilon_has_a_band_that_widens_with_the_floor():
    # all of many values at 1, which every probe exhausted in one step, so that the band is narrow
    spectrum = estimated(nodes=[[[1.0, 0.0]] * 4] * 8, counts=[[[10_000, 0]] * 4] * 8)
    least, most = spectrum.ldi_interval(0.1)
    assert 0.95 < least < 1
    assert most == 1
    assert dataclasses.replace(spectrum, floor=0.2).ldi_interval(0.1) == (0, 1)


def test_a_density_can_refute_isometry_and_never_prove_it():
    near = estimated(nodes=[[[1.0, 0.0]]], counts=[[[10_000, 0]]])
    far = estimated(nodes=[[[2.0, 0.0]]], counts=[[[10_000, 0]]])
    assert near.is_isometric(0.1) is None
    assert far.is_isometric(0.1) is False
    assert estimated(nodes=[[[1.0]]], counts=[[[4]]], zeros=1).is_isometric(0.1) is False  # by its exact zero


def test_moments_tell_no_value():
    spectrum = only_moments()
    assert all(map(math.isnan, (spectrum.mean, spectrum.std, spectrum.min, spectrum.max, spectrum.cond,
                                spectrum.ldi(0.1), *spectrum.ldi_interval(0.1), spectrum.stable_rank)))
    assert spectrum.mean_square == 2
    assert spectrum.standard_error("mean_square") == pytest.approx(math.hypot(0.1, 0.3) / 2)
    assert spectrum.relative_variance == 1
    assert spectrum.standard_error("relative_variance") == pytest.approx(math.hypot(0.1, 0.3) / 2)
    assert spectrum.is_isometric(0.1) is None
    assert "mean square 2, estimated" in repr(spectrum)


def test_an_input_without_a_jacobian_has_no_relative_variance():
    spectrum = only_moments(mean_square=(1.0, 0.0), relative_variance=(0.5, math.nan))
    assert spectrum.relative_variance == 0.5
    assert spectrum.standard_error("relative_variance") == pytest.approx(0.1)
    nowhere = only_moments(mean_square=(0.0,), relative_variance=(math.nan,))
    assert math.isnan(nowhere.relative_variance)
    assert math.isnan(nowhere.standard_error("relative_variance"))


def test_isometry_of_a_set_is_refuted_by_one_layer_and_needs_all():
    near, far = exact(rows=((1.05, 0.95),)), exact("far", rows=((1.1, 0.8),))
    unsure, none = estimated("unsure", nodes=[[[1.0]]], counts=[[[10_000]]]), missing("gone", "layer")
    assert SpectrumSet((near,)).is_isometric
    assert not SpectrumSet((near, far)).is_isometric
    assert not SpectrumSet((unsure, none, far)).is_isometric
    assert SpectrumSet((bounded(),), epsilon=1.0).is_isometric


def test_values_below_normal_numbers_have_no_relative_error():
    for smallest in (1e-320, 0.0):
        spectrum = exact(rows=((1.0, smallest),), floor=1e-6, relative_floor=1e-10)
        assert spectrum.min_interval == (0, pytest.approx(torch.finfo(torch.float64).tiny))


def test_an_infinite_relative_floor_leaves_the_absolute_one():
    spectrum = exact(rows=((1.0, 1e-9),), floor=1e-6, relative_floor=math.inf)
    assert (spectrum.resolution, spectrum.num_under_floor) == (1e-6, 1)
    assert spectrum.cond == pytest.approx(1e6)
    assert spectrum.max_interval == pytest.approx((1 - 1e-6, 1 + 1e-6))


def test_a_condition_number_is_at_least_one_where_all_is_under_the_floor():
    spectrum = exact(rows=((1e-9, 1e-10),), floor=1e-6)
    assert spectrum.cond == 1
    assert spectrum.cond_per_input.tolist() == [1]
