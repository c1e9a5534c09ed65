"""The parts of a repair against NumPy, SciPy and closed forms."""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
import torch
from repair_blocks import kept, normal
from torch import nn

from jacprobe.isometry.repair.blocks import from_blocks, to_blocks
from jacprobe.isometry.repair.descent import conjugate_gradients, gauss_newton_step
from jacprobe.isometry.repair.lifts import Flat, Frequencies
from jacprobe.isometry.repair.linesearch import quartic_minimum
from jacprobe.isometry.repair.penalties import Nearness, Spread
from jacprobe.isometry.repair.polar import newton_schulz, polar_factor
from jacprobe.isometry.repair.problem import Problem
from jacprobe.isometry.repair.sparseproblem import SparseProblem
from jacprobe.isometry.repair.support import Support, matching, structural_rank

# layouts


@pytest.mark.parametrize(
    "layer",
    [nn.Linear(5, 3), nn.Conv2d(4, 6, 3), nn.Conv2d(4, 6, (2, 3), groups=2), nn.Conv1d(6, 6, 3, groups=6),
     nn.ConvTranspose2d(4, 6, 2), nn.ConvTranspose2d(4, 6, 2, groups=2)],
    ids=repr,
)
def test_blocks_have_a_column_per_output_and_come_back(layer):
    weight = layer.weight.detach()
    blocks = to_blocks(layer, weight)
    assert torch.equal(from_blocks(layer, blocks, weight.shape), weight)
    groups, outputs = getattr(layer, "groups", 1), blocks.shape[2]
    for out in range(groups * outputs):  # all weights into one output are one column
        if getattr(layer, "transposed", False):
            size = weight.shape[0] // groups
            own = weight[(out // outputs) * size:(out // outputs + 1) * size, out % outputs]
        else:
            own = weight[out]
        assert torch.equal(blocks[out // outputs, :, out % outputs].sort().values, own.flatten().sort().values)


def test_the_support_of_a_block_leaves_out_empty_rows_and_columns_and_stands_upright():
    mask = torch.zeros(3, 9, dtype=torch.bool)
    mask[:2, :4] = kept(2, 4, density=0.9)
    support = Support.of(mask)
    assert support.is_flipped and support.mask.shape == (4, 2) and support.rank == 2 and support.floor == 0
    block = torch.where(mask, normal(3, 9), 0)
    back = torch.zeros_like(block)
    support.put(support.take(block), back)
    assert torch.equal(back, block)


def test_the_structural_rank_is_the_rank_of_random_weights_and_of_a_largest_matching():
    for seed in range(5):
        mask = kept(12, 9, density=0.12, seed=seed)
        rank = int(np.linalg.matrix_rank(torch.where(mask, normal(12, 9, seed=seed), 0).numpy()))
        assert structural_rank(mask) == rank
        rows, columns = matching(normal(12, 9), mask)
        assert len(rows) == rank == len(set(rows.tolist())) == len(set(columns.tolist()))
        assert mask[rows, columns].all()


def test_of_equal_size_the_heaviest_matching_is_taken():
    rows, columns = matching(torch.tensor([[1.0, 3.0], [3.0, 1.0]]), torch.ones(2, 2, dtype=torch.bool))
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 1), (1, 0)]


# the line search


def test_the_minimum_of_a_quartic_is_that_of_a_fine_grid():
    generator = np.random.default_rng(0)
    coefficients = generator.normal(size=(50, 4)) * [1, 3, 2, 1]
    coefficients[:, 3] = np.abs(coefficients[:, 3]) + 0.1
    found = quartic_minimum(torch.from_numpy(coefficients)).numpy()
    grid = np.linspace(-40, 40, 400_001)
    for row, place in zip(coefficients, found, strict=True):
        values = np.polyval([*row[::-1], 0], grid)
        assert np.polyval([*row[::-1], 0], place) <= values.min() + 1e-9


def test_a_quartic_without_its_highest_powers_has_its_minimum_and_a_constant_one_stays():
    rows = torch.tensor([[-4.0, 2.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    assert quartic_minimum(rows).tolist() == [1.0, 0.0]


# polar factors


def test_both_polar_factors_are_that_of_scipy():
    matrices = normal(3, 12, 7)
    expected = np.stack([scipy.linalg.polar(matrix.numpy())[0] for matrix in matrices])
    factor, squares = polar_factor(matrices)
    assert factor.numpy() == pytest.approx(expected, abs=1e-12)
    assert newton_schulz(matrices).numpy() == pytest.approx(expected, abs=1e-6)
    assert squares.sqrt().numpy() == pytest.approx(np.linalg.svd(matrices.numpy())[1][:, ::-1], rel=1e-12)


def test_polar_factors_of_complex_matrices_are_isometries():
    matrices = torch.complex(normal(2, 6, 4), normal(2, 6, 4, seed=3))
    for factor in (polar_factor(matrices)[0], newton_schulz(matrices)):
        assert (factor.mH @ factor - torch.eye(4)).abs().max() < 1e-5


def test_a_rank_that_is_lacking_is_not_made_up():
    matrix = normal(6, 2) @ normal(2, 4, seed=2)
    values = torch.linalg.svdvals(polar_factor(matrix[None])[0])[0]
    assert values[:2].tolist() == pytest.approx([1, 1], abs=1e-9) and values[2:].max() < 0.2


# objectives


def loss(problem, blocks, mask):
    """Half the mean squared residual, in NumPy and by explicit Fourier sums."""
    blocks = torch.where(mask, blocks, 0)
    total = 0.0
    for block in blocks.numpy():
        if isinstance(problem.lift, Flat):
            matrices = [block]
        else:
            taps = block.reshape(3, 4, -1)  # channels, kernel of 2 x 2, outputs
            matrices = [sum(taps[:, 2 * i + j] * np.exp(-2j * np.pi * (u * i + v * j) / 3) for i in range(2)
                            for j in range(2)) for u in range(3) for v in range(3)]
        for M in matrices:
            small = M.conj().T @ M if M.shape[0] >= M.shape[1] else M @ M.conj().T
            total += np.linalg.norm(small - np.eye(len(small))) ** 2 / 2 / len(matrices)
    return total


PROBLEMS = {
    "flat": lambda mask: Problem.of(mask, torch.zeros(2).double(), Flat()),
    "sparse": lambda mask: SparseProblem.of(mask, torch.zeros(2).double()),
    "frequencies": lambda mask: Problem.of(mask, torch.zeros(2).double(), Frequencies(3, (2, 2))),
}


@pytest.mark.parametrize("outputs", [2, 5], ids=["fewer outputs than channels", "more"])
@pytest.mark.parametrize("name", PROBLEMS)
def test_gradients_and_quartics_are_those_of_the_loss(name, outputs):
    mask = kept(2, 12, outputs)
    mask[1, :6] = False  # the blocks keep different numbers
    problem = PROBLEMS[name](mask)
    blocks, direction = normal(2, 12, outputs) / 3, torch.where(mask, normal(2, 12, outputs, seed=5), 0)
    weights, step = problem.kept(blocks), problem.kept(direction)
    assert torch.equal(problem.dense(weights), torch.where(mask, blocks, 0))
    matrices = problem.matrices(weights)
    residual = problem.residual(matrices)
    assert float(problem.dot(residual, residual).sum() / 2) == pytest.approx(loss(problem, blocks, mask), rel=1e-12)
    ahead, behind = (loss(problem, blocks + t * direction, mask) for t in (1e-5, -1e-5))
    tangent = problem.tangent(matrices)
    gradient = problem.gradient(weights, tangent, residual)
    assert float((gradient * step).sum()) == pytest.approx((ahead - behind) / 2e-5, rel=1e-6)
    moved = problem.matrices(step)
    linear, square = tangent.image(moved), problem.gram(moved)
    coefficients = problem.quartic(weights, step, residual, linear, square).sum(0)
    rise = sum(float(a) * 0.7**k for k, a in enumerate(coefficients, 1))
    assert rise == pytest.approx(loss(problem, blocks + 0.7 * direction, mask) - loss(problem, blocks, mask), rel=1e-9)


def jacobian(problem, weights):
    """The derivative of the residual of one block by its kept weights, entries off the diagonal scaled, by autograd."""
    def scaled(kept):
        dense = kept.new_zeros(problem.shape[0] * problem.shape[1]).index_put((problem.places[0],), kept)
        M = dense.reshape(problem.shape)
        gram = M.mT @ M
        upper = torch.triu_indices(*gram.shape)
        return gram[upper[0], upper[1]] * torch.where(upper[0] == upper[1], 1.0, torch.tensor(2.0).double().sqrt())
    return torch.autograd.functional.jacobian(scaled, weights[0]).numpy()


def upper_triangle(problem, residual):
    """A residual of one block as a vector that has its length."""
    if residual.ndim == 2:
        return residual[0].numpy()
    rows, columns = np.triu_indices(residual.shape[1])
    return residual[0].numpy()[rows, columns] * np.where(rows == columns, 1.0, math.sqrt(2))


@pytest.mark.parametrize("name", ["flat", "sparse"])
def test_tangents_are_the_jacobian_of_the_residual(name):
    mask = kept(1, 12, 5, density=0.4)
    problem = PROBLEMS[name](mask).part(torch.tensor([0]))
    weights, step = problem.kept(normal(1, 12, 5)), problem.kept(normal(1, 12, 5, seed=5))
    J = jacobian(problem, weights)
    tangent = problem.tangent(problem.matrices(weights))
    residual = problem.residual(tangent.matrices)
    image = upper_triangle(problem, tangent.image(problem.matrices(step)))
    assert image == pytest.approx(J @ step[0].numpy(), abs=1e-13)
    slope = tangent.slope(residual)[0].numpy()
    assert slope == pytest.approx(J.T @ upper_triangle(problem, residual), abs=1e-13)
    squares = tangent.row_squares()
    if squares.ndim == 3:
        squares = squares[:, *torch.triu_indices(5, 5)]
    assert squares[0].numpy() == pytest.approx((J**2).sum(1), abs=1e-13)


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_part_of_a_problem_is_the_same_for_its_blocks(name):
    mask = kept(2, 12, 4)
    mask[0, :6] = False  # the second block keeps most
    problem = PROBLEMS[name](mask)
    weights = problem.kept(normal(2, 12, 4))
    whole = problem.residual(problem.matrices(weights))
    for i in range(2):
        part = problem.part(torch.tensor([i]))
        tangent = part.tangent(part.matrices(weights[[i]]))
        residual = part.residual(tangent.matrices)
        assert torch.allclose(residual[0], whole[i], atol=1e-13)
        assert tangent.slope(residual).shape == weights[[i]].shape


@pytest.mark.parametrize(
    ("penalty", "value"),
    [(Nearness(normal(2, 6, seed=9), 0.3), lambda w: 0.15 * (w - normal(2, 6, seed=9)).square().sum()),
     (Spread(torch.tensor([2.0, 3.0]).double(), 0.3),
      lambda w: 0.075 * (torch.tensor([2.0, 3.0]) * w.pow(4).sum(1)).sum())],
    ids=["nearness", "spread"],
)
def test_penalties_are_their_formulas(penalty, value):
    weights, direction = normal(2, 6), normal(2, 6, seed=4)
    leaf = weights.clone().requires_grad_()
    value(leaf).backward()
    assert penalty.gradient(weights).numpy() == pytest.approx(leaf.grad.numpy(), rel=1e-12)
    rise = float((penalty.quartic(weights, direction) * 0.7 ** torch.arange(1, 5).double()).sum())
    assert rise == pytest.approx(float(value(weights + 0.7 * direction) - value(weights)), rel=1e-9)


def test_a_convolution_with_isometries_on_the_grid_is_one_on_a_finer_grid():
    lift = Frequencies(3, (3,))
    shifts = torch.zeros(1, 9, 3, dtype=torch.float64)
    shifts[0, [1, 5, 6], [0, 1, 2]] = torch.tensor([1.0, -1.0, 1.0]).double()  # one tap of one channel each
    assert (Problem.of(shifts != 0, torch.zeros(1).double(), lift).residual(lift.forward(shifts))).abs().max() < 1e-14
    fine = np.fft.fft(shifts[0].reshape(3, 3, 3).numpy(), n=32, axis=1)
    assert np.linalg.svd(fine.transpose(1, 0, 2))[1] == pytest.approx(np.ones((32, 3)), abs=1e-12)


def test_the_adjoint_of_the_frequencies_is_their_inverse_and_adjoint():
    lift, blocks = Frequencies(2, (3, 2)), normal(2, 12, 5)
    matrices = lift.forward(blocks)
    assert lift.adjoint(matrices).numpy() == pytest.approx(blocks.numpy(), abs=1e-12)
    other = torch.complex(normal(*matrices.shape, seed=2), normal(*matrices.shape, seed=3))
    left = float((matrices.conj() * other).real.sum()) / lift.num
    assert float((blocks * lift.adjoint(other)).sum()) == pytest.approx(left, rel=1e-12)


# descents


def test_a_descent_never_goes_up_and_a_gauss_newton_step_ends_it():
    mask = kept(2, 30, 6, density=0.6)
    problem = PROBLEMS["flat"](mask)
    weights = problem.kept(normal(2, 30, 6) / 4)
    last = torch.full((2,), torch.inf).double()
    for _ in range(8):
        weights, _ = conjugate_gradients(weights, problem, num_steps=3)
        residual = problem.residual(problem.matrices(weights))
        assert (problem.dot(residual, residual) < last).all()
        last = problem.dot(residual, residual)
    near, inner = gauss_newton_step(weights, problem, max_steps=200, forcing=torch.full((2,), 1e-10).double())
    residual = problem.residual(problem.matrices(near))
    assert inner > 1 and (problem.dot(residual, residual) < 0.01 * last).all()


@pytest.mark.parametrize("name", ["flat", "sparse"])
@pytest.mark.parametrize(("columns", "floor"), [(4, 0.0), (6, 1.0)], ids=["more weights than entries", "above a floor"])
def test_a_gauss_newton_step_goes_along_the_shortest_least_squares_solution(name, columns, floor):
    mask = kept(1, 20, columns, density=0.5)
    if floor:
        mask[0, :, -2:] = False
        mask[0, 3, -2:] = True  # two columns of one row, of which one singular value must be 0
    problem = replace(PROBLEMS[name](mask), floor=torch.tensor([floor]).double())
    weights = problem.kept(normal(1, 20, columns) / 3)
    residual = problem.residual(problem.matrices(weights))
    found, _ = gauss_newton_step(weights, problem, max_steps=500, forcing=torch.tensor([1e-13]).double())
    wanted = np.linalg.lstsq(jacobian(problem, weights), -upper_triangle(problem, residual), rcond=1e-10)[0]
    direction = (found - weights)[0].numpy()
    assert direction / np.linalg.norm(direction) == pytest.approx(wanted / np.linalg.norm(wanted), abs=1e-6)


def test_columns_that_meet_in_few_rows_do_not_make_inner_steps_many():
    mask = kept(1, 300, 40, density=0.1)
    problem = SparseProblem.of(mask, torch.zeros(1).double())
    weights, _ = conjugate_gradients(problem.kept(normal(1, 300, 40) / 5.5), problem, num_steps=30)
    _, inner = gauss_newton_step(weights, problem, max_steps=1000, forcing=torch.full((1,), 1e-3).double())
    J = jacobian(problem, weights)
    left = -upper_triangle(problem, problem.residual(problem.matrices(weights)))
    assert 10 < inner < 0.6 * _steps_of_cgls(J, left, 1e-3)


def _steps_of_cgls(J, left, forcing):
    """Steps of conjugate gradients on the equations as they are."""
    slope = step = J.T @ left
    goal, steps = forcing**2 * (slope @ slope), 0
    while (square := slope @ slope) > goal:
        image = J @ step
        left = left - square / (image @ image) * image
        slope = J.T @ left
        step, steps = slope + (slope @ slope) / square * step, steps + 1
    return steps
