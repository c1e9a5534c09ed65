"""Rigorous intervals for every singular value of a convolution whose matrix is too large to form.

A convolution T shares most of its rows and columns with a circular one, C, whose values are known exactly. Two facts
carry this over, for matrices of any shape, with s_i = 0 beyond the last value:

* S is A without r rows and columns: ``s_{i+r}(A) <= s_i(S) <= s_i(A)`` (interlacing, Horn and Johnson, *Topics in
  Matrix Analysis*, corollary 3.1.3).
* So if S remains of C after r_c deletions and of T after r_t, ``s_{i+r_c}(C) <= s_i(T)`` and
  ``s_{i+r_t}(T) <= s_i(C)``.

Which S, on a torus of L pixels, a multiple of the stride, that holds the image:

* the outputs that read no padding, and all inputs: for every kind of padding;
* with zero padding, all outputs, and the inputs that no output reads around the torus. A torus that is larger than
  the image by the padding leaves them all, so that T itself is S, and ``s_i(T) <= s_i(C)``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from jacprobe.errors import ShapeError
from jacprobe.linop import Convolution
from jacprobe.linop.padding import origins
from jacprobe.solvers.fourier import ACCURACY, Taps, taps_of, torus_operations, torus_values

_POINTS = 24  # of the grid of the supremum, per degree: it is at most 0.9 % too large per axis
_QUANTILES = 16  # of the entries of a diagonal that are tried as its cut


def convolution_bounds(operator: Convolution, *, left: Tensor | None = None,
                       right: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return an interval for every singular value of a convolution, with any padding and stride.

    Parameters
    ----------
    operator
        The convolution; a transposed one has the same values.
    left, right
        (c_out,) and (c_in,): factors of the channels of the output and of the input, as of an eval batch norm.

    Returns
    -------
    lower, upper
        (min(out_dim, in_dim),), float64, decreasing. They hold up to rounding, for which they are widened.

    Raises
    ------
    NonFiniteError
        The kernel holds NaN or infinity.

    Notes
    -----
    Cost: all values on two tori, see `bounds_operations`. A border of r of the n pixels moves an index by about r / n:
    with kernel 3 and 32 x 32 pixels by an eighth of all. So the smallest values of a square convolution have the lower
    bound 0.
    """
    taps = taps_of(operator, left=left, right=right)
    count = min(operator.shape[1:])
    live = _live_channels(operator, taps)
    norm = supremum(taps) * _padding_norm(operator)
    lower, upper = torch.zeros(count, dtype=torch.float64), torch.full((count,), norm, dtype=torch.float64)
    for sizes in _tori(operator):
        values, _ = torus_values(taps, [n // s for n, s in zip(sizes, operator.stride, strict=True)])
        slack = ACCURACY * float(values[0])
        for from_torus, from_operator in _deletions(operator, sizes, live):
            below, above = values[from_torus:][:count], values[: max(0, count - from_operator)]
            lower[: len(below)] = lower[: len(below)].maximum(below - slack)
            upper[from_operator:][: len(above)] = upper[from_operator:][: len(above)].minimum(above + slack)
            upper[from_operator + len(above) :].clamp_(max=slack)
    upper[min(math.prod(operator.small) * live[0], math.prod(operator.large) * live[1]) :] = 0
    return lower, upper.cummin(0).values


def scaled_bounds(lower: Tensor, upper: Tensor, entries: Tensor) -> tuple[Tensor, Tensor]:
    """Return intervals for the values of D C or C D, for a diagonal D per input and intervals for those of C.

    ``s_i(D C) >= d s_{i+r}(C)`` where all but r entries are at least d (the rows that are kept), and
    ``s_{i+r}(D C) <= d s_i(C)`` where all but r are at most d (Horn's inequality); the best of some r is taken, the
    number of zeros of D among them.

    Parameters
    ----------
    lower, upper
        (count,), decreasing.
    entries
        (num_inputs, dim), the diagonals.

    Returns
    -------
    lower, upper
        (num_inputs, count), float64, decreasing.

    Raises
    ------
    ShapeError
        D is smaller than the matrix has values.
    """
    count, (num_inputs, dim) = len(lower), entries.shape
    if dim < count:
        raise ShapeError(f"`entries` must have at least {count} columns, one per row of the matrix; got {dim}."
                         " Give the diagonal of the side that it acts on.")
    sizes = entries.abs().double().cpu().sort(dim=1, descending=True).values
    zeros = (sizes == 0).sum(1, keepdim=True)
    some = torch.linspace(0, dim - 1, _QUANTILES).long().expand(num_inputs, -1)
    index = torch.arange(count).expand(num_inputs, -1)
    below = torch.zeros(num_inputs, count, dtype=torch.float64)
    above = torch.full((num_inputs, count), math.inf, dtype=torch.float64)
    for r in torch.cat([some, zeros.clamp(max=dim - 1)], dim=1).split(1, dim=1):  # the r smallest are left out
        found = torch.where(index + r < count, lower[(index + r).clamp(max=count - 1)], 0.0)
        below = below.maximum(sizes.gather(1, dim - 1 - r) * found)
    for r in torch.cat([some, (dim - zeros).clamp(max=dim - 1)], dim=1).split(1, dim=1):  # the r largest are left out
        found = sizes.gather(1, r) * upper[(index - r).clamp(min=0)]
        above = above.minimum(torch.where(index < r, math.inf, found))
    return below, above.cummin(1).values


def supremum(taps: Taps) -> float:
    """Return an upper bound of the norm of a kernel on images of any size, at most 1 % above it per axis.

    The norm is the supremum of ||K^(theta)||. Between unit vectors K^ is a trigonometric polynomial, after a shift of
    degree p = (k - 1) / 2 per axis. By a theorem of M. Riesz such a polynomial with the maximum M at theta_0 is at
    least M cos(p (theta - theta_0)) up to pi / p from there; a grid of m > 2p points has one within pi / m. So per axis
    the supremum is at most the maximum on the grid divided by cos(pi p / m), and axes follow one another.
    """
    offsets = taps.offsets - taps.offsets.min(dim=0).values
    steps = [max(1, math.gcd(*axis)) for axis in offsets.mT.tolist()]  # of a dilated kernel, which changes no supremum
    offsets = offsets // torch.tensor(steps, device=offsets.device)
    reach = offsets.max(dim=0).values.tolist()  # 2p
    grid = [max(1, _POINTS * k // 2) for k in reach]
    slack = math.prod(math.cos(math.pi * k / 2 / m) for k, m in zip(reach, grid, strict=True))
    values, _ = torus_values(Taps(taps.kernel, offsets), grid)
    return float(values[0]) * (1 + ACCURACY) / slack


def bounds_operations(operator: Convolution) -> float:
    """Return the floating-point operations of `convolution_bounds` without the supremum, for a cost model."""
    tori = [[n // s for n, s in zip(sizes, operator.stride, strict=True)] for sizes in _tori(operator)]
    return sum(torus_operations(operator, sizes) for sizes in tori)


def _tori(operator: Convolution) -> list[tuple[int, ...]]:
    """Sizes of the tori to compare with: just holding the image, and with zero padding, holding it without wrapping."""
    axes = list(zip(operator.large, operator.small, operator.pads, operator.stride, _extents(operator), strict=True))
    tori = [tuple(-(-n // s) * s for n, _, _, s, _ in axes)]
    if operator.padding_mode == "zeros":
        unwrapped = [max(n, n + before, (m - 1) * s + e - before, m * s) for n, m, (before, _), s, e in axes]
        tori.append(tuple(-(-size // s) * s for size, s in zip(unwrapped, operator.stride, strict=True)))
    return list(dict.fromkeys(tori))


def _deletions(operator: Convolution, sizes: tuple[int, ...], live: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """How many rows and columns part the torus, and the operator, from what they share; per choice of that."""
    rows, columns = live
    torus_small = math.prod(n // s for n, s in zip(sizes, operator.stride, strict=True))
    torus_large, large, small = math.prod(sizes), math.prod(operator.large), math.prod(operator.small)
    axes = list(zip(sizes, operator.large, operator.small, operator.pads, operator.stride, _extents(operator),
                    strict=True))
    inner = math.prod(max(0, min(m - 1, (n + before - e) // s) - -(-before // s) + 1)
                      for _, n, m, (before, _), s, e in axes)
    yield rows * (torus_small - inner) + columns * (torus_large - large), rows * (small - inner)
    if operator.padding_mode == "zeros" and all(m * s <= size for size, _, m, _, s, _ in axes):
        inner = math.prod(max(0, min(n, size - before) - max(0, (m - 1) * s + e - size - before))
                          for size, n, m, (before, _), s, e in axes)
        yield rows * (torus_small - small) + columns * (torus_large - inner), columns * (large - inner)


def _extents(operator: Convolution) -> list[int]:
    return [d * (k - 1) + 1 for k, d in zip(operator.kernel, operator.dilation, strict=True)]


def _live_channels(operator: Convolution, taps: Taps) -> tuple[int, int]:
    """How many channels of the small and of the large image have a kernel: deleting the others changes no value."""
    alive = (taps.kernel != 0).any(dim=3).unflatten(2, (-1, math.prod(operator.stride))).any(dim=3)
    return int(alive.any(dim=2).sum()), int(alive.any(dim=1).sum())


def _padding_norm(operator: Convolution) -> float:
    """The norm of padding alone: the root of how often it repeats a pixel."""
    if operator.padding_mode == "zeros":
        return 1.0
    counts = [origins(n, pair, operator.padding_mode).bincount().max().item()
              for n, pair in zip(operator.large, operator.pads, strict=True)]
    return math.sqrt(math.prod(counts))
