import pytest
import torch
from oracles import seeded_normal

from jacprobe.linop import Diagonal, Matrix
from jacprobe.solvers.scaling import normalised


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_matrices_far_from_one_come_near_it_by_powers_of_two_input_by_input(dtype):
    norms = torch.tensor([1e-30, 1e-5, 0.7, 300.0, 1e25], dtype=torch.float64)
    entries = (norms[:, None] * (1 + seeded_normal(5, 50).abs())).to(dtype)
    block = seeded_normal(5, 50, 2, dtype=dtype)
    operator, image, scale = normalised(Diagonal(entries), block)
    assert torch.equal(torch.frexp(scale).mantissa, torch.full((5,), 0.5, dtype=torch.float64))
    assert scale[2:4].tolist() == [1, 1]
    assert (norms / scale > 0.1)[[0, 1, 4]].all()
    assert (norms / scale < 10)[[0, 1, 4]].all()
    expected = (entries.double() / scale[:, None]).to(dtype)
    assert torch.equal(image, expected[:, :, None] * block)
    for product in (operator.matmat, operator.rmatmat):
        torch.testing.assert_close(product(block), image)
    assert operator.shape == (5, 50, 50)


def test_a_norm_near_one_costs_nothing():
    given = Matrix(seeded_normal(30, 20) / 30)
    block = seeded_normal(3, 20, 2)
    operator, image, scale = normalised(given, block)
    assert operator is given
    assert torch.equal(image, given.matmat(block))
    assert scale.tolist() == [1, 1, 1]


@pytest.mark.parametrize("entry", [0.0, torch.inf, torch.nan])
def test_a_matrix_without_a_norm_stays_as_it_is(entry):
    given = Diagonal(torch.full((1, 4), entry))
    assert normalised(given, torch.ones(1, 4, 1)).operator is given
    assert normalised(given, torch.zeros(1, 4, 1)).operator is given
