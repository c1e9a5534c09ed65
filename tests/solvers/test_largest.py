import numpy as np
import pytest
import scipy.sparse.linalg
import torch
from oracles import seeded_normal, singular_values

from jacprobe.errors import ArgumentError, BudgetError, NonFiniteError
from jacprobe.linop import Convolution, Diagonal, LinearOperator, Matrix, Product, Transposed
from jacprobe.solvers.largest import bytes_per_input, largest
from jacprobe.solvers.probes import Streams
from jacprobe.solvers.thick_restart import ThickRestart


class Stack(LinearOperator):
    """A matrix per input."""

    broadcasts = False

    def __init__(self, matrices):
        self.matrices, self.shape = matrices, tuple(matrices.shape)
        self.dtype, self.device = matrices.dtype, matrices.device

    def _matmat(self, block):
        return self.matrices @ block

    def _rmatmat(self, block):
        return self.matrices.mT @ block


class Identity(LinearOperator):
    """Hands back what it is given, not a copy."""

    def __init__(self, size):
        self.shape, self.dtype, self.device = (1, size, size), torch.float64, torch.device("cpu")

    def _matmat(self, block):
        return block

    _rmatmat = _matmat


def with_values(values, out_dim, in_dim, *, seed=0, dtype=torch.float64):
    """A matrix with these singular values, and zeros behind them."""
    diagonal = torch.zeros(out_dim, in_dim, dtype=torch.float64)
    diagonal.diagonal()[: len(values)] = torch.as_tensor(values, dtype=torch.float64)
    left, right = (torch.linalg.qr(seeded_normal(size, size, seed=seed + size, dtype=torch.float64)).Q
                   for size in (out_dim, in_dim))
    return (left @ diagonal @ right).to(dtype)


SPECTRA = {
    "graded to 1e-12": (np.logspace(0, -12, 150), 150, 200),
    "linear": (np.linspace(0, 1, 150), 200, 150),
    "flat edge": (np.r_[np.linspace(0.99, 1, 60), np.linspace(0, 0.9, 90)], 150, 150),
    "four fifths equal": (np.r_[np.full(120, 1.1), np.linspace(0.1, 0.7, 30)], 150, 150),
    "pairs": (np.repeat(np.linspace(0.1, 1, 75), 2), 150, 150),
    "three on top of a bulk": (np.r_[2.0, 2.0, 2.0, np.linspace(0, 1, 147)], 160, 150),
    "rank 3": ([3.0, 2.0, 1.0], 150, 150),
    "small": (np.linspace(0, 1, 10), 12, 10),
    "zero": ([], 30, 60),
    "one row": ([3.0], 1, 70),
    "one column": ([3.0], 70, 1),
    "isometry": (np.ones(100), 120, 100),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", SPECTRA)
def test_the_largest_values_are_found_with_all_their_copies(name, dtype):
    values, out_dim, in_dim = SPECTRA[name]
    matrix = with_values(values, out_dim, in_dim, dtype=dtype)
    oracle = singular_values(matrix.double())
    k = min(6, len(oracle))
    found = largest(Matrix(matrix), 1, num_values=6, tolerance=1e-4, seed=0,
                    frobenius=matrix.double().norm()[None])
    top = max(oracle[0], 1e-300)
    assert found.values.shape == (1, k)
    np.testing.assert_allclose(found.values[0], oracle[:k], atol=(1e-6 + 100 * torch.finfo(dtype).eps) * top)
    assert found.converged.all()
    assert (found.lower[0].numpy() <= oracle[:k] + 1e-15).all()
    assert (oracle[:k] <= found.upper[0].numpy() + 1e-15).all()
    assert (found.values.diff(dim=1) <= 0).all()
    assert (found.residuals <= 3e-4 * top).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-33, 1e-25, 1e-12, 1e10, 1e20, 1e34])
def test_bounds_hold_and_are_tight_at_every_scale(scale, dtype):
    matrix = (scale * with_values(SPECTRA["linear"][0], 200, 150)).to(dtype)
    oracle = singular_values(matrix.double())[:4] / scale
    for norm in (None, matrix.double().norm()[None]):
        found = largest(Matrix(matrix), 1, num_values=4, tolerance=1e-4, seed=0, frobenius=norm)
        lower, upper, residuals = (part[0].numpy() / scale for part in (found.lower, found.upper, found.residuals))
        assert (lower <= oracle).all()
        assert (oracle <= upper).all()
        assert upper.max() < 1.2
        assert lower.min() > 0.97
        assert (residuals < 3e-4).all()
        assert found.converged.all()


def test_values_agree_with_scipy_on_a_relu_convolution():
    convolution = Convolution(seeded_normal(12, 6, 3, 3) / 8, (6, 12, 12), padding=1)
    active = (seeded_normal(2, convolution.shape[1], seed=1) > 0).float()
    operator = Product([Diagonal(active), convolution])
    found = largest(operator, 2, num_values=8, tolerance=1e-5, seed=0)
    for i in range(2):
        own = Product([Diagonal(active[i : i + 1].double()), Matrix(convolution.dense()[0].double())])
        oracle = scipy.sparse.linalg.svds(own.to_scipy(), k=8, return_singular_vectors=False, rng=0)
        np.testing.assert_allclose(found.values[i], np.sort(oracle)[::-1], rtol=3e-6)
        assert (found.lower[i].numpy() <= np.sort(oracle)[::-1]).all()
        assert oracle.max() <= float(found.upper[i, 0]) < 1.2 * oracle.max()
    assert found.converged.all()
    assert found.failure == 0.01


