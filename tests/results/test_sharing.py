import math

import pytest
import torch

from jacprobe.results import Moments
from jacprobe.results.sharing import multiplicity


def test_inputs_in_a_row_with_equal_numbers_share_their_probes():
    nodes = torch.tensor([1.0, 1, 2, 1, 1, 1])[:, None, None].expand(-1, 3, 4)
    assert multiplicity(nodes).tolist() == [2, 2, 1, 3, 3, 3]
    weights = torch.tensor([1.0, 2, 2, 2, 2, 3])
    assert multiplicity(nodes, weights).tolist() == [1, 1, 1, 2, 2, 1]
    assert multiplicity(torch.tensor([math.nan, math.nan, 1])).tolist() == [2, 2, 1]
    assert multiplicity(torch.tensor([5.0])).tolist() == [1]
    assert multiplicity(torch.empty(0, 2)).tolist() == []


def test_moments_of_one_matrix_err_together_and_those_of_several_apart():
    squares = torch.tensor([1.0, 1, 1, 2], dtype=torch.float64)
    errors = torch.tensor([0.3, 0.3, 0.3, 0.4], dtype=torch.float64)
    found = Moments(squares, errors, torch.tensor([math.nan, math.nan, math.nan, 5]), errors, 10, 0)
    assert found.pooled_mean_square_standard_error == pytest.approx(math.hypot(3 * 0.3, 0.4) / 4)
    assert found.pooled_relative_variance_standard_error == pytest.approx(0.4)
    one = Moments(*(part[:3] for part in (squares, errors, squares, errors)), 10, 0)
    assert one.pooled_relative_variance_standard_error == pytest.approx(0.3)
