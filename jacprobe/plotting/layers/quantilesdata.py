"""Quantiles of the singular values per layer, with the shares that are zero or not resolved below them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from jacprobe.plotting.arguments import ManySets, check_sets, check_whole
from jacprobe.plotting.layers.layersdata import layer_table
from jacprobe.plotting.spectra.points import resolved
from jacprobe.results import Spectrum


def quantiles_data(results: ManySets, *, num_quantiles: int = 50, end_to_end: bool = True) -> pd.DataFrame:
    """Return the numbers that ``draw_quantiles`` and ``plot_quantiles`` draw: one row per set, segment and quantile.

    Parameters
    ----------
    results
        One set, or several by name. Layers are matched by name.
    num_quantiles
        How many equal shares the values of a segment are cut into; each is seen at its middle.
    end_to_end
        Whether to add the end-to-end spectrum of the sets that have one.

    Returns
    -------
    DataFrame
        Columns: set, segment, position, label, share (in (0, 1), of all values, from the smallest), value (the
        quantile; of a share that zeros or the floor cover only in part, its smallest value; NaN where there is no
        value above the floor), state (at the middle): "value", "zero" (by structure), "under floor" or
        "unknown" (no single values are known, so also for bounds); zeros and under_floor (the exact shares of the
        segment), reason.

    Raises
    ------
    DtypeError
        `results` or one of its values is no SpectrumSet.
    ArgumentError
        `results` is empty, or one of its sets has no layer; `num_quantiles` is no positive integer.

    Examples
    --------
    >>> import torch
    >>> from jacprobe.results import SpectrumSet
    >>> values = torch.tensor([[4.0, 2.0, 1.0, 0.0]], dtype=torch.float64)
    >>> layer = Spectrum("fc1", "layer", "input", "fc1", 4, 4, 1, values=values, zeros=torch.tensor([1]), floor=1e-15)
    >>> quantiles_data(SpectrumSet((layer,)), num_quantiles=4)[["share", "value", "state"]]
       share  value  state
    0  0.125    NaN   zero
    1  0.375    1.0  value
    2  0.625    2.0  value
    3  0.875    4.0  value
    """
    check_whole(num_quantiles, "num_quantiles", 1, 50)
    table = layer_table(check_sets(results, "results", with_layers=True), end_to_end=end_to_end)
    shares = (np.arange(num_quantiles) + 0.5) / num_quantiles
    parts = []
    for row in table.itertuples():
        values, states = _quantiles(row.spectrum, shares, row.zeros, row.under_floor)
        parts.append(pd.DataFrame({"set": row.set, "segment": row.segment, "position": row.position,
                                   "label": row.label, "share": shares, "value": values, "state": states,
                                   "zeros": row.zeros, "under_floor": row.under_floor, "reason": row.reason}))
    return pd.concat(parts, ignore_index=True)


def _quantiles(spectrum: Spectrum, shares: np.ndarray, zeros: float, under: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the values at `shares` of all values, and what stands there."""
    if not (spectrum.is_complete or spectrum.density is not None):
        return np.full(len(shares), np.nan), np.full(len(shares), "unknown")
    kept = resolved(spectrum)
    hidden = np.nan_to_num(zeros) + np.nan_to_num(under)
    states = np.where(shares < np.nan_to_num(zeros), "zero", np.where(shares < hidden, "under floor", "value"))
    if not kept.size:
        return np.full(len(shares), np.nan), np.where(states == "value", "under floor", states)
    inner = np.clip((shares - hidden) / max(1 - hidden, 1e-12), 0, 1)
    uncovered = shares + shares[0] > hidden + 1e-9  # a part at the top, whose values would else look like none
    return np.where(uncovered, np.quantile(kept, inner, method="inverted_cdf"), np.nan), states
