"""The numbers of the layer figure, apart from its drawing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import NormalDist

import numpy as np
import pandas as pd
import torch

from jacprobe.errors import ArgumentError, DtypeError
from jacprobe.results import Spectrum, SpectrumSet
from jacprobe.results.order import merged_order

FACTS = ("zeros", "under_floor")
STATISTICS = {"min": 0.0, "q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "max": 1.0}
END_TO_END = "end to end"
RANGE = ("low", "top", "high")
_SMALLEST_NODE = 1e-6  # of the largest: below it a node may be rounding
_GOLDEN = 0.6180339887498949  # its multiples are evenly spread modulo 1
_MAX_POINTS = 4096  # of one violin: a density of more order statistics looks the same and costs seconds


def layers_data(results: SpectrumSet | Mapping[str, SpectrumSet], *, end_to_end: bool = True) -> pd.DataFrame:
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
    return layer_table(check_sets(results, "results"), end_to_end=end_to_end).drop(columns="spectrum")


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
        **(shares(spectrum) if spectrum.has_counted_zeros and spectrum.dim else dict.fromkeys(FACTS, np.nan)),
        **{key: float(np.quantile(kept, q)) if kept.size else np.nan for key, q in STATISTICS.items()},
        **(dict.fromkeys(RANGE, np.nan) if whole else _range(spectrum)),
        "reason": spectrum.reason,
        "spectrum": spectrum,
    }


def shares(spectrum: Spectrum) -> dict[str, float]:
    """Return the shares of structural zeros, and of other values or nodes that are not resolved."""
    zeros = spectrum.num_zeros / (spectrum.num_inputs * spectrum.dim)
    if spectrum.density is not None:
        return {"zeros": zeros, "under_floor": max(0.0, spectrum.density.share(0, node_resolution(spectrum)) - zeros)}
    return {"zeros": zeros, "under_floor": spectrum.num_under_floor / (spectrum.num_inputs * spectrum.dim)}


def _range(spectrum: Spectrum) -> dict[str, float]:
    """Return where the values lie of which there are only bounds, and from where on the largest do."""
    known = spectrum.intervals()
    if known is None or not known.upper.numel():
        return dict.fromkeys(RANGE, np.nan)
    low = 0.0 if known.rest.any() else float(known.lower.min())
    top = known.lower if spectrum.values is not None else known.lower[:, :1]
    return {"low": low, "top": float(top.min()), "high": float(known.upper.max())}


def check_sets(results: object, name: str) -> dict[str, SpectrumSet]:
    """Return `results`, called `name` in messages, as checked sets by name; one set alone is named ""."""
    named = dict(results) if isinstance(results, Mapping) else {"": results}
    if not named:
        raise ArgumentError(f"`{name}` must hold at least one SpectrumSet; got an empty mapping. Probe a model first.")
    for key, result in named.items():
        where = f" for {key!r}" if isinstance(results, Mapping) else ""
        if not isinstance(result, SpectrumSet):
            got = f"{type(result).__name__}{where}"
            raise DtypeError(f"`{name}` must hold SpectrumSets; got {got}. Probe a model first.")
        if not result.layers:
            kinds = ", ".join(dict.fromkeys(s.kind for s in result)) or "an empty set"
            raise ArgumentError(f"`{name}` must hold layers; got {kinds}{where}. Probe with kind='layers'.")
    return {str(key): result for key, result in named.items()}


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


def resolved(spectrum: Spectrum) -> np.ndarray:
    """Return the values above the floor of all inputs, increasing; structural zeros are not among them.

    For an estimate, evenly spaced quantiles of its nodes stand for the values.
    """
    if spectrum.density is not None:
        return _spread_nodes(spectrum)[0]
    if not spectrum.is_complete:
        return np.empty(0)
    values = spectrum.values.numpy().ravel()
    return np.sort(values[values > spectrum.resolution])


def _spread_nodes(spectrum: Spectrum) -> tuple[np.ndarray, np.ndarray]:
    """Return evenly spaced quantiles of the resolved nodes of all probes, increasing, and the spacing around each."""
    density = spectrum.density
    weights = density.weights * (density.dim - density.zeros)[:, None, None]
    real = weights > 0
    smallest = torch.where(real, density.nodes, torch.inf).amin(2, keepdim=True)
    spacing = (density.nodes.amax(2, keepdim=True) - smallest) / real.sum(2, keepdim=True)
    kept = real & (density.nodes > node_resolution(spectrum))
    nodes, weights, spacing = (part[kept].numpy() for part in (density.nodes, weights, spacing.expand_as(weights)))
    if not nodes.size:
        return nodes, spacing
    order = np.argsort(nodes)
    edges = weights[order].cumsum() / weights.sum()
    chosen = order[np.searchsorted(edges, (np.arange(_MAX_POINTS) + 0.5) / _MAX_POINTS * edges[-1])]
    return nodes[chosen], spacing[chosen]


def node_resolution(spectrum: Spectrum) -> float:
    """Return what a node must exceed to count as a value that is not 0."""
    return max(spectrum.resolution, _SMALLEST_NODE * spectrum.density.maximum)


def violin_points(spectrum: Spectrum) -> np.ndarray:
    """Return at most 4096 evenly spaced order statistics of the resolved values; none if these are too alike.

    Those of an estimate are blurred by half the spacing of its nodes, which is what it resolves, within their range.
    """
    kept = resolved(spectrum)
    if not kept.size or is_flat(kept[0], kept[-1]):
        return np.empty(0)
    if spectrum.density is not None:
        nodes, spacing = _spread_nodes(spectrum)
        normal = NormalDist().inv_cdf
        jitter = np.array([normal(share) for share in (0.5 + _GOLDEN * np.arange(nodes.size)) % 1])
        blurred = nodes + spacing / 2 * jitter
        return np.sort(blurred[(blurred >= nodes[0]) & (blurred <= nodes[-1])])
    if kept.size > _MAX_POINTS:
        kept = kept[np.linspace(0, kept.size - 1, _MAX_POINTS).round().astype(int)]
    return kept


def is_flat(low: float | pd.Series, high: float | pd.Series) -> bool | pd.Series:
    """Whether a distribution is narrower than a line on paper; its density would be ill-conditioned."""
    return high - low <= 1e-3 * high
