import pytest
import torch

from jacprobe.pruning.sums import RunningSum


@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
def test_thousands_of_terms_sum_as_in_double_precision(scale):
    terms = torch.randn(2000, 300, generator=torch.Generator().manual_seed(0)) * scale
    total, plain = RunningSum(terms[0]), torch.zeros(300)
    for term in terms:
        total.add(term)
        plain += term
    exact = terms.double().sum(0)
    error, plain_error = ((found - exact).abs().max() / exact.abs().max() for found in (total.times(), plain))
    assert error < 6e-8
    assert plain_error > 10 * error


def test_small_terms_do_not_vanish_beside_a_large_one():
    total = RunningSum(torch.zeros(2))
    total.add(torch.tensor([1.0, -1.0]))
    for _ in range(1024):
        total.add(torch.tensor([2.0**-30, -(2.0**-30)]))  # each a 128th of a unit in the last place
    assert total.times().tolist() == pytest.approx([1 + 2.0**-20, -1 - 2.0**-20], abs=2**-23)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_the_type_of_the_sum_is_wide_enough(dtype):
    total = RunningSum(torch.zeros(2, 3, dtype=dtype))
    total.add(torch.ones(2, 3, dtype=dtype))
    found = total.times(torch.full((2, 3), -2.0, dtype=dtype))
    assert found.tolist() == [[-2.0] * 3] * 2
    assert found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


def test_terms_of_any_layout_are_added_entry_by_entry():
    term = torch.randn(300, 500).T
    total = RunningSum(term)
    total.add(term)
    assert torch.equal(total.times(torch.ones(300, 500).T), term)


def test_infinity_stays_infinite():
    total = RunningSum(torch.zeros(2))
    for term in ([1.0, torch.inf], [1.0, 1.0]):
        total.add(torch.tensor(term))
    assert total.times().tolist()[0] == 2.0
    assert not total.high[1].isfinite()


def test_five_bytes_are_held_per_entry():
    total = RunningSum(torch.zeros(1000))
    held = [value for value in vars(total).values() if isinstance(value, torch.Tensor)]
    assert sum(tensor.numel() * tensor.element_size() for tensor in held) == 5000
