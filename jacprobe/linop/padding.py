"""Padding of images as torch does it, its transpose, and where every padded pixel comes from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

PADDING_MODES = ("zeros", "circular", "reflect", "replicate")
Pads = Sequence[tuple[int, int]]


def pads_of(padding: int | Sequence[int] | str, kernel: Sequence[int], dilation: Sequence[int]) -> Pads:
    """Return (before, after) per axis; "same" puts the odd one after, as torch does."""
    if padding == "same":
        totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return tuple((total // 2, total - total // 2) for total in totals)
    padding = 0 if padding == "valid" else padding
    sides = (padding,) * len(kernel) if isinstance(padding, int) else padding
    return tuple((side, side) for side in sides)


def pad(images: Tensor, pads: Pads, mode: str) -> Tensor:
    """Pad every spatial axis of (num, channels, *spatial)."""
    mode = "constant" if mode == "zeros" else mode
    return F.pad(images, [side for pair in reversed(pads) for side in pair], mode=mode)


def fold(images: Tensor, pads: Pads, mode: str) -> Tensor:
    """Apply the transpose of `pad`: add every padded pixel to the one that it is a copy of."""
    for axis, (before, after) in enumerate(pads, start=2):
        n = images.shape[axis] - before - after
        padded, images = images, images.narrow(axis, before, n)
        edges = [(i, origin) for i, origin in enumerate(origins(n, (before, after), mode).tolist())
                 if origin >= 0 and not before <= i < before + n]
        images = images.clone() if edges else images
        for position, origin in edges:
            images.select(axis, origin).add_(padded.select(axis, position))
    return images


def origins(n: int, pair: tuple[int, int], mode: str) -> Tensor:
    """Return of which pixel of an axis of length `n` every padded pixel is a copy, or -1 where it is zero."""
    position = torch.arange(-pair[0], n + pair[1])
    if mode == "circular":
        return position % n
    if mode == "replicate":
        return position.clamp(0, n - 1)
    if mode == "reflect":
        return (n - 1) - ((n - 1) - position.abs()).abs()
    return torch.where((position >= 0) & (position < n), position, -1)
