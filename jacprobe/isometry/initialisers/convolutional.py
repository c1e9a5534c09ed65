"""Convolutional orthogonal weights: kernels whose convolution is an isometry, built from factors of two taps.

With P an orthogonal projector, P + (1 - P) z is unitary for every z on the unit circle: a convolution of two taps that
keeps all lengths. A product of such factors along all axes, times an orthogonal matrix, is a kernel of any size whose
transfer matrix is unitary at every frequency.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from jacprobe.isometry.initialisers.layer import Draw, Drawn, Layer
from jacprobe.isometry.initialisers.orthogonal import check_gain, haar


def convolutional_orthogonal(model: nn.Module, *, gain: float = 1.0) -> Draw:
    """Return the initialiser whose convolutions have all their singular values at `gain` under circular padding.

    That holds for every kernel size, dilation and number of channels, per group, and for every stride that divides the
    size of the input. It also holds without padding, where the output has no more channels than the input; with zero
    padding of the whole kernel less one, where it has no fewer; and for a transposed convolution without padding and
    no fewer outputs. With "same" zero padding the borders lose energy: no singular value exceeds `gain`.

    A strided convolution that has more outputs than inputs uses the largest part of its kernel that is a multiple of
    the stride; the other taps are zero. Inputs that no tap reads have singular values 0. A depthwise kernel is one tap
    of plus or minus `gain`, for want of any other isometry of one channel.

    References
    ----------
    Kautsky and Turcajova 1994; Xiao et al. 2018; Li et al. 2019 (BCOP): projectors of rank half the channels,
    semi-orthogonal matrix for other numbers of outputs.
    """
    check_gain(gain)

    def draw(layer: Layer, generator: torch.Generator) -> Drawn:
        blocks = [_block(layer, generator) for _ in range(layer.groups)]
        return Drawn(gain * layer.assembled(blocks))

    return draw


def _block(layer: Layer, generator: torch.Generator) -> Tensor:
    """Return the kernel (rows, cols, *kernel) of one group."""
    if layer.rows <= layer.cols or not layer.kernel:  # orthonormal rows: a stride only leaves some of them out
        return orthogonal_kernel(layer.rows, layer.cols, layer.kernel, generator)
    # A tap t reads the phase t * dilation modulo the stride, so that only stride / gcd phases are ever read.
    strides = [stride // math.gcd(stride, dilation)
               for stride, dilation in zip(layer.module.stride, layer.module.dilation, strict=True)]
    return _strided_kernel(layer.rows, layer.cols, layer.kernel, strides, generator)


def orthogonal_kernel(rows: int, cols: int, kernel: Sequence[int], generator: torch.Generator) -> Tensor:
    """Return a float64 kernel (rows, cols, *kernel) whose transfer matrix is semi-orthogonal at every frequency.

    Examples
    --------
    >>> K = orthogonal_kernel(2, 2, (3,), torch.Generator().manual_seed(0))
    >>> K_hat = torch.fft.fft(K, 5).permute(2, 0, 1)
    >>> bool(torch.allclose(torch.linalg.svdvals(K_hat), torch.ones(5, 2, dtype=torch.float64)))
    True
    """
    if rows > cols:
        return orthogonal_kernel(cols, rows, kernel, generator).transpose(0, 1)
    K = haar(rows, cols, generator)
    K = K.reshape(rows, cols, *[1] * len(kernel))
    for step in range(1, max(kernel, default=1)):
        for axis, size in enumerate(kernel):
            if step < size:
                K = _lengthened(K, 2 + axis, generator)
    return K


def _lengthened(K: Tensor, axis: int, generator: torch.Generator) -> Tensor:
    """Multiply by P + (1 - P) z along `axis`, with a random projector P of half the channels: one tap more."""
    cols = K.shape[1]
    rank = cols // 2 + (cols % 2 and int(torch.randint(2, (), generator=generator)))
    basis = haar(cols, cols, generator)[:, :rank]  # (cols, rank), P = basis basis'
    kept = torch.movedim(torch.tensordot(torch.tensordot(K, basis, ([1], [0])), basis, ([-1], [1])), -1, 1)
    blank = torch.zeros_like(K.narrow(axis, 0, 1))
    return torch.cat([kept, blank], axis) + torch.cat([blank, K - kept], axis)


def _strided_kernel(
    rows: int, cols: int, kernel: Sequence[int], strides: Sequence[int], generator: torch.Generator
) -> Tensor:
    """Return a kernel that is semi-orthogonal at its strides: one of stride 1 between rows and the cols of all phases.

    The input at positions t * stride + phase, for all phases, is an input of cols * stride channels.
    """
    phases = [min(size, stride) for size, stride in zip(kernel, strides, strict=True)]
    taps = [max(1, size // stride) for size, stride in zip(kernel, strides, strict=True)]
    num_axes = len(kernel)
    K = orthogonal_kernel(rows, cols * math.prod(phases), taps, generator).reshape(rows, cols, *phases, *taps)
    order = [2 + offset + axis for axis in range(num_axes) for offset in (num_axes, 0)]  # tap, then phase, of each axis
    used = [num_taps * num_phases for num_taps, num_phases in zip(taps, phases, strict=True)]
    whole = torch.zeros(rows, cols, *kernel, dtype=K.dtype)
    window = [slice((size - part) // 2, (size - part) // 2 + part) for size, part in zip(kernel, used, strict=True)]
    whole[(slice(None), slice(None), *window)] = K.permute(0, 1, *order).reshape(rows, cols, *used)
    return whole
