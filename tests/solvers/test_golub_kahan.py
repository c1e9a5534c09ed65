import numpy as np
import pytest
import torch
from oracles import seeded_normal, singular_values

from jacprobe.errors import NonFiniteError
from jacprobe.linop import Diagonal, LinearOperator, Matrix, Product
from jacprobe.solvers.golub_kahan import GolubKahan, quadrature


class Stack(LinearOperator):
    """A matrix per input."""

    def __init__(self, matrices):
        self.matrices, self.shape = matrices, tuple(matrices.shape)
        self.dtype, self.device = matrices.dtype, matrices.device

    def _matmat(self, block):
        return self.matrices @ block

    def _rmatmat(self, block):
        return self.matrices.mT @ block


def orthogonal(size, seed):
    return torch.linalg.qr(seeded_normal(size, size, seed=seed, dtype=torch.float64)).Q


def with_values(values, out_dim, in_dim, *, seed=0, dtype=torch.float64):
    """A matrix with these singular values, and zeros behind them."""
    diagonal = torch.zeros(out_dim, in_dim, dtype=torch.float64)
    diagonal.diagonal()[: len(values)] = torch.as_tensor(values, dtype=torch.float64)
    return (orthogonal(out_dim, seed) @ diagonal @ orthogonal(in_dim, seed + 1)).to(dtype)


SPECTRA = {
    "graded to 1e-12": (np.logspace(0, -12, 20), 20, 25),
    "clustered": (np.r_[np.full(5, 2.0), np.full(10, 1.0), np.full(5, 0.5)], 25, 20),
    "rank-deficient": (np.linspace(1, 2, 5), 20, 20),
    "one outlier": (np.r_[1000.0, np.linspace(0.1, 1, 19)], 20, 20),
    "zero": ([], 6, 4),
    "one row": ([3.0], 1, 7),
    "one column": ([3.0], 7, 1),
    "orthogonal": (np.ones(12), 12, 12),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", SPECTRA)
def test_a_complete_quadrature_has_the_moments_of_its_start(name, dtype):
    values, out_dim, in_dim = SPECTRA[name]
    matrix = with_values(values, out_dim, in_dim, dtype=dtype)
    start = seeded_normal(1, 3, in_dim, dtype=dtype)
    nodes, weights = quadrature(GolubKahan(Matrix(matrix), 1, 3, in_dim).run(start))
    _, s, vh = np.linalg.svd(matrix.double().numpy())
    squares = (start[0].double().numpy() @ vh.T) ** 2
    squares /= squares.sum(1, keepdims=True)
    full = np.zeros(in_dim)
    full[: len(s)] = s
    tolerance = 1e4 * torch.finfo(dtype).eps
    assert torch.isfinite(nodes).all()
    np.testing.assert_allclose(weights.sum(2), 1, atol=1e-12)
    for power in (1, 2, 4):
        found = (weights[0] * nodes[0] ** power).sum(1)
        np.testing.assert_allclose(found, squares @ full**power, atol=tolerance * max(1e-300, full.max()) ** power)
    assert (nodes >= 0).all()
    assert (nodes.diff(dim=2) <= 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-33, 1e-20, 1e-9, 1e-4, 1e10, 1e20, 1e34])
def test_the_scale_of_a_matrix_is_that_of_its_nodes(scale, dtype):
    matrix = (scale * with_values(np.linspace(0.1, 1, 20), 25, 20)).to(dtype)
    start = seeded_normal(1, 3, 20, dtype=dtype)
    nodes, weights = quadrature(GolubKahan(Matrix(matrix), 1, 3, 20).run(start))
    expected = np.tile(singular_values(matrix.double().numpy()), (3, 1))
    np.testing.assert_allclose(nodes[0] / scale, expected / scale, atol=1e4 * torch.finfo(dtype).eps)
    plain = quadrature(GolubKahan(Matrix(matrix.double() / scale), 1, 3, 20).run(start.double()))[1]
    np.testing.assert_allclose(weights, plain, atol=1e5 * torch.finfo(dtype).eps)


def test_inputs_of_every_scale_run_together():
    scales = torch.tensor([1e-30, 1.0, 0.0, 1e-12, 1e25], dtype=torch.float64)
    matrices = (scales[:, None, None] * with_values(np.linspace(0.1, 1, 20), 20, 20)).float()
    nodes, _ = quadrature(GolubKahan(Stack(matrices), 5, 2, 20).run(seeded_normal(5, 2, 20)))
    expected = torch.from_numpy(singular_values(matrices.double()))[:, None]
    error = (nodes - expected).abs().amax((1, 2))
    assert (error <= 2e-5 * scales).all()  # 0 for 0


