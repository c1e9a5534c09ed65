"""Masks as pictures: black is removed, white is kept."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from jacprobe.errors import DtypeError, ShapeError
from jacprobe.plotting.artists.figures import axes_of
from jacprobe.plotting.artists.hues import QUIET

_MAX_SIDE = 2048  # of a picture, in cells; more would cost memory and show nothing


def draw_mask(mask: Tensor, *, ax: Axes | None = None, aspect: str | float = "equal") -> Axes:
    """Draw one mask, a row per output and black where a weight is removed, and return the Axes.

    Parameters
    ----------
    mask
        Bool tensor, True = kept. Kernels are flattened to ``(out_dim, in_dim * kernel)``; a bias is one row.
    ax
        Where to draw; a new figure without pyplot if None.
    aspect
        "equal" for square cells, "auto" to fill `ax`, or the height of a cell by its width.

    Raises
    ------
    DtypeError
        `mask` is no bool tensor, or `ax` no Axes.
    ShapeError
        `mask` is empty.

    See Also
    --------
    mask_image : the grey values that are drawn.

    References
    ----------
    Lee et al. 2020, Fig. 1.

    Examples
    --------
    >>> ax = draw_mask(torch.tensor([[True, False], [False, False]]))
    >>> ax.images[0].get_array().tolist()
    [[1.0, 0.0], [0.0, 0.0]]
    """
    image = mask_image(mask)
    ax = axes_of(ax)
    height, width = image.shape
    if aspect == "auto":  # stretched cells would be smoothed away along the longer side
        image = image.repeat(max(width // height, 1), axis=0).repeat(max(height // width, 1), axis=1)
    ax.imshow(image, cmap="gray", vmin=0, vmax=1, aspect=aspect, extent=(-0.5, width - 0.5, height - 0.5, -0.5))
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set(color=QUIET, linewidth=0.5)  # so that what is kept at the edge ends somewhere
    return ax


def mask_image(mask: Tensor) -> np.ndarray:
    """Return the grey values of a mask, `(out_dim, in_dim * kernel)`: 1 for kept and 0 for removed.

    A side of more than 2,048 cells is cut into 2,048 strips, and the grey is the kept share of each block.

    Raises
    ------
    DtypeError, ShapeError
        As ``draw_mask``.

    Examples
    --------
    >>> mask_image(torch.ones(2, 3, 5, 5, dtype=torch.bool)).shape
    (2, 75)
    """
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        got = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise DtypeError(f"`mask` must be a bool tensor; got {got}. Take one mask, such as masks['fc1.weight'].")
    if not mask.numel():
        raise ShapeError(f"`mask` must have entries; its shape is {tuple(mask.shape)}. Leave it out.")
    cells = mask.cpu().reshape(len(mask), -1).numpy() if mask.ndim > 1 else mask.cpu().reshape(1, -1).numpy()
    for axis in (0, 1):
        cells = _pooled(cells, axis)
    return cells.astype(np.float32)


def _pooled(cells: np.ndarray, axis: int) -> np.ndarray:
    """Return means over at most `_MAX_SIDE` strips along `axis`, as equal as whole cells allow."""
    side = cells.shape[axis]
    if side <= _MAX_SIDE:
        return cells
    starts = np.linspace(0, side, _MAX_SIDE, endpoint=False).astype(int)
    sums = np.add.reduceat(cells, starts, axis=axis, dtype=np.float32)
    widths = np.diff(starts, append=side).astype(np.float32)
    return sums / (widths[:, None] if axis == 0 else widths)
