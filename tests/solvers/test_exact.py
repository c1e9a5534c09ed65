"""The exact solver against NumPy: chains of every shape, dead units, parts, copies, selections, equal inputs."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import assert_spectrum_close, seeded_normal, singular_values

from jacprobe.linop import Diagonal, Matrix, Product, Selection
from jacprobe.solvers.dense import singular_values as dense_values
from jacprobe.solvers.exact import ExactSolver, exact_cost
from jacprobe.solvers.liveness import rank_bound

NUM = 3


def _random(*shape, seed=0, dtype=torch.float64):
    return seeded_normal(*shape, seed=seed, dtype=dtype)


def _gates(num, dim, seed=0, keep=0.5):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(num, dim, generator=generator) < keep).double()


def _index(num, out_dim, in_dim, seed=0):
    return torch.randint(in_dim, (num, out_dim), generator=torch.Generator().manual_seed(seed))


def _sparse(out_dim, in_dim, keep, seed=0):
    return _random(out_dim, in_dim, seed=seed) * _gates(out_dim, in_dim, seed=seed + 1, keep=keep)


def _selection(num, out_dim, in_dim, seed=0):
    return Selection(_index(num, out_dim, in_dim, seed), in_dim, dtype=torch.float64)


def _dense(product):
    matrix = torch.eye(product.shape[2], dtype=torch.float64).expand(NUM, -1, -1)
    for factor in reversed(product.factors):
        matrix = factor.dense().double() @ matrix
    return matrix


PRODUCTS = {
    "one matrix": [Matrix(_random(4, 3))],
    "wide matrix": [Matrix(_random(2, 5))],
    "copies": [Matrix(_random(2, 3), copies=4)],
    "tall copies": [Matrix(_random(5, 2), copies=3)],
    "diagonal": [Diagonal(_random(NUM, 4))],
    "constant diagonal": [Diagonal(_random(1, 4))],
    "diagonals": [Diagonal(_random(NUM, 4)), Diagonal(_random(1, 4, seed=1))],
    "layer": [Diagonal(_random(NUM, 4)), Matrix(_random(4, 6))],
    "tall layer": [Diagonal(_random(NUM, 9)), Matrix(_random(9, 4))],
    "layer with gates": [Diagonal(_gates(NUM, 8)), Matrix(_random(8, 6))],
    "layer with all gates shut": [Diagonal(torch.zeros(NUM, 4, dtype=torch.float64)), Matrix(_random(4, 6))],
    "gates before the matrix": [Matrix(_random(5, 8)), Diagonal(_gates(NUM, 8))],
    "two layers": [Diagonal(_random(NUM, 2)), Matrix(_random(2, 4)), Diagonal(_random(NUM, 4)), Matrix(_random(4, 6))],
    "bottleneck": [Matrix(_random(5, 2)), Diagonal(_random(NUM, 2)), Matrix(_random(2, 6))],
    "bottleneck between layers": [Diagonal(_random(NUM, 9)), Matrix(_random(9, 3)), Diagonal(_random(NUM, 3)),
                                  Matrix(_random(3, 8)), Diagonal(_random(NUM, 8)), Matrix(_random(8, 10))],
    "tokens": [Matrix(_random(2, 3), copies=4), Diagonal(_random(NUM, 12)), Matrix(_random(3, 5), copies=4)],
    "shared tokens": [Matrix(_random(2, 3), copies=4), Matrix(_random(3, 2), copies=4)],
    "zero matrix": [Diagonal(_random(NUM, 3)), Matrix(torch.zeros(3, 4, dtype=torch.float64))],
    "batch norm after the matrix": [Diagonal(_random(NUM, 4)), Diagonal(_random(1, 4, seed=2)), Matrix(_random(4, 6))],
    "scaled input": [Diagonal(_random(NUM, 4)), Matrix(_random(4, 6)), Diagonal(_random(1, 6, seed=2))],
    "linear network": [Matrix(_random(4, 9)), Diagonal(_random(1, 9)), Matrix(_random(9, 5))],
    "linear network through a bottleneck": [Matrix(_random(7, 2)), Matrix(_random(2, 8))],
    "row": [Diagonal(_random(NUM, 1)), Matrix(_random(1, 6))],
    "column": [Diagonal(_random(NUM, 6)), Matrix(_random(6, 1))],
    "sparse layer in parts": [Diagonal(_random(NUM, 20)), Matrix(_sparse(20, 20, 0.06))],
    "sparse network in parts": [Diagonal(_gates(NUM, 15)), Matrix(_sparse(15, 15, 0.1)), Diagonal(_random(NUM, 15)),
                                Matrix(_sparse(15, 12, 0.1, seed=5))],
    "dead units": [Matrix(_sparse(6, 10, 0.3)), Diagonal(_gates(NUM, 10)), Matrix(_sparse(10, 9, 0.3, seed=3))],
    "max pooling": [_selection(NUM, 4, 12), Diagonal(_gates(NUM, 12)), Matrix(_random(12, 9))],
    "overlapping max pooling": [_selection(NUM, 9, 5), Matrix(_random(5, 4))],
    "pooling alone": [_selection(NUM, 6, 4)],
    "scaled pooling": [Diagonal(_random(NUM, 6)), _selection(NUM, 6, 4), Diagonal(_random(NUM, 4, seed=4))],
    "pooling between layers": [Diagonal(_random(NUM, 3)), Matrix(_random(3, 5)), _selection(NUM, 5, 8),
                               Diagonal(_gates(NUM, 8, seed=1)), Matrix(_random(8, 6))],
    "pooling before the matrix": [Matrix(_random(5, 4)), _selection(NUM, 4, 7)],
    "the same selection for all": [_selection(1, 4, 12), Diagonal(_random(NUM, 12)), Matrix(_random(12, 9))],
}


@pytest.mark.parametrize("gram", [False, True], ids=["by an SVD", "by squares"])
@pytest.mark.parametrize("name", PRODUCTS)
def test_the_solver_gives_the_values_of_the_dense_product(name, gram):
    product = Product(PRODUCTS[name])
    expected = singular_values(_dense(product))
    values, zeros = ExactSolver(gram=gram)(product, NUM)
    assert_spectrum_close(values, expected, floor=(1e-7 if gram else 1e-13) * max(expected.max(), 1e-300))
    assert (zeros.numpy() <= (expected < 1e-12).sum(1)).all()
    assert (values.numpy()[expected < 1e-12] < (1e-6 if gram else 1e-12)).all()


@pytest.mark.parametrize("name", PRODUCTS)
def test_structural_zeros_are_all_found(name):
    """Random values on a random pattern almost surely have the rank of the pattern."""
    product = Product(PRODUCTS[name])
    if any(isinstance(factor, Selection) for factor in product.factors):
        pytest.skip("rows that select the same entry are equal, not zero")
    _, zeros = ExactSolver(gram=False)(product, NUM)
    assert (zeros.numpy() == (singular_values(_dense(product)) < 1e-12).sum(1)).all()


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_random_chains_have_the_values_of_their_dense_product(data):
    seed = data.draw(st.integers(0, 10**6))
    widths = data.draw(st.lists(st.integers(1, 9), min_size=2, max_size=5))
    factors, width = [], widths[0]
    for i, following in enumerate(widths[1:]):
        keep = data.draw(st.sampled_from([0.1, 0.4, 1.0]))
        factors.insert(0, Matrix(_sparse(following, width, keep, seed=seed + 10 * i)))
        kind = data.draw(st.sampled_from(["none", "smooth", "gates", "constant", "pooling"]))
        width = following
        if kind == "pooling":
            width = data.draw(st.integers(1, 6))
            factors.insert(0, _selection(NUM, width, following, seed=seed + i))
        elif kind != "none":
            entries = _gates(NUM, width, seed + i) if kind == "gates" else _random(
                1 if kind == "constant" else NUM, width, seed=seed + i)
            factors.insert(0, Diagonal(entries))
    product = Product(factors)
    expected = singular_values(_dense(product))
    for gram in (False, True):
        values, zeros = ExactSolver(gram=gram)(product, NUM)
        assert_spectrum_close(values, expected, floor=(1e-7 if gram else 1e-13) * max(expected.max(), 1e-300))
        assert (zeros.numpy() <= (expected <= 1e-12 * max(expected.max(), 1e-300)).sum(1)).all()


@pytest.mark.parametrize("seed", range(20))
def test_the_rank_bound_holds_and_is_tight_for_sparse_factors(seed):
    """Random values on a random pattern almost surely have its rank, and a product has at most that."""
    generator = torch.Generator().manual_seed(seed)
    sizes = [int(n) for n in torch.randint(1, 8, (4,), generator=generator)]
    matrices = [Matrix(_random(out, in_, seed=seed) * (torch.rand(out, in_, generator=generator) < 0.3))
                for in_, out in itertools.pairwise(sizes)]
    diagonals = [Diagonal(_random(NUM, n) * (torch.rand(NUM, n, generator=generator) < 0.7)) for n in sizes[1:]]
    layers = reversed(list(zip(diagonals, matrices, strict=True)))  # the last acts first
    product = Product([factor for layer in layers for factor in layer])
    ranks = np.linalg.matrix_rank(_dense(product).numpy())
    assert (rank_bound(product).numpy() >= ranks).all()
    single = Product([matrices[0]])
    assert rank_bound(single).item() == np.linalg.matrix_rank(matrices[0].matrix.numpy())


CHOSEN = {
    "graded": np.logspace(0, -12, 12),
    "clustered": np.repeat([1.0, 1 - 1e-9, 0.5], 4),
    "rank deficient": np.r_[np.ones(7), np.zeros(5)],
    "zero": np.zeros(12),
    "orthogonal": np.ones(12),
    "huge": np.linspace(1e100, 1e99, 12),
    "tiny": np.linspace(1e-100, 1e-101, 12),
}


@pytest.mark.parametrize("gram", [False, True], ids=["by an SVD", "by squares"])
@pytest.mark.parametrize("shape", [(12, 12), (12, 30), (30, 12)], ids=["square", "wide", "tall"])
@pytest.mark.parametrize("name", CHOSEN)
def test_chosen_singular_values_are_found(name, shape, gram):
    chosen = CHOSEN[name]
    left, _ = np.linalg.qr(_random(shape[0], 12).numpy())
    right, _ = np.linalg.qr(_random(shape[1], 12, seed=1).numpy())
    matrix = torch.from_numpy(left * chosen @ right.T).expand(2, -1, -1)
    values = dense_values(matrix, gram=gram)
    tolerance = (1e-7 if gram else 1e-13) * chosen.max() + 1e-300
    assert np.abs(values.numpy() - chosen).max() <= tolerance
    large = chosen > 1e-2 * chosen.max()
    error = np.abs(values.numpy() - chosen)[:, large].max(initial=0)
    assert error <= max(tolerance / 1e4, 1e-13 * chosen.max())
    if gram:
        scales = torch.tensor([[1.0], [2.0]], dtype=torch.float64).expand(-1, shape[0])
        layer = Product([Diagonal(scales),
                         Matrix(matrix[0])])
        values, _ = ExactSolver(gram=True)(layer, 2)
        assert np.abs(values.numpy() - np.outer([1, 2], chosen)).max() <= 2 * tolerance


def test_squares_of_a_float32_matrix_lose_nothing_that_an_svd_in_float32_keeps():
    matrices = _random(50, 20, 30, dtype=torch.float32)
    expected = singular_values(matrices.double())
    squares = np.abs(dense_values(matrices, gram=True).numpy() - expected).max()
    svd = np.abs(torch.linalg.svdvals(matrices).double().numpy() - expected).max()
    assert squares < svd / 100
    singular = matrices * (torch.arange(20) < 15).unsqueeze(1)  # where squares are at their worst
    assert np.abs(dense_values(singular, gram=True).numpy()[:, 15:]).max() < 2e-7 * expected.max()


def test_equal_inputs_are_solved_once(monkeypatch):
    solved = []
    chain = __import__("jacprobe.solvers.chain", fromlist=["chain"])
    original = chain.from_gram
    monkeypatch.setattr(chain, "from_gram", lambda grams: solved.append(len(grams)) or original(grams))
    gates = _gates(2, 30, keep=0.8)[torch.tensor([0, 1, 0, 0, 1])]
    product = Product([Diagonal(gates), Matrix(_random(30, 40))])
    values, _ = ExactSolver(gram=True)(product, 5)
    assert sum(solved) == 2
    expected = singular_values(product.dense())
    assert_spectrum_close(values, expected, floor=1e-7)


def test_fixed_factors_are_worked_on_once_for_all_chunks(monkeypatch):
    chain = __import__("jacprobe.solvers.chain", fromlist=["chain"])
    formed = []
    original = chain.gram_of
    monkeypatch.setattr(chain, "gram_of", lambda matrices: formed.append(1) or original(matrices))
    solver, matrix = ExactSolver(gram=True), Matrix(_random(6, 9))
    for seed in range(4):
        product = Product([Diagonal(_random(NUM, 6, seed=seed)), matrix])
        values, _ = solver(product, NUM)
        assert_spectrum_close(values, singular_values(_dense(product)), floor=1e-7)
    assert len(formed) == 1


def test_a_solver_starts_anew_where_a_fixed_factor_changes():
    solver = ExactSolver(gram=False)
    for seed in range(3):
        constant = Diagonal(_random(1, 6, seed=seed))
        for product in (Product([constant, Matrix(_random(6, 9, seed=seed))]), Product([constant])):
            values, _ = solver(product, NUM)
            assert_spectrum_close(values, singular_values(_dense(product)), floor=1e-12)


def test_a_narrow_network_costs_less_than_its_matrix():
    wide = Product([Matrix(_random(50, 3)), Diagonal(_random(NUM, 3)), Matrix(_random(3, 60))])
    full = Product([Matrix(_random(50, 50)), Diagonal(_random(NUM, 50)), Matrix(_random(50, 60))])
    assert exact_cost(wide, gram=True).operations < exact_cost(full, gram=True).operations / 50
    tokens = Product([Diagonal(_random(NUM, 40)), Matrix(_random(10, 10), copies=4)])
    assert exact_cost(tokens, gram=True).operations < exact_cost(
        Product([Diagonal(_random(NUM, 40)), Matrix(_random(40, 40))]), gram=True).operations / 10


@pytest.mark.parametrize("noise, taken", [(1e-8, True), (1e-3, False)], ids=["rounding", "more than rounding"])
def test_an_isometry_is_taken_for_one_up_to_rounding_only(noise, taken):
    """The values of D W are those of D where the rows of W are orthonormal; the spread of W is in the error."""
    rows = 2 * torch.linalg.qr(seeded_normal(9, 6, dtype=torch.float64)).Q.mT
    matrix = rows + noise * seeded_normal(6, 9, seed=1, dtype=torch.float64)
    entries = seeded_normal(4, 6, seed=2)
    entries[0, 2] = 0
    product = Product([Diagonal(entries), Matrix(matrix.float())])
    solver = ExactSolver(gram=True)
    values, zeros = solver(product, 4)
    expected = torch.linalg.svdvals(entries.double().unsqueeze(2) * matrix.float().double())
    assert float((values - expected).abs().max()) <= solver.error(product) * float(expected.max())
    assert zeros.tolist() == [1, 0, 0, 0]
    sorted_entries = 2 * entries.double().abs().sort(dim=1, descending=True).values
    assert (float((values - sorted_entries).abs().max()) < 1e-5) == taken
