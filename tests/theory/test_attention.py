import math

import pytest
import torch

from jacprobe.errors import ArgumentError
from jacprobe.theory import uniform_attention_map


def test_random_value_matrices_follow_the_map():
    width, tokens, generator = 3000, 6, torch.Generator().manual_seed(0)
    x = torch.linalg.qr(torch.randn(width, tokens, generator=generator)).Q * math.sqrt(width)
    length, overlap = 1.0, 0.0
    for _ in range(2):
        value = torch.randn(width, width, generator=generator) * math.sqrt(1.5 / width)
        x = 0.9 * x + 0.7 * (value @ x.mean(1, keepdim=True))
        length, overlap = uniform_attention_map(length, overlap, num_tokens=tokens, sigma_v2=1.5, skip=0.9, branch=0.7)
    gram = (x.T @ x / width).double()
    assert float(gram.diagonal().mean()) == pytest.approx(length, rel=0.03)
    assert float((gram.sum() - gram.trace()) / (tokens * (tokens - 1))) == pytest.approx(overlap, abs=0.03)


def test_without_scaling_tokens_collapse():
    length, overlap = 1.0, 0.0
    for _ in range(24):
        length, overlap = uniform_attention_map(length, overlap, num_tokens=32)
    assert overlap / length == pytest.approx(1.0, abs=5e-5)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"length": -1.0, "overlap": 0.0, "num_tokens": 2}, "`length` must be a finite number that is at least 0"),
    ({"length": 1.0, "overlap": 2.0, "num_tokens": 2}, "`overlap` must be at most the length 1.0; got 2.0"),
    ({"length": 1.0, "overlap": 0.0, "num_tokens": 0}, "`num_tokens` must be a finite number that is positive; got 0"),
    ({"length": 1.0, "overlap": 0.0, "num_tokens": 2, "sigma_v2": -1.0}, "`sigma_v2` must be .* at least 0; got -1.0"),
])
def test_numbers_out_of_their_domain_are_refused(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        uniform_attention_map(**arguments)
