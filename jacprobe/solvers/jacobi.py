"""Singular values of matrices whose rows differ by any factor, to full relative accuracy: one-sided Jacobi."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from jacprobe.solvers.threads import one_blas_thread, threaded

_EPS = torch.finfo(torch.float64).eps
_TINY = torch.finfo(torch.float64).tiny
_TRANSPOSITIONS = 3  # of the triangular product before Jacobi: fewer rotations for the price of one QR each
_CACHED = 2**16  # numbers that are rotated at a time: they stay in the cache, and one thread is fastest
_ROUNDS = 40  # of Jacobi rotations; it converges quadratically, in two to five


def graded(matrices: Tensor, logs: Tensor, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Write ``matrices @ diag(exp(logs)) @ rows`` as ``diag(exp(new_logs)) @ new_rows`` with rows of length 1."""
    scales = matrices.abs().log() + logs.unsqueeze(1)
    largest = scales.amax(2).clamp(min=-torch.finfo(torch.float64).max)  # a row of zeros must not give NaN
    product = matrices.sign() * (scales - largest.unsqueeze(2)).exp()
    product = product if rows is None else product @ rows
    lengths = torch.linalg.vector_norm(product, dim=2)
    return largest + lengths.log(), product / lengths.clamp(min=_TINY).unsqueeze(2)


def graded_values(logs: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Decreasing logarithms of the singular values of ``diag(exp(logs)) @ rows``, and the largest cosine left."""
    for _ in range(_TRANSPOSITIONS):
        logs, order = logs.sort(1, descending=True)
        rows = rows.gather(1, order.unsqueeze(2).expand_as(rows))
        triangles = threaded(lambda part: torch.linalg.qr(part, mode="r").R, rows.mT, 2.0 * rows.shape[1] ** 3)
        logs, rows = graded(triangles, logs)
    few = len(rows) if rows.is_cuda else max(1, _CACHED // rows.shape[1] ** 2)
    with one_blas_thread():
        values, largest = zip(*map(_rotated, logs.split(few), rows.split(few)), strict=True)
    return torch.cat(values), torch.cat(largest)


def _rotated(logs: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """One-sided Jacobi: rotate pairs of rows of ``diag(exp(logs)) @ rows`` until all are orthogonal.

    All pairs of a round are disjoint, and m - 1 rounds meet every pair of m rows: all but the first change chairs.
    Returns decreasing logs, (num_inputs, rank), and the largest cosine left, (num_inputs,).
    """
    rank = rows.shape[1]
    if rank % 2:
        rows = torch.nn.functional.pad(rows, (0, 0, 0, 1))
        logs = torch.nn.functional.pad(logs, (0, 1), value=-math.inf)
    half = rows.shape[1] // 2
    for _ in range(_ROUNDS):
        largest = logs.new_zeros(len(logs))
        for _ in range(2 * half - 1):
            rows, logs, cosines = _pairs_rotated(rows[:, :half], rows[:, half:], logs[:, :half], logs[:, half:])
            largest = torch.maximum(largest, cosines.abs().amax(1))
        lengths = torch.linalg.vector_norm(rows, dim=2)
        rows, logs = rows / lengths.clamp(min=_TINY).unsqueeze(2), logs + lengths.log()
        if bool((largest <= 8 * _EPS * rank**0.5).all()):
            break
    return logs.sort(1, descending=True).values[:, :rank], largest


def _pairs_rotated(first: Tensor, second: Tensor, scale: Tensor, other: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rotate every row of `first` against its partner in `second`, and change chairs; also their cosines.

    Rows have scales of their own, so that nothing underflows. With the ratio r <= 1 of both lengths and the cosine c
    the rotation of rows of length 1 has the tangent r t, ``t = 2 c / (1 - r^2 + sqrt((1 - r^2)^2 + 4 r^2 c^2))``: it
    adds r^2 t of the shorter to the longer, and takes t of the longer from the shorter.
    """
    lengths = [torch.linalg.vector_norm(side, dim=2).clamp(min=_TINY) for side in (first, second)]
    cosines = torch.linalg.vecdot(first, second) / lengths[0] / lengths[1]
    ratio = (lengths[0] / lengths[1]).clamp(_TINY, 1 / _TINY)  # of a row that has vanished, not infinite
    gaps = (scale - other + ratio.log()).nan_to_num(nan=0.0)
    differences = -torch.expm1(-2 * gaps.abs())
    squares = 1 - differences
    roots = torch.sqrt(differences**2 + 4 * squares * cosines**2)
    tangents = torch.where(cosines == 0, 0, 2 * cosines / (differences + roots))
    to_longer, turned = squares * tangents, -0.5 * torch.log1p(squares * tangents**2)
    of_second = torch.where(gaps >= 0, to_longer, -tangents) * ratio
    of_first = torch.where(gaps >= 0, -tangents, to_longer) / ratio
    rows = (torch.addcmul(first, of_second.unsqueeze(2), second), torch.addcmul(second, of_first.unsqueeze(2), first))
    return _seated(*rows), _seated(scale + turned, other + turned), cosines


def _seated(first: Tensor, second: Tensor) -> Tensor:
    """All chairs after one change: the first row keeps its own, the others move on in a circle."""
    if first.shape[1] == 1:
        return torch.cat([first, second], dim=1)
    return torch.cat([first[:, :1], second[:, :1], first[:, 1:-1], second[:, 1:], first[:, -1:]], dim=1)
