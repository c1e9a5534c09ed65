"""Tokens under uniform attention, as at initialisation with small queries and keys."""

from __future__ import annotations

from jacprobe.errors import ArgumentError
from jacprobe.theory.gaussian import check_length


def uniform_attention_map(
    length: float, overlap: float, *, num_tokens: int, sigma_v2: float = 1.0, skip: float = 1.0, branch: float = 1.0
) -> tuple[float, float]:
    """Return mean square and overlap of wide tokens after skip * x + branch * V mean(x).

    All tokens attend to all alike, so the branch adds the same vector to each: tokens become equal (rank collapse)
    unless `branch` falls with depth, as 1 / sqrt(L).

    Parameters
    ----------
    length, overlap
        Mean over coordinates of x_i^2, and of x_i x_j for two tokens i, j.
    num_tokens
        At least 1.
    sigma_v2
        Variance of the value matrix (with the output matrix) times the width.
    skip, branch
        Factors of the two paths.

    Raises
    ------
    ArgumentError
        A number out of its domain.

    References
    ----------
    Noci et al. 2022 (arXiv 2206.03126), section 3.

    Examples
    --------
    >>> length, overlap = 1.0, 0.0
    >>> for _ in range(24):
    ...     length, overlap = uniform_attention_map(length, overlap, num_tokens=32, branch=24**-0.5)
    >>> round(overlap / length, 3)
    0.049
    """
    check_length("length", length)
    check_length("num_tokens", num_tokens, positive=True)
    check_length("sigma_v2", sigma_v2)
    if not abs(overlap) <= length * (1 + 1e-12):
        raise ArgumentError(f"`overlap` must be at most the length {length}; got {overlap}. It is a mean of x_i x_j.")
    shared = branch**2 * sigma_v2 * (length + (num_tokens - 1) * overlap) / num_tokens
    return skip**2 * length + shared, skip**2 * overlap + shared
