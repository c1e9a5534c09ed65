"""Scalars against NumPy, closed forms and their theory."""

import math

import numpy as np
import pytest
import torch
from made_up import estimated, exact, only_moments
from oracles import seeded_normal

SCALARS = {  # of the singular values s of one input
    "mean_square": lambda s: np.mean(s**2),
    "relative_variance": lambda s: np.var(s**2) / np.mean(s**2) ** 2,
    "stable_rank": lambda s: np.sum(s**2) / s.max() ** 2,
    "participation": lambda s: np.sum(s**2) ** 2 / np.sum(s**4),
    "effective_rank": lambda s: np.exp(-np.sum(s[s > 0] / s.sum() * np.log(s[s > 0] / s.sum()))),
}


@pytest.mark.parametrize("name", SCALARS)
@pytest.mark.parametrize("scale", [1.0, 1e200, 1e-200], ids=["ordinary", "huge", "tiny"])
def test_scalars_are_their_formulas_averaged_over_inputs(name, scale):
    rows = np.sort(np.abs(seeded_normal(5, 7).double().numpy()), axis=1)[:, ::-1].copy()
    rows[2, 4:] = 0
    spectrum = exact(rows=scale * rows, zeros=torch.tensor([0, 0, 3, 0, 0]), floor=0.0)
    expected = np.mean([SCALARS[name](row) for row in rows])
    if name == "mean_square":
        expected *= scale if scale == 1 else math.inf if scale > 1 else 0
    assert getattr(spectrum, name) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", SCALARS)
def test_scalars_of_a_density_are_those_of_its_nodes_written_out(name):
    spectrum = estimated(nodes=[[[1.5, 1.05, 0.5]], [[3.0, 0.95, 0.25]]], counts=[[[1, 3, 2]], [[2, 1, 3]]], zeros=2)
    rows = [np.array([1.5] + [1.05] * 3 + [0.5] * 2 + [0, 0]), np.array([3.0] * 2 + [0.95] + [0.25] * 3 + [0, 0])]
    assert getattr(spectrum, name) == pytest.approx(np.mean([SCALARS[name](row) for row in rows]), rel=1e-12)


def test_several_probes_of_a_density_count_as_one_spectrum():
    one = estimated(nodes=[[[2.0, 1.0]]], counts=[[[2, 6]]])
    two = estimated(nodes=[[[2.0, 0.0], [2.0, 1.0]]], counts=[[[0, 8], [4, 4]]])  # the first probe saw only zeros
    assert one.stable_rank == pytest.approx(2 + 6 / 4)
    assert two.stable_rank == pytest.approx((4 * 4 + 4 * 1) / 2 / 4)


def test_an_isometry_uses_all_directions_alike():
    spectrum = exact(rows=((3.0,) * 5,))
    assert spectrum.stable_rank == pytest.approx(5)
    assert spectrum.participation == pytest.approx(5)
    assert spectrum.effective_rank == pytest.approx(5)
    assert spectrum.relative_variance == 0
    assert spectrum.relative_std == 0
    assert spectrum.log_det == pytest.approx(math.log(9))


def test_a_zero_map_has_no_directions_and_no_logarithm():
    spectrum = exact(rows=((0.0, 0.0),), zeros=2)
    assert (spectrum.mean_square, spectrum.stable_rank, spectrum.participation, spectrum.effective_rank) == (0, 0, 0, 0)
    assert math.isnan(spectrum.relative_variance)
    assert math.isnan(spectrum.relative_std)
    assert spectrum.log_det == -math.inf
    assert math.isnan(spectrum.log_det_nonzero)


def test_gaussian_and_orthogonal_matrices_have_the_scalars_of_theory():
    values = torch.linalg.svdvals(seeded_normal(2, 400, 400).double() / 20)
    spectrum = exact(rows=values, floor=1e-12)
    theory = {"mean_square": 1, "relative_variance": 1, "relative_std": 0.5287 / 0.8488, "log_det": -1}
    for name, value in theory.items():
        assert getattr(spectrum, name) == pytest.approx(value, rel=0.03), name
    shares = {"stable_rank": 0.25, "participation": 0.5, "effective_rank": 0.8051}
    for name, value in shares.items():
        assert getattr(spectrum, name) / 400 == pytest.approx(value, rel=0.03), name


def test_log_det_is_that_of_the_matrix():
    matrix = seeded_normal(6, 6).double()
    spectrum = exact(rows=torch.linalg.svdvals(matrix)[None], floor=1e-12)
    assert 6 * spectrum.log_det == pytest.approx(float(torch.linalg.slogdet(matrix @ matrix.mT)[1]), rel=1e-10)


def test_structural_zeros_make_log_det_infinite_and_are_left_out_of_the_other():
    spectrum = exact(rows=((2.0, 1.0, 0.0), (4.0, 2.0, 1.0)), zeros=torch.tensor([1, 0]))
    assert spectrum.log_det == -math.inf
    assert spectrum.log_det_nonzero == pytest.approx(2 * math.log(16) / 5)


def test_a_logarithm_of_an_unresolved_value_is_not_known():
    assert math.isnan(exact(rows=((1.0, 1e-9),), floor=1e-6).log_det)
    assert math.isnan(exact(rows=((1.0, 1e-9, 0.0),), zeros=1, floor=1e-6).log_det_nonzero)
    resolved = exact(rows=((1.0, 1e-9),), floor=1e-6, relative_floor=1e-8)
    assert resolved.log_det == pytest.approx(math.log(1e-9))
    assert math.isnan(estimated(floor=0.6).log_det)
    assert estimated().log_det == pytest.approx(2 * (math.log(1.5) + 2 * math.log(0.5)) / 6)


def test_moments_tell_the_participation_ratio():
    assert only_moments(relative_variance=(0.0, 1.0), dim=6).participation == pytest.approx((6 + 3) / 2)
    assert only_moments(mean_square=(0.0,), relative_variance=(math.nan,)).participation == 0
