"""Figures as data URIs: pictures that a web page holds in itself."""

from __future__ import annotations

import base64
import io

import matplotlib
from matplotlib.figure import Figure
from matplotlib.image import imsave
from torch import Tensor

from jacprobe.plotting.artists.contexts import style
from jacprobe.plotting.masks import draw_mask, mask_image

_MOST_SVG = 250_000  # bytes; with more marks than that a raster is smaller, and quicker to show
_MOST_CELLS = 192  # along a side of a mask whose picture has a pixel per cell
_DPI = 192  # of a raster: two dots per pixel of a page


def embedded(figure: Figure, *, vector: bool | None = None) -> str:
    """Return `figure` as a data URI with a transparent background.

    Its text is drawn as outlines, so that it looks the same where no font is installed, and the same figure gives the
    same text.

    Parameters
    ----------
    figure
        Any matplotlib figure.
    vector
        SVG or, if False, PNG; by default SVG where it takes at most 250 kB.

    Examples
    --------
    >>> embedded(Figure(figsize=(1, 1)))[:26]
    'data:image/svg+xml;base64,'
    """
    if vector is not False:
        with matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": "jacprobe"}):
            picture = _saved(figure, format="svg", metadata={"Date": None})
        if vector or len(picture) <= _MOST_SVG:
            return _uri("image/svg+xml", picture)
    return _uri("image/png", _saved(figure, format="png", dpi=_DPI))


def embedded_mask(mask: Tensor) -> str:
    """Return the picture of a mask as the data URI of a PNG: a pixel per cell, or small squares of larger masks.

    Raises
    ------
    DtypeError, ShapeError
        As ``draw_mask``.
    """
    image = mask_image(mask)
    if max(image.shape) <= _MOST_CELLS:
        buffer = io.BytesIO()
        imsave(buffer, image, cmap="gray", vmin=0, vmax=1, format="png")
        return _uri("image/png", buffer.getvalue())
    with style("notebook"):
        ax = draw_mask(mask, aspect="auto")
        ax.figure.set_layout_engine("none")
        ax.figure.set_size_inches(0.75, 0.75)
        ax.set_position((0.0, 0.0, 1.0, 1.0))
        return embedded(ax.figure, vector=False)


def _saved(figure: Figure, **options: object) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, transparent=True, **options)
    return buffer.getvalue()


def _uri(kind: str, picture: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(picture).decode('ascii')}"
