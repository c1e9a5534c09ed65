"""One layer whose independent weights have unequal variances, as a structured mask leaves them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jacprobe.errors import ArgumentError, ShapeError
from jacprobe.theory.bands import Table
from jacprobe.theory.spectrallaw import SpectralLaw

_BLUR = 2e-3  # imaginary part of the spectral parameter, relative to the bound of the spectrum
_POINTS = 250
_TOLERANCE, _MOST_ROUNDS = 1e-4, 3000  # of a relative change
_FADED = 4e-3  # density, relative to the largest, where the blur of the upper end is cut


def profile_law(variances: ArrayLike) -> SpectralLaw:
    """Return the law of the singular values of a matrix of independent centred entries with these variances.

    Parameters
    ----------
    variances
        (out_dim, in_dim): variance of every entry, 0 where a mask removes it. For a given pruned matrix its squared
        entries do, or ``row_energies * column_energies`` as a product; such a product costs less, and goes into deep
        networks, as the `row_energies` and `column_energies` of a ``LayerLaw``.

    Returns
    -------
    SpectralLaw
        Of the min(out_dim, in_dim) singular values; rows and columns without variance give exact zeros. It is blurred
        by 0.2 % of the bound of the spectrum.

    Raises
    ------
    ShapeError
        `variances` is no matrix.
    ArgumentError
        An entry is negative or not finite, or all are 0.

    References
    ----------
    Ajanki, Erdos and Krueger 2017, Universality for general Wigner-type matrices: the quadratic vector equation
    ``-1/m_i = z + sum_j S_ij n_j``, ``-1/n_j = z + sum_i S_ij m_i``.

    Examples
    --------
    >>> law = profile_law(np.full((40, 40), 1 / 40))  # the quarter circle
    >>> bool(abs(law.mean - 0.8488) < 3e-3)
    True
    """
    profile = _checked(variances)
    small = min(profile.shape)
    live = profile[profile.any(1)][:, profile.any(0)]
    live = live if live.shape[0] <= live.shape[1] else live.T
    bound = float(np.sqrt(live.sum(1).max()) + np.sqrt(live.sum(0).max()))
    points = bound * (np.arange(_POINTS) + 0.5) / _POINTS
    density = _solution(live, points + 1j * _BLUR * bound).imag.mean(0)
    kept = np.arange(_POINTS) <= np.flatnonzero(density > _FADED * density.max())[-1]
    share = live.shape[0] / small
    table = Table(2 * np.log(points[kept]), share * density[kept] / density[kept].sum())
    return SpectralLaw(((0.0, 1 - share),) if share < 1 else (), (table,))


def _solution(profile: NDArray, z: NDArray) -> NDArray[np.complex128]:
    """Return m of the quadratic vector equation, (num_rows, num_points), by averaged iteration."""
    rows = np.full((profile.shape[0], len(z)), 1j)
    columns = np.full((profile.shape[1], len(z)), 1j)
    for _ in range(_MOST_ROUNDS):
        before = rows
        rows = (rows - 1 / (z + _times(profile, columns))) / 2
        columns = (columns - 1 / (z + _times(profile.T, rows))) / 2
        if np.abs(rows - before).max() < _TOLERANCE * np.abs(rows).max():
            return rows
    raise ArgumentError(f"`variances` must have a law that {_MOST_ROUNDS} rounds find; got one that does not settle. "
                        "Use `row_energies` and `column_energies` of a LayerLaw instead.")


def _times(profile: NDArray, vectors: NDArray) -> NDArray:
    """Return the product with a real matrix, without making it complex."""
    return profile @ vectors.real + 1j * (profile @ vectors.imag)


def _checked(variances: ArrayLike) -> NDArray[np.float64]:
    profile = np.asarray(variances, dtype=np.float64)
    if profile.ndim != 2:
        raise ShapeError(f"`variances` must be a matrix (out_dim, in_dim); got the shape {profile.shape}. "
                         "Flatten a kernel first.")
    if not (np.isfinite(profile).all() and (profile >= 0).all() and profile.any()):
        raise ArgumentError("`variances` must be finite, >= 0 and not all 0; got values from "
                            f"{profile.min()} to {profile.max()}. Pass squares of weights or of their scales.")
    return profile
