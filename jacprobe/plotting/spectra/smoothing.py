"""Densities of singular values, blurred by a Gaussian: of values, of laws, and of all that a band leaves open."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from jacprobe.plotting.spectra.distribution import Distribution
from jacprobe.theory.spectrallaw import SpectralLaw

_CELLS = 2400  # of the axis, into which a law or a band is cut
_REACH = 6  # standard deviations from which on a Gaussian is nothing
_AT_A_TIME = 2**22  # numbers held at a time
_ROOT = np.sqrt(2 * np.pi)


def smoothed(values: NDArray, masses: NDArray, places: NDArray, width: float, *, log: bool) -> NDArray:
    """Return the density of point masses at `places`, blurred by a Gaussian of standard deviation `width`.

    On a logarithmic axis places and width are in decades. A linear one ends at 0, where the blur is reflected, so that
    no mass leaves it.
    """
    points = np.log10(values) if log else values
    step = max(1, _AT_A_TIME // max(points.size, 1))
    return np.concatenate([_blurred(points, masses, part, width, log=log)
                           for part in np.split(places, range(step, places.size, step))])


def _blurred(points: NDArray, masses: NDArray, places: NDArray, width: float, *, log: bool) -> NDArray:
    height = _gaussian(places[:, None] - points, width) @ masses
    return height if log else height + _gaussian(places[:, None] + points, width) @ masses


def smoothed_law(law: SpectralLaw, places: NDArray, width: float, *, log: bool) -> NDArray:
    """Return the density of a law without its mass at 0, blurred as ``smoothed`` does."""
    edges = _edges(places, width, log=log)
    ends = 10.0**edges if log else np.maximum(edges, 0)
    middles = (edges[1:] + edges[:-1]) / 2
    kept = np.ones(middles.shape, dtype=bool) if log else middles > 0
    masses = np.diff(law.cdf(ends))[kept]
    return smoothed(10.0 ** middles[kept] if log else middles[kept], masses, places, width, log=log)


def windowed_law(law: SpectralLaw, places: NDArray, width: float, *, log: bool) -> NDArray:
    """Return the density of a law without its mass at 0, averaged over `width` around each of `places`.

    That is what a bin of a histogram shows of it; places and width are in decades where `log`.
    """
    low, high = places - width / 2, places + width / 2
    low, high = (10.0**low, 10.0**high) if log else (np.maximum(low, 0), high)
    return (law.cdf(high) - law.cdf(low)) / (width if log else high - low)


def smoothed_band(distribution: Distribution, places: NDArray, width: float, *, log: bool) -> tuple[NDArray, NDArray]:
    """Return what the blurred density is at least and at most, for every distribution in the band of this one.

    The density is the integral of the distribution function times a kernel, by parts; on either side of a place the
    kernel has one sign, and so each side takes one end of the band.
    """
    edges = _edges(places, width, log=log)
    middles, step = (edges[1:] + edges[:-1]) / 2, edges[1] - edges[0]
    zeros = np.nan_to_num(distribution.zeros)
    least, most = (np.maximum(end - zeros, 0) for end in distribution.band(10.0**middles if log else np.abs(middles)))
    if not log:  # the mirror image of a function that is 0 at 0 is odd
        least, most = np.where(middles < 0, -most, least), np.where(middles < 0, -least, most)
    away = middles - places[:, None]
    kernel = away / width**2 * _gaussian(away, width) * step
    right, left = np.maximum(kernel, 0), np.minimum(kernel, 0)
    return np.maximum(right @ least + left @ most, 0), right @ most + left @ least


def _edges(places: NDArray, width: float, *, log: bool) -> NDArray:
    low, high = places[0] - _REACH * width, places[-1] + _REACH * width
    if log:
        return np.linspace(low, high, _CELLS + 1)
    step = high / (_CELLS // 2)
    return np.arange(np.floor(min(low, -step) / step), _CELLS // 2 + 1) * step  # 0 is an edge


def _gaussian(x: NDArray, width: float) -> NDArray:
    return np.exp(-0.5 * (x / width) ** 2) / (_ROOT * width)
