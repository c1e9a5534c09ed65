"""All singular values of circular convolutions, exactly, frequency by frequency.

A circular convolution commutes with shifts, so the discrete Fourier transform makes it block diagonal: at frequency f
stands the symbol K^(f) = sum over taps t of K_t exp(-2 pi i f.a_t / N), a small matrix between channels, with a_t the
offset of the tap [1]_. A stride that divides the image is a convolution of stride 1 between more channels: the image
splits into its phases, as many as the stride has pixels, and each tap reads one of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from jacprobe.errors import ArgumentError
from jacprobe.linop import Convolution
from jacprobe.solvers.dense import batched_on, check_finite, gram_operations, singular_values, svd_operations
from jacprobe.solvers.threads import one_blas_thread, threaded

ACCURACY = 1e-10  # times the largest value: what the error of every value stays under
_RESOLVED = 1e-4  # times the largest value: what eigenvalues of squares resolve to about 1e-12
_ENTRIES = 2**22  # numbers in one slice of kernels that are solved again

# What prepares the threads runs in one: on a busy machine each of many small steps would wait for the slowest thread.


@dataclass(frozen=True, eq=False)
class Taps:
    """A convolution of stride 1 between images of any size: the kernel alone.

    Attributes
    ----------
    kernel
        (groups, rows, columns, num_taps), float64: a matrix per group and tap.
    offsets
        (num_taps, num_axes), int64: which pixel a tap reads, from the pixel it writes.
    """

    kernel: Tensor
    offsets: Tensor

    def symbols(self, frequencies: Tensor, sizes: Sequence[int]) -> Tensor:
        """Return K^(f), (num_frequencies, groups, rows, columns) complex, on a torus of `sizes` pixels."""
        angles = _angles(frequencies, self.offsets, sizes)
        flat = self.kernel.flatten(0, 2).mT
        return torch.complex(angles.cos() @ flat, -(angles.sin() @ flat)).unflatten(1, self.kernel.shape[:3])


def circular_values(operator: Convolution, *, left: Tensor | None = None,
                    right: Tensor | None = None) -> tuple[Tensor, int]:
    """Return all singular values of a circular, or pointwise, convolution.

    Parameters
    ----------
    operator
        With circular padding and a stride that divides the image, or with kernel 1 and no padding.
    left, right
        (c_out,) and (c_in,): factors of the channels of the output and of the input, as of an eval batch norm.

    Returns
    -------
    values
        (min(out_dim, in_dim),), float64, decreasing; errors are under ``ACCURACY`` times the largest.
    zeros
        How many of them are zero because channels are (of a pruned kernel), or because of the shape.

    Raises
    ------
    ArgumentError
        The convolution is neither; `why_not_circular` tells.
    NonFiniteError
        The kernel holds NaN or infinity.

    Notes
    -----
    Conjugate frequencies have equal values: half of them are solved. Eigenvalues of K^ K^* give the values; where a
    symbol has values too small for that, it is solved again by an SVD.

    References
    ----------
    .. [1] Sedghi, Gupta, Long 2019, arXiv 1805.10408 (theorem 6); strides as in Senderovich et al. 2022,
       arXiv 2208.04173; evaluation of the symbol without a transform: van Betteray et al. 2025, arXiv 2506.05617.

    Examples
    --------
    >>> blur = Convolution(torch.tensor([[[0.5, 0.5]]]), (1, 4), padding="same", padding_mode="circular")
    >>> circular_values(blur)[0].round(decimals=4)  # cos(pi f / 4)
    tensor([1.0000, 0.7071, 0.7071, 0.0000], dtype=torch.float64)
    """
    reason = why_not_circular(operator)
    if reason:
        raise ArgumentError(f"`operator` must be a circular or a pointwise convolution; got one {reason}."
                            " Use its dense matrix or bounds.")
    if operator.is_pointwise:
        taps, sizes, copies = _pointwise_taps(operator, left, right), (1,) * len(operator.kernel), operator.copies
    else:
        taps, sizes, copies = taps_of(operator, left=left, right=right), operator.small, 1
    values, rank = torus_values(taps, sizes)
    count = min(operator.shape[1:])
    padded = values.new_zeros(count)
    padded[: copies * len(values)] = values.repeat_interleave(copies)[:count]
    return padded, count - copies * rank


def why_not_circular(operator: Convolution) -> str:
    """Return why `circular_values` refuses a convolution, in words that follow "a convolution"; "" if it does not."""
    if operator.is_pointwise:
        return ""
    if operator.padding_mode != "circular":
        return f"with {operator.padding_mode} padding" if any(map(sum, operator.pads)) else "without padding"
    if any(n != s * small for n, small, s in zip(operator.large, operator.small, operator.stride, strict=True)):
        return f"that takes {operator.large} pixels to {operator.small} with stride {operator.stride}"
    return ""


@one_blas_thread()
def taps_of(operator: Convolution, *, left: Tensor | None = None, right: Tensor | None = None) -> Taps:
    """Return the kernel of a convolution as one of stride 1, from the phases of the large image to the small image."""
    kernel = _scaled(operator, left, right).flatten(3)
    places = [d * torch.arange(k) - before for k, d, (before, _) in
              zip(operator.kernel, operator.dilation, operator.pads, strict=True)]
    place = torch.cartesian_prod(*places).reshape(-1, len(places)).to(kernel.device)
    stride = torch.tensor(operator.stride, device=kernel.device)
    offsets, tap = (place.div(stride, rounding_mode="floor")).unique(dim=0, return_inverse=True)
    phase, num_phases = place.new_zeros(len(place)), 1
    for axis, s in enumerate(operator.stride):
        phase, num_phases = phase * s + place[:, axis] % s, num_phases * s
    phases = kernel.new_zeros(*kernel.shape[:3], num_phases, len(offsets))
    phases[..., phase, tap] = kernel
    return Taps(phases.flatten(2, 3), offsets)


def torus_values(taps: Taps, sizes: Sequence[int]) -> tuple[Tensor, int]:
    """Return all singular values on a torus of `sizes` pixels, and how many of them no zero channel makes zero.

    Returns
    -------
    values
        (groups * min(rows, columns) * num_pixels,), float64, decreasing, on the CPU.
    rank
        The number of values that are not zero by structure.
    """
    full = math.prod(sizes) * taps.kernel.shape[0] * min(taps.kernel.shape[1:3])
    taps, rank = _live(taps)
    frequencies, copies = _half(sizes)
    values = _solve(taps, frequencies.to(taps.kernel.device), sizes)
    return _sorted(values.flatten(1).cpu(), copies, full), math.prod(sizes) * rank


def torus_operations(operator: Convolution, sizes: Sequence[int] | None = None) -> float:
    """Return the floating-point operations of the values on a torus (default: the small image), for a cost model."""
    rows, columns = operator.weight.shape[0] / operator.groups, operator.weight.shape[1] * math.prod(operator.stride)
    complex_numbers, conjugates = 4, 0.5
    pixels = math.prod(operator.small if sizes is None else sizes)
    return complex_numbers * conjugates * pixels * operator.groups * gram_operations(int(rows), int(columns))


def _solve(taps: Taps, frequencies: Tensor, sizes: Sequence[int]) -> Tensor:
    """(num_frequencies, groups, min(rows, columns)) values, decreasing along the last."""
    groups, rows, columns, num_taps = taps.kernel.shape
    if min(rows, columns) <= 1:  # one vector per symbol, whose norm needs no squares of small values
        cost = 8.0 * groups * rows * columns * num_taps
        return threaded(lambda part: torch.linalg.vector_norm(taps.symbols(part, sizes), dim=(2, 3)).unsqueeze(2),
                        frequencies, cost)
    if taps.kernel.is_cuda and min(rows, columns) > 32 and not batched_on(taps.kernel.device):
        taps, frequencies = Taps(taps.kernel.cpu(), taps.offsets.cpu()), frequencies.cpu()
    grams = _grams(taps, len(frequencies), sizes)

    def roots(part: Tensor) -> Tensor:
        try:
            squares = torch.linalg.eigvalsh(grams(part).mT)  # column by column, as LAPACK wants it; equal eigenvalues
            return squares.flip(2).clamp_(min=0).sqrt_()
        except torch.linalg.LinAlgError:  # seen on repeated eigenvalues
            return part.new_full((len(part), groups, min(rows, columns)), math.nan, dtype=torch.float64)

    values = threaded(roots, frequencies, 4 * groups * gram_operations(rows, columns))
    resolved = values[:, :, -1] >= _RESOLVED * values.nan_to_num().max()
    again = resolved.logical_not().nonzero()
    for few in again.split(max(1, _ENTRIES // (rows * columns * num_taps))) if len(again) else ():
        frequency, group = few.unbind(1)
        angles = _angles(frequencies[frequency], taps.offsets, sizes)
        turned = torch.polar(torch.ones_like(angles), -angles)
        symbols = torch.einsum("brct,bt->brc", taps.kernel[group].to(turned.dtype), turned)
        values[frequency, group] = _by_svd(symbols).to(values.device)
    return values


def _by_svd(symbols: Tensor) -> Tensor:
    """Values of complex matrices without squares, on the CPU, as CUDA loops over them."""
    symbols = symbols.cpu()
    try:
        return threaded(torch.linalg.svdvals, symbols, 4 * svd_operations(*symbols.shape[1:]))
    except torch.linalg.LinAlgError:  # seen on repeated values; the real form has every value twice
        top, bottom = torch.cat([symbols.real, -symbols.imag], 2), torch.cat([symbols.imag, symbols.real], 2)
        return singular_values(torch.cat([top, bottom], 1), gram=False)[:, ::2]


@one_blas_thread()
def _grams(taps: Taps, num_frequencies: int, sizes: Sequence[int]):
    """A function from frequencies to the smaller of K^ K^* and K^* K^, (num, groups, m, m)."""
    kernel, offsets = taps.kernel, taps.offsets
    kernel = kernel if kernel.shape[1] <= kernel.shape[2] else kernel.transpose(1, 2)
    groups, m, n, num_taps = kernel.shape
    if num_taps**2 * n > 4 * n * num_frequencies:  # fewer frequencies than pairs of taps
        short = Taps(kernel, offsets)

        def direct(frequencies: Tensor) -> Tensor:
            symbols = short.symbols(frequencies, sizes)
            return symbols @ symbols.mH

        return direct
    differences, basis = _correlations(kernel, offsets)

    def by_correlations(frequencies: Tensor) -> Tensor:
        angles = _angles(frequencies, differences, sizes)
        parts = torch.cat([angles.cos(), angles.sin()], dim=1) @ basis
        return torch.view_as_complex(parts.reshape(len(frequencies), groups, m, m, 2))

    return by_correlations


def _correlations(kernel: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """What K^ K^* is made of, with R_d = sum of K_t K_u' over pairs of taps whose offsets differ by d.

    K^ K^* = sum_d R_d exp(-i f.d) has few terms, each in pairs R_-d = R_d', so that the symmetric part of R_d goes
    with the cosine, and the antisymmetric part with the sine: no product of matrices per frequency is needed.
    Returns the differences (num, num_axes) up to their sign and a real (2 num, groups m m 2) matrix.
    """
    groups, m, _, num_taps = kernel.shape
    pairs = (offsets[:, None] - offsets).flatten(0, 1)
    sign = torch.zeros_like(pairs[:, 0])
    for axis in range(pairs.shape[1]):  # of the first difference that is not zero
        sign = torch.where(sign == 0, pairs[:, axis].sign(), sign)
    differences, place = (pairs * torch.where(sign < 0, -1, 1)[:, None]).unique(dim=0, return_inverse=True)
    sums = kernel.new_zeros(len(differences), groups, m, m)
    by_tap = kernel.movedim(3, 0).contiguous()
    for tap, where, orientation in zip(by_tap, place.split(num_taps), sign.split(num_taps), strict=True):
        first = orientation >= 0  # the others are transposes of these
        products = tap @ by_tap[first].mT
        sums.index_add_(0, where[first], products)
    origin = (differences == 0).all(dim=1)
    even, odd = torch.where(origin[:, None, None, None], sums, sums + sums.mT), sums.mT - sums
    basis = kernel.new_zeros(2, *sums.shape, 2)
    basis[0, ..., 0], basis[1, ..., 1] = even, odd
    return differences, basis.flatten(2).flatten(0, 1)


def _angles(frequencies: Tensor, offsets: Tensor, sizes: Sequence[int]) -> Tensor:
    """2 pi f.a / N, (num_frequencies, num_offsets), reduced in integers."""
    turns = 0.0
    for axis, n in enumerate(sizes):
        turns = turns + (frequencies[:, axis, None] * offsets[:, axis]).remainder(n).double() / n
    return 2 * math.pi * turns


@one_blas_thread()
def _sorted(values: Tensor, copies: Tensor, count: int) -> Tensor:
    """All (num_frequencies, num_values), each row as often as `copies` says, decreasing, and zeros up to `count`."""
    padded = values.new_zeros(count)
    found = values.repeat_interleave(copies, dim=0).flatten()
    padded[: len(found)] = found.sort(descending=True).values
    return padded


@one_blas_thread()
def _half(sizes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """One of every pair of conjugate frequencies, (num, num_axes), and how many it stands for, 1 or 2."""
    frequencies = torch.cartesian_prod(*map(torch.arange, sizes)).reshape(-1, len(sizes))
    conjugate = torch.zeros(len(frequencies), dtype=torch.long)
    for axis, n in enumerate(sizes):
        conjugate = conjugate * n + (-frequencies[:, axis]) % n
    index = torch.arange(len(frequencies))
    kept = index <= conjugate
    return frequencies[kept], 1 + (index != conjugate)[kept].long()


@one_blas_thread()
def _live(taps: Taps) -> tuple[Taps, int]:
    """Without the channels that are zero, as far as every group allows; and the rank that this leaves per pixel."""
    kernel, live = taps.kernel, []
    check_finite(kernel.flatten(2))
    for dim, others in ((1, (2, 3)), (2, (1, 3))):
        alive = (kernel != 0).any(dim=others[1]).any(dim=others[0])
        live.append(alive.sum(1))
        kept = alive.long().argsort(dim=1, descending=True, stable=True)[:, : max(1, int(live[-1].max()))]
        index = kept.unsqueeze(others[0]).unsqueeze(3)
        shape = list(kernel.shape)
        shape[dim] = index.shape[dim]
        kernel = kernel.gather(dim, index.expand(shape))
    return Taps(kernel.contiguous(), taps.offsets), int(torch.minimum(*live).sum())


def _pointwise_taps(operator: Convolution, left: Tensor | None, right: Tensor | None) -> Taps:
    kernel = _scaled(operator, left, right).flatten(3)
    return Taps(kernel, torch.zeros(1, len(operator.kernel), dtype=torch.long, device=kernel.device))


def _scaled(operator: Convolution, left: Tensor | None, right: Tensor | None) -> Tensor:
    """The kernel in float64 with its channels scaled, (groups, c_small // groups, c_large // groups, *kernel)."""
    kernel = operator.weight.double().unflatten(0, (operator.groups, -1))
    small, large = (right, left) if operator.transposed else (left, right)
    if small is not None:
        kernel = kernel * small.double().reshape(operator.groups, -1, *(1,) * (kernel.ndim - 2))
    if large is not None:
        kernel = kernel * large.double().reshape(operator.groups, 1, -1, *(1,) * (kernel.ndim - 3))
    return kernel
