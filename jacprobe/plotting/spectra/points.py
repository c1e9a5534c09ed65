"""What single values of a spectrum are resolved, as points that stand for their distribution."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from jacprobe.results import Spectrum

FACTS = ("zeros", "under_floor")
_SMALLEST_NODE = 1e-6  # of the largest: below it a node may be rounding
_GOLDEN = 0.6180339887498949  # its multiples are evenly spread modulo 1
_MAX_POINTS = 4096  # of one violin: a density of more order statistics looks the same and costs seconds


def shares(spectrum: Spectrum) -> dict[str, float]:
    """Return the shares of structural zeros, and of other values or nodes that are not resolved; NaN where unknown."""
    if not (spectrum.has_counted_zeros and spectrum.dim and spectrum.num_inputs):
        return dict.fromkeys(FACTS, np.nan)
    zeros = spectrum.num_zeros / (spectrum.num_inputs * spectrum.dim)
    if spectrum.density is not None:
        return {"zeros": zeros, "under_floor": max(0.0, spectrum.density.share(0, node_resolution(spectrum)) - zeros)}
    return {"zeros": zeros, "under_floor": spectrum.num_under_floor / (spectrum.num_inputs * spectrum.dim)}


def resolved(spectrum: Spectrum) -> NDArray:
    """Return the values above the floor of all inputs, increasing; structural zeros are not among them.

    For an estimate, evenly spaced quantiles of its nodes stand for the values.
    """
    if spectrum.density is not None:
        return _spread_nodes(spectrum)[0]
    if not spectrum.is_complete:
        return np.empty(0)
    values = spectrum.values.numpy().ravel()
    return np.sort(values[values > spectrum.resolution])


def _spread_nodes(spectrum: Spectrum) -> tuple[NDArray, NDArray]:
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


def violin_points(spectrum: Spectrum) -> NDArray:
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


def quantile(values: NDArray, masses: NDArray, share: float) -> float:
    """Return the smallest of increasing `values` that has at least `share` of all mass at or under it."""
    cumulated = masses.cumsum()
    return float(values[min(np.searchsorted(cumulated, share * cumulated[-1]), values.size - 1)])