def test_an_orthogonal_matrix_of_any_scale_has_one_node_to_full_precision():
    nodes, _ = quadrature(GolubKahan(Matrix(1e-22 * orthogonal(30, 0)), 1, 4, 10).run(seeded_normal(1, 4, 30).double()))
    np.testing.assert_allclose(nodes[..., 0], 1e-22, rtol=1e-13)
    assert (nodes[..., 1:] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_isometry_is_exhausted_in_one_step_and_that_is_the_answer(dtype):
    chains = GolubKahan(Matrix(3 * orthogonal(200, 0).to(dtype)), 2, 4, 20).run(seeded_normal(2, 4, 200, dtype=dtype))
    assert (chains.lengths == 1).all()
    nodes, weights = quadrature(chains)
    np.testing.assert_allclose(nodes[..., 0], 3, rtol=1e-5)
    assert (weights[..., 0] == 1).all()
    assert (nodes[..., 1:] == 0).all()
    assert (weights[..., 1:] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_some_chains_of_a_batch_stop_and_the_others_go_on(dtype):
    kinds = [orthogonal(30, 0), with_values(np.linspace(1, 2, 3), 30, 30), torch.zeros(30, 30, dtype=torch.float64),
             with_values(np.linspace(0.1, 1, 30), 30, 30)]
    chains = GolubKahan(Stack(torch.stack(kinds).to(dtype)), 4, 2, 12).run(seeded_normal(4, 2, 30, dtype=dtype))
    assert chains.lengths.tolist() == [[1, 1], [4, 4], [1, 1], [12, 12]]  # three values and 0; only 0
    nodes, weights = quadrature(chains)
    np.testing.assert_allclose(nodes[1, :, :3], [[2, 1.5, 1]] * 2, rtol=1e-5)
    assert ((weights > 0).sum(2) == chains.lengths).all()
    alone = GolubKahan(Matrix(kinds[3].to(dtype)), 1, 2, 12).run(seeded_normal(4, 2, 30, dtype=dtype)[3:])
    np.testing.assert_allclose(quadrature(alone)[0][0], nodes[3], atol=1e4 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("outlier", [1.0, 1.5, 100.0])
def test_lost_orthogonality_is_repaired_so_that_no_value_appears_twice(dtype, outlier):
    values = np.r_[outlier, np.linspace(0.02, 1, 299)]
    matrix = torch.diag(torch.as_tensor(values)).to(dtype)
    solver = GolubKahan(Matrix(matrix), 1, 1, 120)
    start = seeded_normal(1, 1, 300, dtype=dtype)
    nodes, weights = quadrature(solver.run(start))
    basis = solver._right[:, 0, 0].double()
    loss = (basis @ basis.T - torch.eye(120)).abs().max()
    assert loss < torch.finfo(dtype).eps ** 0.5
    expected = full_orthogonalisation(matrix.double().numpy(), start[0, 0].double().numpy(), 120)
    np.testing.assert_allclose(nodes[0, 0], expected, atol=100 * torch.finfo(dtype).eps * outlier)
    of_largest = start[0, 0, values == outlier].square().sum() / start.square().sum()
    assert float(weights[nodes > 0.998 * outlier].sum()) == pytest.approx(float(of_largest), rel=1e-2)


@pytest.mark.parametrize("seed", range(6))
def test_both_bases_stay_orthogonal_where_values_fall_by_orders_of_magnitude(seed):
    """A product of many random matrices: the small lengths of later steps carry the rounding of the largest."""
    factors = [Matrix(seeded_normal(60, 60, seed=30 * seed + i) / 60**0.5) for i in range(20)]
    operator = Product(factors)
    largest = np.linalg.svd(np.linalg.multi_dot([f.matrix.double().numpy() for f in factors]), compute_uv=False)[0]
    solver = GolubKahan(operator, 1, 16, 40)
    chains = solver.run(seeded_normal(1, 16, 60, seed=seed))
    nodes, _ = quadrature(chains)
    np.testing.assert_allclose(nodes[..., 0], largest, rtol=1e-4)
    for chain, length in enumerate(chains.lengths[0].tolist()):
        for basis in (solver._right, solver._left):
            vectors = basis[: length - 1, 0, chain].double()
            vectors = vectors / vectors.norm(dim=1, keepdim=True)
            assert (vectors @ vectors.T - torch.eye(length - 1)).abs().max() < 5e-3


def full_orthogonalisation(matrix, start, num_steps):
    """Singular values of A on the Krylov space of A'A, with a basis from repeated orthogonalisation in float64."""
    basis = [start / np.linalg.norm(start)]
    for _ in range(num_steps - 1):
        new = matrix.T @ (matrix @ basis[-1])
        for _ in range(3):
            new = new - np.array(basis).T @ (np.array(basis) @ new)
        basis.append(new / np.linalg.norm(new))
    return singular_values(matrix @ np.array(basis).T)


def test_infinite_products_are_refused():
    with pytest.raises(NonFiniteError, match="`operator` must have finite products"):
        GolubKahan(Diagonal(torch.tensor([[1.0, float("nan")]])), 1, 1, 2).run(torch.ones(1, 1, 2))
