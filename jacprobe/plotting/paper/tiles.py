"""Masks as tiles in one frame: a row per sparsity, a column per layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real

import numpy as np
from matplotlib.axes import Axes
from torch import Tensor

from jacprobe.errors import ArgumentError, DtypeError, ShapeError
from jacprobe.plotting.paper.frames import thick_frame

_GAP = 0.05  # of a tile


@dataclass(frozen=True)
class Tiles:
    """Masks as pictures by row and column, and the names of both."""

    sparsities: tuple[float, ...]
    layers: tuple[str, ...]
    pictures: Mapping[tuple[int, int], np.ndarray]


def mask_tiles(masks: Mapping[tuple[float, object], object]) -> Tiles:
    """Return the tiles of one network, rows by increasing sparsity and columns as the layers come."""
    if not masks:
        raise ArgumentError("`masks` must hold at least one mask of each network; got none. Prune it first.")
    for key in masks:
        if not isinstance(key, tuple) or len(key) != 2 or not _is_percentage(key[0]):
            raise ArgumentError(f"`masks` must have keys (sparsity in %, layer); got {key!r}. Write (90, 'fc2').")
    sparsities = tuple(sorted({sparsity for sparsity, _ in masks}))
    layers = tuple(dict.fromkeys(str(layer) for _, layer in masks))
    pictures = {(sparsities.index(s), layers.index(str(layer))): _picture(mask) for (s, layer), mask in masks.items()}
    return Tiles(sparsities, layers, pictures)


def _is_percentage(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and 0 <= value <= 100


def _picture(mask: object) -> np.ndarray:
    """Return a mask as a matrix, a row per output."""
    array = array_of(mask)
    if array.dtype != bool:
        raise DtypeError(f"`masks` must hold bool arrays, True = kept; got {array.dtype}. Compare with zero first.")
    if not array.size:
        raise ShapeError(f"`masks` must hold masks with entries; got shape {array.shape}. Leave that layer out.")
    return array.reshape(len(array), -1) if array.ndim > 1 else array.reshape(1, -1)


def array_of(values: object) -> np.ndarray:
    """Return an array or a tensor of any device as an array."""
    return np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values)


def draw_tiles(ax: Axes, tiles: Tiles, *, font: float) -> None:
    """Draw all masks of a network on `ax`, black where pruned, with thin gaps between them."""
    rows, columns = len(tiles.sparsities), len(tiles.layers)
    for (row, column), picture in tiles.pictures.items():
        ax.imshow(picture, cmap="gray", vmin=0, vmax=1, aspect="auto", zorder=2,
                  extent=(column + _GAP / 2, column + 1 - _GAP / 2, row + 1 - _GAP / 2, row + _GAP / 2))
    thick_frame(ax, font=font)
    ax.grid(visible=False)
    ax.set(xlim=(-_GAP / 2, columns + _GAP / 2), ylim=(rows + _GAP / 2, -_GAP / 2))
    ax.set_xticks(np.arange(columns) + 0.5, tiles.layers, parse_math=False)
    ax.set_yticks(np.arange(rows) + 0.5, [f"{sparsity:.4g}" for sparsity in tiles.sparsities])
    ax.tick_params(length=0)
    ax.set_xlabel("layer", fontsize=font, labelpad=0.3 * font)
    ax.set_ylabel("sparsity, %", fontsize=font, labelpad=0.4 * font)
