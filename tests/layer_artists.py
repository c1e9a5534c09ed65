"""Spectra for the layer figure, and what its artists show."""

import numpy as np
import torch
from matplotlib.collections import LineCollection, PathCollection, PolyCollection

from jacprobe.results import Spectrum, SpectrumSet


def spectrum(name, rows, *, zeros=0, kind="layer", floor=1e-15):
    values = torch.tensor(rows, dtype=torch.float64)
    zeros = torch.full((len(values),), zeros)
    dim = values.shape[1]
    return Spectrum(name, kind, "a", "b", dim, dim, len(values), values=values, zeros=zeros, floor=floor, label="exact")


def unknown(name):
    return Spectrum(name, "layer", None, None, None, None, 1, reason="module is never called")


def spread(name, *, low=0.1, high=2.0, num=20, **kwargs):
    return spectrum(name, [np.geomspace(high, low, num).tolist()], **kwargs)


def violins(ax):
    return [c for c in ax.collections if isinstance(c, PolyCollection)]


def ridges(ax):
    """Return (left, right, top, base) of every ridge."""
    found = [c.get_paths()[0].vertices for c in violins(ax) if len(c.get_paths())]
    return [(v[:, 0].min(), v[:, 0].max(), v[:, 1].min(), v[:, 1].max()) for v in found]


def inset(ax, label):
    (found,) = [child for child in ax.child_axes if child.get_label() == label]
    return found


def words(ax):
    return [text.get_text() for text in ax.texts]


def names(ax):
    return [tick.get_text() for tick in ax.get_xticklabels()]


def flat_lines(ax):
    """Return x extent and height of the lines that stand for distributions without width."""
    segments = [s for c in ax.collections if isinstance(c, LineCollection) for s in c.get_segments()]
    return [(s[0, 0], s[1, 0], s[0, 1]) for s in segments if s[0, 0] != s[1, 0]]


def medians(ax):
    white = [c for c in ax.collections if isinstance(c, PathCollection) and len(c.get_offsets())
             and c.get_facecolor()[0, :3].tolist() == [1, 1, 1]]
    return white[0].get_offsets().data.tolist()


def strip_bars(ax, label):
    (strip,) = ax.child_axes
    for container in strip.containers:
        if container.get_label() == label:
            return [(bar.get_x() + bar.get_width() / 2, bar.get_height()) for bar in container]
    return []


DENSE = SpectrumSet((spread("fc1"), spread("fc2"), spread("e2e", kind="end_to_end", low=0.01)))
PRUNED = SpectrumSet((spread("fc1", low=0.01), spectrum("fc2", [[0.5, 0.2, 0.1, 0.0], [0.4, 0.3, 0.2, 0.0]], zeros=1)))
