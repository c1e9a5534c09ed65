"""Where a law has its continuous part: intervals of t = log s^2 between gaps."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from jacprobe.theory.bands import midpoints

_SILENT = 1e-11  # density over t that counts as a gap
_LEAST = 1e-7  # mass of a band that is looked at; a quadrature of a slope law leaves gaps in its far tail
_SECTIONS, _ROUNDS = 40, 6  # of the search for an end


def supports_of(
    density: Callable[[NDArray], NDArray], low: float, high: float, *, num_points: int, splits: Iterable[float] = ()
) -> list[tuple[float, float]]:
    """Return the ends of the bands within [low, high], found on `num_points` and refined by sections.

    `splits` are points where the density may have a singularity; a band ends there and another begins.
    """
    angles = midpoints(num_points)
    inner = (low + high) / 2 - (high - low) / 2 * np.cos(angles)
    heights = density(inner)
    masses = heights * np.sin(angles) * (high - low) / 2 * np.pi / num_points
    active = heights > _SILENT
    points = np.concatenate([[low], inner, [high]])
    starts = np.flatnonzero(np.diff(np.concatenate([[False], active, [False]]).astype(int)))
    bands = []
    for first, behind in zip(starts[::2], starts[1::2]):
        if masses[first:behind].sum() < _LEAST:
            continue
        # points[first + 1] is the first active point, points[behind] the last
        lower = low if first == 0 else _end(density, points[first], points[first + 1])
        upper = high if behind == num_points else _end(density, points[behind + 1], points[behind])
        edges = [lower, *sorted(split for split in splits if lower + 1e-9 < split < upper - 1e-9), upper]
        bands.extend(zip(edges[:-1], edges[1:]))
    return bands


def _end(density: Callable[[NDArray], NDArray], outside: float, inside: float) -> float:
    """Return the end of a band between a point outside and one inside it."""
    for _ in range(_ROUNDS):
        points = np.linspace(outside, inside, _SECTIONS)
        active = np.concatenate([[False], density(points[1:-1]) > _SILENT, [True]])
        first = int(np.argmax(active))
        outside, inside = points[first - 1], points[first]
    return (outside + inside) / 2
