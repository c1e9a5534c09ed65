"""Random changes of images, each image its own: the three kinds of the paper's code."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_SHIFT = 4  # pixels, for CIFAR
_MARGIN = 8  # pixels, for Tiny-ImageNet


def augmented(images: Tensor, kinds: Sequence[str], generator: torch.Generator) -> Tensor:
    """Return changed copies of `images`.

    Each image gets a random number of the kinds, from none to all, drawn without replacement.

    Parameters
    ----------
    images
        Shape (num_images, channels, height, width), on any device.
    kinds
        Names in `AUGMENTATIONS`.
    generator
        On the CPU, so that all devices draw the same.

    References
    ----------
    Lee et al. 2020, published code: ``SomeOf((0, None), ...)`` of imgaug, without its random order.
    """
    for name, chosen in zip(kinds, _choices(len(images), len(kinds), generator), strict=True):
        change = AUGMENTATIONS[name](images, generator)  # drawn for all, so that the draws do not depend on the choice
        images = torch.where(chosen.to(images.device)[:, None, None, None], change, images)
    return images


def _choices(num: int, num_kinds: int, generator: torch.Generator) -> Tensor:
    """Draw which images get which kind, (num_kinds, num): a uniform count per image, then a uniform subset."""
    counts = torch.randint(num_kinds + 1, (num,), generator=generator)
    return torch.rand(num_kinds, num, generator=generator).argsort(0).argsort(0) < counts


def flipped(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror half of the images left to right."""
    chosen = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(chosen.to(images.device)[:, None, None, None], images.flip(3), images)


def translated(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift each image by whole pixels, up to 4 along each axis; zeros come in, the mean of standardised images."""
    num, channels, height, width = images.shape
    shifts = torch.randint(2 * _SHIFT + 1, (2, num, 1), generator=generator).to(images.device)
    rows = (shifts[0] + torch.arange(height, device=images.device))[:, None, :, None]
    columns = (shifts[1] + torch.arange(width, device=images.device))[:, None, None, :]
    padded = torch.nn.functional.pad(images, (_SHIFT,) * 4)
    first = torch.arange(num, device=images.device)[:, None, None, None]
    return padded[first, torch.arange(channels, device=images.device)[:, None, None], rows, columns]


def crop_padded(images: Tensor, generator: torch.Generator) -> Tensor:
    """Move each side of each image by up to 8 pixels, inwards or outwards into zeros, and resize to the old size."""
    num, _, height, width = images.shape
    moved = torch.randint(-_MARGIN, _MARGIN + 1, (4, num), generator=generator).to(images.device, images.dtype)
    top, bottom, left, right = moved
    # the window in the coordinates of grid_sample, where an axis goes from -1 to 1
    half_height, half_width = 1 - (top + bottom) / height, 1 - (left + right) / width
    middle_y, middle_x = (top - bottom) / height, (left - right) / width
    zero = torch.zeros_like(top)
    windows = torch.stack([half_width, zero, middle_x, zero, half_height, middle_y], 1).reshape(num, 2, 3)
    grid = torch.nn.functional.affine_grid(windows, list(images.shape), align_corners=False)
    return torch.nn.functional.grid_sample(images, grid, padding_mode="zeros", align_corners=False)


AUGMENTATIONS = {"flip": flipped, "translate": translated, "crop-pad": crop_padded}
