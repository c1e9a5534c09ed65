"""Images as bytes with their labels, and the standardisation that turns them into floats."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from jacprobe.errors import DataError

NUM_CLASSES = 10  # of every standard data set here
_CHUNK = 1000  # images counted at once; `bincount` widens bytes to 8-byte integers


class Pixels(NamedTuple):
    """Images `(N, C, H, W)` of unsigned bytes and labels `(N,)` below `NUM_CLASSES`."""

    images: np.ndarray
    labels: np.ndarray


def checked_pixels(images: np.ndarray, labels: np.ndarray, place: Path) -> Pixels:
    """Return `images` and `labels` read from `place` together, after checking that they fit each other.

    Raises
    ------
    DataError
        There is no image, the numbers of images and labels differ, or a label is out of range.
    """
    if images.size == 0:
        raise DataError(f"`{place}` must hold at least one image; got shape {images.shape}. Fetch it again.")
    if len(images) != len(labels):
        raise DataError(
            f"`{place}` must hold one label per image; got {len(images)} images and {len(labels)} labels."
            " Fetch it again."
        )
    if labels.min() < 0 or labels.max() >= NUM_CLASSES:
        bad = int(labels[(labels < 0) | (labels >= NUM_CLASSES)][0])
        raise DataError(f"`{place}` must hold labels from 0 to {NUM_CLASSES - 1}; got {bad}. Fetch it again.")
    return Pixels(images, labels)


def channel_statistics(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation `(C,)` of each channel, in float64, from exact counts of the byte values.

    Examples
    --------
    >>> mean, std = channel_statistics(np.array([0, 10, 0, 10], np.uint8).reshape(2, 1, 1, 2))
    >>> mean.item(), std.item()
    (5.0, 5.0)
    """
    counts = np.zeros((images.shape[1], 256), np.int64)
    for start in range(0, len(images), _CHUNK):
        for channel, count in enumerate(counts):
            count += np.bincount(images[start : start + _CHUNK, channel].ravel(), minlength=256)
    levels, total = np.arange(256.0), counts.sum(1)
    mean = counts @ levels / total
    variance = (counts * (levels - mean[:, None]) ** 2).sum(1) / total
    return mean, np.sqrt(variance)


def standardised(images: np.ndarray, mean: np.ndarray, std: np.ndarray) -> Tensor:
    """Return ``(images - mean) / std`` per channel as a float32 tensor of the same shape; `images` is not changed."""
    floats = torch.tensor(images, dtype=torch.float32)
    for channel in range(images.shape[1]):
        floats[:, channel].sub_(float(mean[channel])).div_(float(std[channel]))
    return floats
