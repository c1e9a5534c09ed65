"""Densities of the singular values per layer, on one axis for all of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import gaussian_kde

from jacprobe.plotting.arguments import ManySets, check_sets
from jacprobe.plotting.layers.layersdata import layer_table
from jacprobe.plotting.spectra.points import is_flat, violin_points

_NUM_POINTS = 161  # of a curve
_MOST_VALUES = 1024  # that a density is made of; more look the same
_NARROWER = 0.7  # than Scott's rule, as in the violins


def ridges_data(results: ManySets, *, log: bool = True, end_to_end: bool = True) -> pd.DataFrame:
    """Return the curves that ``draw_ridges``, ``plot_ridges`` and ``draw_comparison`` draw: one row per point.

    Parameters
    ----------
    results
        One set, or several by name. Layers are matched by name.
    log
        Whether the densities are those of the logarithms.
    end_to_end
        Whether to add the end-to-end spectrum of the sets that have one.

    Returns
    -------
    DataFrame
        Columns: set, segment, position, label, x (a singular value), density (of the values above the floor, the
        highest of each curve being 1). A distribution without width, or none, has no rows; ``layers_data`` has its
        median, its zeros and its bounds.

    Raises
    ------
    DtypeError
        `results` or one of its values is no SpectrumSet.
    ArgumentError
        `results` is empty, or one of its sets has no layer.

    Examples
    --------
    >>> import torch
    >>> from jacprobe.results import Spectrum, SpectrumSet
    >>> values = torch.tensor([[2.0, 1.0, 0.5]], dtype=torch.float64)
    >>> layer = Spectrum("fc1", "layer", "input", "fc1", 3, 3, 1, values=values, floor=1e-15, label="exact")
    >>> curve = ridges_data(SpectrumSet((layer,)))
    >>> curve.loc[curve["density"].idxmax(), "x"].round(6), curve["x"].min(), curve["x"].max()
    (np.float64(1.0), np.float64(0.5), np.float64(2.0))
    """
    return curves_of(layer_table(check_sets(results, "results", with_layers=True), end_to_end=end_to_end), log=log)


def curves_of(table: pd.DataFrame, *, log: bool) -> pd.DataFrame:
    """Return the curves of a ``layer_table``."""
    columns = ["set", "segment", "position", "label", "x", "density"]
    parts = []
    for row in table.itertuples():
        x, height = _curve(violin_points(row.spectrum), log=log)
        if x.size:
            facts = {name: getattr(row, name) for name in columns[:4]}
            parts.append(pd.DataFrame({**facts, "x": x, "density": height}))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def _curve(points: np.ndarray, *, log: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return a density between the smallest and the largest of increasing `points`, at most 1."""
    if points.size < 2 or is_flat(points[0], points[-1]):
        return np.empty(0), np.empty(0)
    if points.size > _MOST_VALUES:
        points = points[np.linspace(0, points.size - 1, _MOST_VALUES).round().astype(int)]
    where = np.log(points) if log else points
    kernel = gaussian_kde(where)
    kernel.set_bandwidth(kernel.factor * _NARROWER)
    grid = np.linspace(where[0], where[-1], _NUM_POINTS)
    height = kernel(grid)
    x = np.exp(grid) if log else grid
    x[[0, -1]] = points[[0, -1]]
    return x, height / height.max()