def test_upper_bounds_of_stopped_runs_hold_for_many_starts():
    values = np.sort(seeded_normal(400, seed=3).abs().numpy())[::-1].astype(float)
    operator = Diagonal(torch.as_tensor(values.copy())[None])
    for seed in range(40):
        found = largest(operator, 1, num_values=1, tolerance=1e-9, seed=seed, max_products=30, failure=0.05)
        assert float(found.lower[0, 0]) <= values[0] <= float(found.upper[0, 0])
        assert not found.converged.all()
        assert np.abs(values - float(found.values[0, 0])).min() <= float(found.residuals[0, 0])
    assert float(found.upper[0, 0]) < 4 * values[0]


def test_a_known_frobenius_norm_bounds_every_value():
    matrix = with_values([5.0, 1.0, 0.1], 80, 80)
    found = largest(Matrix(matrix), 1, num_values=2, tolerance=1e-3, seed=0, max_products=8, block=1,
                    frobenius=matrix.norm()[None])
    oracle = np.array([5, 1])
    assert (oracle <= found.upper[0].numpy()).all()
    np.testing.assert_allclose(found.upper[0], oracle, rtol=0.02)
    assert found.failure == 0


def test_inputs_that_finish_at_different_times_run_together():
    kinds = [SPECTRA["isometry"][0], SPECTRA["linear"][0][:100], [], [3.0, 2.0, 1.0]]
    matrices = torch.stack([with_values(values, 120, 100, seed=i) for i, values in enumerate(kinds)])
    together = largest(Stack(matrices), 4, num_values=5, tolerance=1e-6, seed=0)
    np.testing.assert_allclose(together.values, singular_values(matrices)[:, :5], atol=1e-9)
    split = largest(Stack(matrices), 4, num_values=5, tolerance=1e-6, seed=0,
                    memory=1.5 * bytes_per_input(120, 100, 5, 8))
    np.testing.assert_allclose(split.values, together.values, atol=1e-9)
    part = largest(Stack(matrices[1:2]), 1, num_values=5, tolerance=1e-6, seed=0, first_input=1)
    np.testing.assert_allclose(part.values, together.values[1:2], atol=1e-9)


def test_one_matrix_for_all_inputs_is_solved_once():
    seen = []
    found = largest(Matrix(seeded_normal(30, 40)), 3, num_values=2, tolerance=1e-4, seed=0, progress=seen.append)
    assert found.values.shape == (3, 2)
    assert sum(seen) + 2 * 2 == found.products


def test_small_memory_means_a_small_basis_and_the_same_values():
    matrix = with_values(SPECTRA["linear"][0], 200, 150)
    full = largest(Matrix(matrix), 1, num_values=3, tolerance=1e-6, seed=0)
    tight = largest(Matrix(matrix), 1, num_values=3, tolerance=1e-6, seed=0,
                    memory=0.5 * bytes_per_input(200, 150, 3, 8))
    np.testing.assert_allclose(tight.values, full.values, atol=1e-9)
    assert tight.products > full.products


def test_the_same_seed_gives_the_same_bits_and_leaves_the_global_generator_alone():
    matrix = Matrix(seeded_normal(60, 50))
    state = torch.get_rng_state()
    first, second = (largest(matrix, 1, num_values=4, tolerance=1e-4, seed=1) for _ in range(2))
    assert torch.equal(first.values, second.values)
    assert torch.equal(first.residuals, second.residuals)
    assert torch.equal(torch.get_rng_state(), state)


def test_operators_that_hand_back_their_input_are_safe():
    found = largest(Identity(90), 1, num_values=3, tolerance=1e-6, seed=0)
    np.testing.assert_allclose(found.values, 1, rtol=1e-12)
    np.testing.assert_allclose(found.upper, 1, rtol=1e-10)


def test_the_relation_of_the_bases_survives_restarts():
    matrix = seeded_normal(90, 80, dtype=torch.float64)
    bases = ThickRestart(Matrix(matrix), Streams(0, (0,)), capacity=24, block=3, room=6)
    for step in range(25):
        if bases.size + bases.width > 24:
            bases.restart(bases.ritz(), 9)
        if step == 10:
            bases.widen(2)
        bases.expand()
    left, right = bases._left[0, : bases.size], bases._right[0, : bases.size]
    following = bases._right[0, bases.size : bases.size + bases.width]
    inner = bases._matrix[0, : bases.size, : bases.size]
    torch.testing.assert_close(matrix @ right.T, left.T @ inner, atol=1e-12, rtol=0)
    torch.testing.assert_close(matrix.T @ left.T, right.T @ inner.T + following.T @ bases._coupling[0].T,
                               atol=1e-12, rtol=0)
    both = torch.cat([right, following])
    torch.testing.assert_close(both @ both.T, torch.eye(len(both), dtype=torch.float64), atol=1e-12, rtol=0)


def test_bad_arguments_are_refused():
    operator, given = Transposed(Matrix(seeded_normal(300, 400))), {"num_values": 2, "tolerance": 1e-3, "seed": 0}
    for name in ("num_values", "tolerance", "block"):
        with pytest.raises(ArgumentError, match=f"`{name}` must be positive; got 0"):
            largest(operator, 1, **{**given, name: 0})
    with pytest.raises(ArgumentError, match="`failure` must lie between 0 and 1; got 1"):
        largest(operator, 1, failure=1, **given)
    with pytest.raises(BudgetError, match="`memory` must hold the basis for 2 values"):
        largest(operator, 1, memory=1e4, **given)
    with pytest.raises(NonFiniteError, match="`operator` must have finite products"):
        largest(Matrix(torch.full((5, 5), torch.nan)), 1, **given)
