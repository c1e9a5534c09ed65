"""Convolutions and transposed convolutions, 1 to 3 dimensions, as operators on flattened images."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import product
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jacprobe.errors import ArgumentError, ShapeError
from jacprobe.linop.operator import LinearOperator
from jacprobe.linop.padding import PADDING_MODES, Pads, fold, origins, pad, pads_of

_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
_GRADIENT = {1: torch.nn.grad.conv1d_input, 2: torch.nn.grad.conv2d_input, 3: torch.nn.grad.conv3d_input}
_MODULES = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


class Convolution(LinearOperator):
    """A convolution without bias on images flattened channel by channel, or the transpose of one.

    A convolution takes a large image to a small one; a transposed convolution is its transpose, with the same kernel.
    So both hold the same `weight` and tables, and differ in which of the two products is the forward one.

    Parameters
    ----------
    weight
        (c_out, c_in // groups, *kernel); of a transposed convolution (c_in, c_out // groups, *kernel), as in torch.
    in_shape
        (c_in, *spatial) of one input image, with 1 to 3 spatial axes.
    stride, dilation
        One number, or one per axis.
    padding
        One number, or one per axis, or "same" or "valid".
    groups
        Channels are split into as many parts, each with its own kernel.
    padding_mode
        "zeros", "circular", "reflect" or "replicate".
    transposed
        Whether this is a transposed convolution (`torch.nn.ConvTranspose2d`).
    output_padding
        Rows without counterpart at the end of each axis of the output, of a transposed convolution only.

    Attributes
    ----------
    in_shape, out_shape
        (channels, *spatial) of one image.
    large, small
        Spatial sizes before and after the convolution; of a transposed one, of its output and its input.
    kernel, stride, dilation
        One number per axis.
    pads
        (before, after) per axis.

    Raises
    ------
    ArgumentError, ShapeError
        No such padding mode, or the sizes do not fit one another.
    """

    _pixels_first = False  # whether vectors hold all channels of a pixel side by side

    def __init__(self, weight: Tensor, in_shape: Sequence[int], *, stride: int | Sequence[int] = 1,
                 padding: int | Sequence[int] | str = 0, dilation: int | Sequence[int] = 1, groups: int = 1,
                 padding_mode: str = "zeros", transposed: bool = False, output_padding: int | Sequence[int] = 0):
        if padding_mode not in PADDING_MODES:
            modes = ", ".join(PADDING_MODES)
            raise ArgumentError(f"`padding_mode` must be one of {modes}; got {padding_mode!r}. Choose one.")
        num_axes = weight.ndim - 2
        if num_axes not in _CONV or len(in_shape) != num_axes + 1:
            raise ShapeError(f"`weight` must have two axes more than the image, which has 1 to 3; got"
                             f" {tuple(weight.shape)} for images {tuple(in_shape)}. Give (c_in, *spatial).")
        self.weight = weight.detach()
        self.groups, self.padding_mode, self.transposed = groups, padding_mode, transposed
        self.kernel = tuple(weight.shape[2:])
        self.stride, self.dilation = _per_axis(stride, num_axes), _per_axis(dilation, num_axes)
        self.pads = pads_of(padding, self.kernel, self.dilation)
        self.in_shape = tuple(in_shape)
        c_small, c_large = weight.shape[0], groups * weight.shape[1]
        if in_shape[0] != (c_small if transposed else c_large) or c_small % groups:
            raise ShapeError(f"`in_shape` must fit the kernel {tuple(weight.shape)} in {groups} groups; got"
                             f" {tuple(in_shape)}. Its first entry is the number of input channels.")
        sizes = in_shape[1:], self.kernel, self.stride, self.dilation, self.pads
        extra = _per_axis(output_padding, num_axes)
        spatial = tuple(map(sum, zip(_enlarged(*sizes), extra, strict=True))) if transposed else _reduced(*sizes)
        self.out_shape = (c_large if transposed else c_small, *spatial)
        self.large, self.small = (spatial, self.in_shape[1:]) if transposed else (self.in_shape[1:], spatial)
        self._check_sizes()
        self.shape = (1, math.prod(self.out_shape), math.prod(self.in_shape))
        self.dtype, self.device = weight.dtype, weight.device

    @classmethod
    def of_module(cls, module: nn.Module, weight: Tensor, in_shape: Sequence[int],
                  out_shape: Sequence[int]) -> Convolution:
        """Return the linear part of a convolution module.

        Parameters
        ----------
        module
            `torch.nn.Conv1d` to `Conv3d` or `ConvTranspose1d` to `ConvTranspose3d`.
        weight
            The kernel that is in effect, which may be masked or parametrised.
        in_shape, out_shape
            (channels, *spatial) of one sample; `out_shape` tells the output padding of a call with `output_size`.

        Raises
        ------
        ArgumentError, ShapeError
            Not a convolution, or the shapes do not fit it.
        """
        if not isinstance(module, _MODULES):
            raise ArgumentError(f"`module` must be a convolution; got {type(module).__name__}. Use another factor.")
        pads = pads_of(module.padding, module.kernel_size, module.dilation)
        least = _enlarged(in_shape[1:], module.kernel_size, module.stride, module.dilation, pads)
        extra = [given - found for given, found in zip(out_shape[1:], least, strict=True)] if module.transposed else 0
        operator = cls(weight, in_shape, stride=module.stride, padding=module.padding, dilation=module.dilation,
                       groups=module.groups, padding_mode=module.padding_mode, transposed=module.transposed,
                       output_padding=extra)
        if tuple(out_shape) != operator.out_shape:
            raise ShapeError(f"`out_shape` must be {operator.out_shape} for {module}; got {tuple(out_shape)}."
                             " Give the shapes of one sample of one call.")
        return operator

    def with_weight(self, weight: Tensor) -> Convolution:
        """Return the same convolution with another kernel of the same shape, of any dtype."""
        other = copy.copy(self)
        for derived in ("_flipped", "channels_last"):
            other.__dict__.pop(derived, None)
        other.weight, other.dtype, other.device = weight, weight.dtype, weight.device
        return other

    @cached_property
    def channels_last(self) -> Convolution:
        """The same convolution of images of 2 or 3 axes on vectors that hold all channels of a pixel side by side.

        For products alone: `dense` and the tables still speak of images channel by channel.
        """
        formats = {2: torch.channels_last, 3: torch.channels_last_3d}
        other = self.with_weight(self.weight.contiguous(memory_format=formats[len(self.kernel)]))
        other._pixels_first = True
        return other

    @property
    def is_pointwise(self) -> bool:
        """Whether every output pixel depends on one input pixel only: kernel 1, no padding, any stride."""
        return math.prod(self.kernel) == 1 and not any(map(sum, self.pads))

    @property
    def copies(self) -> int:
        """How many pixels a pointwise convolution applies its matrices to."""
        return math.prod(self.small)

    @property
    def pointwise_matrices(self) -> Tensor:
        """The matrix of every group of a pointwise convolution, (groups, c_out // groups, c_in // groups)."""
        blocks = self._grouped().squeeze(-1)
        return blocks.mT if self.transposed else blocks

    def _matmat(self, block: Tensor) -> Tensor:
        return self._apply(self._enlarge if self.transposed else self._reduce, block, self.in_shape)

    def _rmatmat(self, block: Tensor) -> Tensor:
        return self._apply(self._reduce if self.transposed else self._enlarge, block, self.out_shape)

    def _apply(self, function, block: Tensor, shape: tuple[int, ...]) -> Tensor:
        rows = block.mT
        if self._pixels_first:
            images = function(rows.reshape(-1, *shape[1:], shape[0]).movedim(-1, 1)).movedim(1, -1)
        else:
            images = function(rows.reshape(-1, *shape))
        return images.reshape(*rows.shape[:2], -1).mT

    def _reduce(self, images: Tensor) -> Tensor:
        """The convolution, (num, c_large, *large) -> (num, c_small, *small)."""
        images = images if self._pads_itself else pad(images, self.pads, self.padding_mode)
        rest = [d * (k - 1) - p for k, d, p in zip(self.kernel, self.dilation, self._own_padding, strict=True)]
        if self._by_gradient and set(self.stride) == {1} and min(rest) >= 0 and max(self.kernel) > 1:
            shape = (len(images), self.weight.shape[0], *self.small)
            return _GRADIENT[len(rest)](shape, self._flipped, images, 1, rest, self.dilation, self.groups)
        images = _CONV[len(rest)](images, self.weight, None, self.stride, self._own_padding, self.dilation, self.groups)
        for axis, size in enumerate(self.small):
            images = images.narrow(axis + 2, 0, size)  # output padding beyond the stride makes more than was put in
        return images

    def _enlarge(self, images: Tensor) -> Tensor:
        """The transposed convolution, (num, c_small, *small) -> (num, c_large, *large)."""
        if self._by_gradient:
            own = [0 if self._pads_itself else sum(pair) for pair in self.pads]
            shape = (len(images), self.groups * self.weight.shape[1], *map(sum, zip(self.large, own, strict=True)))
            images = _GRADIENT[len(own)](shape, self.weight, images, self.stride, self._own_padding, self.dilation,
                                         self.groups)
        else:
            images = _CONV_TRANSPOSE[len(self.kernel)](images, self.weight, None, self.stride, self._own_padding,
                                                       self._extra, self.groups, self.dilation)
        return images if self._pads_itself else fold(images, self.pads, self.padding_mode)

    @property
    def _by_gradient(self) -> bool:
        """Whether to use torch's input gradient: up to four times faster than its convolutions, in float64 on CPUs."""
        reached = all(extra < s for extra, s in zip(self._extra, self.stride, strict=True))
        return self.dtype == torch.float64 and self.device.type == "cpu" and reached

    @property
    def _extra(self) -> list[int]:
        """Per axis how many pixels at the end of the padded large image no tap reaches."""
        least = _enlarged(self.small, self.kernel, self.stride, self.dilation, self.pads)
        return [size - reached for size, reached in zip(self.large, least, strict=True)]

    @cached_property
    def _flipped(self) -> Tensor:
        """The kernel of the convolution whose input gradient this one is: taps reversed, channels exchanged."""
        weight = self.weight.unflatten(0, (self.groups, -1)).transpose(1, 2).flatten(0, 1)
        return weight.flip(*range(2, weight.ndim)).contiguous()

    def dense(self) -> Tensor:
        """Return the matrix, (1, out_dim, in_dim), by writing every weight to its places."""
        blocks = self.dense_blocks()
        return (blocks[0] if self.groups == 1 else torch.block_diag(*blocks)).unsqueeze(0)

    def dense_blocks(self) -> Tensor:
        """Return the blocks of the block-diagonal matrix, (groups, out_dim // groups, in_dim // groups)."""
        weight = self._grouped()
        dims = (weight.shape[1], math.prod(self.small), weight.shape[2], math.prod(self.large))
        blocks = weight.new_zeros(self.groups, *dims)
        for tap, (small, large) in enumerate(self._positions()):
            blocks[:, :, small, :, large] += weight[..., tap]
        blocks = blocks.reshape(self.groups, dims[0] * dims[1], dims[2] * dims[3])
        return blocks.mT if self.transposed else blocks

    def norms_squared(self, side: Literal["rows", "columns"]) -> Tensor:
        """Return the squared norm of every row or column of the matrix, float64 (out_dim,) or (in_dim,).

        Exact for every padding: an entry of the matrix is the sum of the taps that meet in one pixel, so its square
        sums products of pairs of taps, and per axis a table counts where both taps of a pair meet.

        Raises
        ------
        ArgumentError
            `side` is neither of the two.
        """
        if side not in ("rows", "columns"):
            raise ArgumentError(f"`side` must be 'rows' or 'columns'; got {side!r}. Choose one.")
        by_small = (side == "rows") != self.transposed
        pairs = [self._meetings(axis, by_small) for axis in range(len(self.kernel))]
        first = second = self._grouped().double().unflatten(-1, self.kernel)
        for axis, (one, other, _) in enumerate(pairs, start=3):
            first, second = first.index_select(axis, one), second.index_select(axis, other)
        norms = (first * second).sum(dim=2 if by_small else 1).flatten(0, 1)
        for _, _, table in pairs:
            norms = torch.tensordot(norms, table, dims=([1], [0]))  # one axis of pairs less, one of pixels more
        return norms.flatten()

    def _meetings(self, axis: int, by_small: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Pairs of taps (P,), (P,) and how often both read the same pixel, (P, num_pixels), float64."""
        sources, n = self._sources[axis], self.large[axis]
        taps = torch.arange(len(sources), device=sources.device)
        if self.padding_mode == "zeros":  # a tap meets only itself
            one = other = taps
        else:
            equal = (sources[:, None] == sources).any(-1)
            one, other = equal.nonzero(as_tuple=True)
        meets = ((sources[one] == sources[other]) & (sources[one] >= 0)).double()
        if not by_small:
            target = torch.where(sources[one] >= 0, sources[one], n)
            meets = meets.new_zeros(len(one), n + 1).scatter_add_(1, target, meets)[:, :n]
        return one, other, meets

    def _grouped(self) -> Tensor:
        """The kernel as (groups, c_small // groups, c_large // groups, num_taps)."""
        return self.weight.unflatten(0, (self.groups, -1)).flatten(3)

    def _positions(self) -> Iterator[tuple[Tensor, Tensor]]:
        """For every tap the pixels of the small image that it reaches, and the pixels of the large one it reads."""
        for taps in product(*map(range, self.kernel)):
            small = large = torch.zeros(1, dtype=torch.long, device=self.device)
            for axis, tap in enumerate(taps):
                source = self._sources[axis][tap]
                reached = (source >= 0).nonzero().flatten()
                small = (small[:, None] * self.small[axis] + reached).flatten()
                large = (large[:, None] * self.large[axis] + source[reached]).flatten()
            yield small, large

    @cached_property
    def _sources(self) -> list[Tensor]:
        """Per axis (kernel, small): which pixel of the large image a tap reads for a pixel of the small one, or -1."""
        tables = []
        for axis, (k, n, s, d) in enumerate(zip(self.kernel, self.small, self.stride, self.dilation, strict=True)):
            index = d * torch.arange(k)[:, None] + s * torch.arange(n)
            origin = origins(self.large[axis], self.pads[axis], self.padding_mode)
            tables.append(origin[index].to(self.device))
        return tables

    @property
    def _pads_itself(self) -> bool:
        """Whether torch's convolution does the padding."""
        return all(a == b and (a == 0 or self.padding_mode == "zeros") for a, b in self.pads)

    @property
    def _own_padding(self) -> tuple[int, ...]:
        return tuple(before if self._pads_itself else 0 for before, _ in self.pads)

    def _check_sizes(self) -> None:
        widest = {"circular": 0, "reflect": -1}.get(self.padding_mode, math.inf)
        fits = all(max(pair) <= n + widest for n, pair in zip(self.large, self.pads, strict=True))
        if min(*self.out_shape, *self.in_shape) < 1 or not fits:
            raise ShapeError(f"`in_shape` must be large enough for kernel {self.kernel} and {self.padding_mode} padding"
                             f" of {self.pads}; got {self.in_shape}, which gives {self.out_shape}. Use larger images.")
        if not all(0 <= e < max(s, d) for e, s, d in zip(self._extra, self.stride, self.dilation, strict=True)):
            raise ShapeError(f"`output_padding` must be smaller than the stride {self.stride} or the dilation"
                             f" {self.dilation}; got {self._extra}. Check the shape of the output.")


def _per_axis(value: int | Sequence[int], num_axes: int) -> tuple[int, ...]:
    return (value,) * num_axes if isinstance(value, int) else tuple(value)


def _reduced(spatial: Sequence[int], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int],
             pads: Pads) -> tuple[int, ...]:
    """Sizes of the output of a convolution."""
    return tuple((n + sum(pair) - d * (k - 1) - 1) // s + 1
                 for n, k, s, d, pair in zip(spatial, kernel, stride, dilation, pads, strict=True))


def _enlarged(spatial: Sequence[int], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int],
              pads: Pads) -> tuple[int, ...]:
    """Sizes of the output of a transposed convolution without output padding."""
    return tuple((n - 1) * s + d * (k - 1) + 1 - sum(pair)
                 for n, k, s, d, pair in zip(spatial, kernel, stride, dilation, pads, strict=True))
