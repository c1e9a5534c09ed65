import numpy as np
import pytest
import torch
from oracles import seeded_normal, singular_values

from jacprobe.errors import ArgumentError, BudgetError, NonFiniteError
from jacprobe.linop import Diagonal, Matrix, Product
from jacprobe.solvers.moments import moments, num_products


def truth(matrices):
    squares = torch.from_numpy(singular_values(matrices.double()) ** 2)
    return squares.mean(1), squares.var(1, correction=0) / squares.mean(1) ** 2


@pytest.mark.parametrize(("out_dim", "in_dim"), [(40, 60), (60, 40)], ids=["wide", "tall"])
def test_the_truth_lies_within_four_standard_errors_which_shrink_with_the_root(out_dim, in_dim):
    operator = Product([Diagonal(seeded_normal(3, out_dim).abs()), Matrix(seeded_normal(out_dim, in_dim, seed=1))])
    mean, variance = truth(operator.dense())
    for seed in range(5):
        few = moments(operator, 3, num_probes=20, seed=seed)
        many = moments(operator, 3, num_probes=2000, seed=seed)
        for found in (few, many):
            assert ((found.mean_square - mean).abs() <= 4 * found.mean_square_standard_error).all()
            assert ((found.relative_variance - variance).abs() <= 4 * found.relative_variance_standard_error).all()
        ratio = few.mean_square_standard_error / many.mean_square_standard_error
        assert float(ratio.mean()) == pytest.approx(10, rel=0.5)
        ratio = few.relative_variance_standard_error / many.relative_variance_standard_error
        assert float(ratio.mean()) == pytest.approx(10, rel=0.5)


def test_an_isometry_is_known_from_few_probes():
    rotation = torch.linalg.qr(seeded_normal(50, 50, dtype=torch.float64)).Q
    found = moments(Matrix(2 * rotation), 2, num_probes=3, seed=0)
    np.testing.assert_allclose(found.mean_square, 4, rtol=1e-12)
    np.testing.assert_allclose(found.relative_variance, 0, atol=1e-12)
    np.testing.assert_allclose(found.mean_square_standard_error, 0, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-33, 1e-20, 1e-12, 1e10, 1e20, 1e34])
def test_moments_follow_the_scale_of_the_matrix(scale):
    matrix = (scale * seeded_normal(30, 40, dtype=torch.float64)).float()
    mean, variance = truth(matrix[None])
    found = moments(Matrix(matrix), 1, num_probes=50, seed=0)
    assert float((found.mean_square - mean).abs() / found.mean_square_standard_error) < 4
    assert float((found.relative_variance - variance).abs() / found.relative_variance_standard_error) < 4
    near_one = moments(Matrix((matrix.double() / scale).float()), 1, num_probes=50, seed=0)
    np.testing.assert_allclose(found.mean_square / scale**2, near_one.mean_square, rtol=1e-5)
    np.testing.assert_allclose(found.relative_variance, near_one.relative_variance, rtol=1e-4)
    np.testing.assert_allclose(found.relative_variance_standard_error, near_one.relative_variance_standard_error,
                               rtol=1e-4)


def test_one_matrix_for_all_inputs_is_probed_once():
    seen = []
    found = moments(Matrix(seeded_normal(30, 20)), 7, num_probes=4, seed=0, progress=seen.append)
    one = moments(Matrix(seeded_normal(30, 20)), 1, num_probes=4, seed=0)
    assert sum(seen) == 4
    for name in ("mean_square", "relative_variance"):
        assert (getattr(found, name) == getattr(one, name)).all()
        error = f"pooled_{name}_standard_error"
        assert getattr(found, error) == pytest.approx(getattr(one, error))


def test_a_zero_matrix_has_no_relative_variance_and_one_probe_no_standard_error():
    found = moments(Matrix(torch.zeros(3, 4)), 1, num_probes=1, seed=0)
    assert found.mean_square.tolist() == [0]
    assert found.relative_variance.isnan().all()
    assert found.mean_square_standard_error.isnan().all()


def test_probes_do_not_depend_on_how_the_work_is_split():
    operator = Product([Diagonal(seeded_normal(3, 8)), Matrix(seeded_normal(8, 8, seed=1))])
    state = torch.get_rng_state()
    seen = []
    whole = moments(operator, 3, num_probes=4, seed=3)
    split = moments(operator, 3, num_probes=4, seed=3, memory=200, progress=seen.append)
    assert seen == [1] * 12
    torch.testing.assert_close(whole.mean_square, split.mean_square, rtol=1e-6, atol=0)  # products are in float32
    part = moments(Product([Diagonal(operator.factors[0].entries[1:]), operator.factors[1]]), 2, num_probes=4, seed=3,
                   first_input=1)
    torch.testing.assert_close(whole.relative_variance[1:], part.relative_variance, rtol=1e-6, atol=0)
    assert torch.equal(torch.get_rng_state(), state)
    assert num_products(4) == 8


def test_bad_arguments_are_refused():
    with pytest.raises(ArgumentError, match="`num_probes` must be at least 1; got 0"):
        moments(Matrix(torch.ones(2, 2)), 1, num_probes=0, seed=0)
    with pytest.raises(BudgetError, match="`memory` must hold the products of one probe"):
        moments(Matrix(torch.ones(2, 2)), 1, num_probes=1, seed=0, memory=3)
    with pytest.raises(NonFiniteError, match="`operator` must have finite products"):
        moments(Matrix(torch.full((2, 2), torch.inf)), 1, num_probes=1, seed=0)
