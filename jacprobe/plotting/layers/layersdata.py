"""The numbers of the layer figure, apart from its drawing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from jacprobe.plotting.arguments import ManySets, check_sets
from jacprobe.plotting.spectra.points import resolved, shares
from jacprobe.plotting.spectra.segments import END_TO_END
from jacprobe.results import Spectrum, SpectrumSet
from jacprobe.results.order import merged_order

STATISTICS = {"min": 0.0, "q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "max": 1.0}
RANGE = ("low", "top", "high")


def layers_data(results: ManySets, *, end_to_end: bool = True) -> pd.DataFrame:
    """Return the numbers that ``draw_layers`` and ``plot_layers`` draw: one row per set and segment.

    Parameters
    ----------
    results
        One set, or several by name. Layers are matched by name.
    end_to_end
        Whether to add the end-to-end spectrum of the sets that have one.

    Returns
    -------
    DataFrame
        Columns: set, segment, position (on the x axis), label (exact, bounded, estimated or none); zeros and
        under_floor, the shares in [0, 1] of values that are zero by structure, and of others at or under the floor;
        min, q05, q25, median, q75, max of the remaining values, NaN where none remain or single values are not known;
        of an estimate those of its nodes, so that min and max lie inside the true range. Where there are only bounds,
        low and high are the ends of the range of all values that are no structural zeros, and top is the lower end of
        what is known of the largest; else NaN. reason (why there is no spectrum).

    Raises
    ------
    DtypeError
        `results` or one of its values is no SpectrumSet.
    ArgumentError
        `results` is empty, or one of its sets has no layer.

    Examples
    --------
    >>> import torch
    >>> values = torch.tensor([[4.0, 2.0, 1.0, 0.0]], dtype=torch.float64)
    >>> layer = Spectrum("fc1", "layer", "input", "fc1", 4, 4, 1, values=values, zeros=torch.tensor([1]), floor=1e-15)
    >>> layers_data(SpectrumSet((layer,)))[["segment", "zeros", "median"]]
      segment  zeros  median
    0     fc1   0.25     2.0
    """
    return layer_table(check_sets(results, "results", with_layers=True), end_to_end=end_to_end).drop(columns="spectrum")


def layer_table(results: Mapping[str, SpectrumSet], *, end_to_end: bool) -> pd.DataFrame:
    """Return ``layers_data`` of checked sets, with the spectrum of each row in a last column."""
    return pd.DataFrame([_row(*entry) for entry in _entries(results, end_to_end=end_to_end)])


def _row(name: str, segment: str, position: float, spectrum: Spectrum) -> dict[str, object]:
    kept = resolved(spectrum)
    whole = spectrum.is_complete or spectrum.density is not None
    return {
        "set": name,
        "segment": segment,
        "position": position,
        "label": spectrum.label,
        **shares(spectrum),
        **{key: float(np.quantile(kept, q)) if kept.size else np.nan for key, q in STATISTICS.items()},
        **(dict.fromkeys(RANGE, np.nan) if whole else _range(spectrum)),
        "reason": spectrum.reason,
        "spectrum": spectrum,
    }


def _range(spectrum: Spectrum) -> dict[str, float]:
    """Return where the values lie of which there are only bounds, and from where on the largest do."""
    known = spectrum.intervals()
    if known is None or not known.upper.numel():
        return dict.fromkeys(RANGE, np.nan)
    low = 0.0 if known.rest.any() else float(known.lower.min())
    top = known.lower if spectrum.values is not None else known.lower[:, :1]
    return {"low": low, "top": float(top.min()), "high": float(known.upper.max())}


def _entries(results: Mapping[str, SpectrumSet], *, end_to_end: bool) -> Iterator[tuple[str, str, float, Spectrum]]:
    """Yield set, segment, position and spectrum: layers at 0, 1, ..., end to end half a slot apart after them."""
    order = {segment: float(index) for index, segment in enumerate(layer_order(results))}
    for name, result in results.items():
        for spectrum in result:
            if spectrum.kind == "layer":
                yield name, spectrum.segment, order[spectrum.segment], spectrum
            elif spectrum.kind == "end_to_end" and end_to_end:
                yield name, END_TO_END, len(order) + 0.5, spectrum


def layer_order(results: Mapping[str, SpectrumSet]) -> list[str]:
    """Return the layers of all sets in forward order: a layer the first sets lack follows its predecessor.

    Examples
    --------
    >>> layer = lambda name: Spectrum(name, "layer", None, None, None, None, 0)
    >>> layer_order({"a": SpectrumSet((layer("x"), layer("z"))), "b": SpectrumSet((layer("x"), layer("y")))})
    ['x', 'y', 'z']
    """
    return merged_order(result.layers for result in results.values())


