"""Where a law has its continuous part: intervals of t = log s^2 between gaps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from jacprobe.theory.bands import midpoints

_SILENT = 1e-11  # density over t that counts as a gap
_LEAST = 1e-7  # mass of a band that is looked at; a quadrature of a slope law leaves gaps in its far tail
_OFFSETS = np.geomspace(1e-9, 0.3, 60)  # distances from a peak that are looked at
_CUTS = 10.0 ** np.arange(-7, 1)  # distances from a peak where bands are cut
_NEAR = 0.15  # mass from 0 of a peak that is that sharp
_SECTIONS, _ROUNDS = 40, 6  # of the search for an end


def supports_of(
    density: Callable[[NDArray], NDArray],
    low: float,
    high: float,
    *,
    num_points: int,
    peaks: Sequence[tuple[float, float]] = (),
) -> list[tuple[float, float]]:
    """Return the ends of the bands within [low, high], found on `num_points` and refined by sections.

    `peaks` are the places and masses of atoms, or what they lack (<= 0) where one nearly forms. Bands come as close to
    them as their masses are small, and rise sharply there: they are cut in ever shorter ones.
    """
    offsets, steps = (np.concatenate([-distances, distances]) for distances in (_OFFSETS, _CUTS))
    graded = [peak + offsets for peak, _ in peaks]
    inner = (low + high) / 2 - (high - low) / 2 * np.cos(midpoints(num_points))
    inner = np.unique(np.concatenate([inner, *graded]))
    inner = inner[(inner > low) & (inner < high)]
    points = np.concatenate([[low], inner, [high]])
    heights = density(inner)
    masses = heights * (points[2:] - points[:-2]) / 2
    active = heights > _SILENT
    starts = np.flatnonzero(np.diff(np.concatenate([[False], active, [False]]).astype(int)))
    # with nothing lacking the density is an inverse square root on both sides, and one cut is enough
    near = [peak + np.append(steps if mass else [], 0.0) for peak, mass in peaks if abs(mass) < _NEAR]
    cuts = np.unique(np.concatenate([[], *near]))
    bands = []
    for first, behind in zip(starts[::2], starts[1::2], strict=True):
        if masses[first:behind].sum() < _LEAST:
            continue
        # points[first + 1] is the first active point, points[behind] the last
        lower = low if first == 0 else _end(density, points[first], points[first + 1])
        upper = high if behind == len(inner) else _end(density, points[behind + 1], points[behind])
        edges = [lower, *cuts[(cuts > lower) & (cuts < upper)], upper]
        bands.extend(zip(edges[:-1], edges[1:], strict=True))
    return bands


def _end(density: Callable[[NDArray], NDArray], outside: float, inside: float) -> float:
    """Return the end of a band between a point outside and one inside it."""
    for _ in range(_ROUNDS):
        points = np.linspace(outside, inside, _SECTIONS)
        active = np.concatenate([[False], density(points[1:-1]) > _SILENT, [True]])
        first = int(np.argmax(active))
        outside, inside = points[first - 1], points[first]
    return (outside + inside) / 2
