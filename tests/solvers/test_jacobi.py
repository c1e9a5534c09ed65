"""Singular values of graded rows against closed forms and NumPy."""

import math

import numpy as np
import pytest
import torch

from jacprobe.solvers.jacobi import _rotated, graded_values


def _normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("count", [2, 9, 16, 33])
def test_equal_rows_are_one_value_and_no_nan(count):
    """Rows that vanish meet rows that have grown in the middle of a round, and the one that only makes up the pairs."""
    rows = torch.full((1, count, count), count**-0.5, dtype=torch.float64)
    logs, _ = _rotated(torch.zeros(1, count, dtype=torch.float64), rows)
    assert logs[0, 0] == pytest.approx(math.log(count) / 2, abs=1e-14)
    assert (logs[0, 1:] < math.log(1e-14)).all()


def test_values_are_those_of_the_scaled_rows():
    rows = torch.nn.functional.normalize(_normal(3, 7, 7), dim=2)
    scales = torch.logspace(0, -6, 7, dtype=torch.float64).expand(3, -1)
    logs, cosine = graded_values(scales.log(), rows)
    exact = np.linalg.svd((scales.unsqueeze(2) * rows).numpy(), compute_uv=False)
    np.testing.assert_allclose(logs.exp(), exact, rtol=1e-9)
    assert (cosine < 1e-13).all()


def test_scales_beyond_float64_multiply_to_the_determinant():
    rows = torch.nn.functional.normalize(_normal(1, 6, 6), dim=2)
    scales = torch.linspace(500, -3000, 6, dtype=torch.float64)[None]
    logs, _ = graded_values(scales, rows)
    exact = scales.sum() + torch.linalg.slogdet(rows[0]).logabsdet
    assert logs.sum().item() == pytest.approx(exact.item(), rel=1e-14)
