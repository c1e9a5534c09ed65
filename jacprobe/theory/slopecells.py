"""The law of the squared slope of an activation between quadrature nodes: atoms, and cells of even density."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from jacprobe.theory.activations import activation
from jacprobe.theory.gaussian import Activation
from jacprobe.theory.meanfield import Spec
from jacprobe.theory.slopelaw import Cells, SlopeLaw

_PARTS = 8  # of an interval between quadrature nodes
_CELLS = 320
_MOST = 30_000  # parts beyond which a function is left to its nodes
_INSIDE = 1e-9  # of a part: slopes are taken this far from its ends, as they may jump there
_FLAT = 1e-13  # relative change of the slope in a part that counts as none
_HEAVY = 1e-4  # least mass of an atom
_SMALLEST = 1e-100  # of the largest square: less counts as so much


def slope_law(phi: Spec, q: float) -> SlopeLaw:
    """Return the law of phi'(u)^2 of a normal u of variance `q`, the `slope` of a ``LayerLaw``.

    Nodes and weights are those of ``Activation.slope_law``; where the law is continuous, cells say what lies between
    them, also where several branches of the function overlap.

    Parameters
    ----------
    phi
        Activation: a name, module or function, as for ``activation``.
    q
        Length of the pre-activations.

    Raises
    ------
    UnknownNameError, DtypeError, ArgumentError
        No such activation, `q` is not positive and finite, or a moment is infinite.

    Examples
    --------
    >>> slope_law("relu", 1.0)
    SlopeLaw(0.5 at 0, 0.5 at 1)
    """
    phi = activation(phi)
    values, weights = phi.slope_law(q)
    law = SlopeLaw.of(values, weights)
    cells = _cells(phi, float(q)) if len(law.values) > 2 else None
    return law if cells is None else law.with_cells(cells)


@lru_cache(maxsize=256)
def _cells(phi: Activation, q: float) -> Cells | None:
    """Return the atoms and the cells; None of a function too rough for them, or of atoms alone."""
    points = np.concatenate([phi.slope_nodes(q), [kink for kink in phi.kinks if kink**2 < 100 * q]])
    points = np.unique(points)
    steps = np.arange(_PARTS) / _PARTS
    points = np.append((points[:-1, None] + np.diff(points)[:, None] * steps).ravel(), points[-1])
    if len(points) > _MOST:
        return None
    inside = np.diff(points) * _INSIDE
    ends = phi.slopes(np.stack([points[:-1] + inside, points[1:] - inside])) ** 2
    masses = _normal_masses(points / np.sqrt(q))
    low, high = ends.min(0), ends.max(0)
    atoms, flat = _atoms(high, masses, flat=high - low <= _FLAT * high)
    low, high, masses = low[~flat], high[~flat], masses[~flat]
    if not len(low):
        return None
    low = np.maximum(low, _SMALLEST * high.max())
    high = np.maximum(high, low * (1 + _INSIDE))
    corners = np.sort(np.concatenate([low, high]))
    edges = np.append(corners[:: max(1, len(corners) // _CELLS)], corners[-1])
    edges = edges[np.concatenate([[True], np.diff(np.log(edges)) > _INSIDE])]
    return Cells(edges, np.diff(_cumulated(edges, low, high, masses)), atoms)


def _normal_masses(z: NDArray) -> NDArray[np.float64]:
    """Return the normal mass between neighbours, without cancellation in the upper tail."""
    below, above = ndtr(z), ndtr(-z)
    return np.where(z[:-1] > 0, above[:-1] - above[1:], below[1:] - below[:-1])


def _atoms(squares: NDArray, masses: NDArray, *, flat: NDArray) -> tuple[NDArray, NDArray[np.bool_]]:
    """Return the squared slopes of flat parts that together are heavy, or are 0, and which parts these are."""
    rounded = np.round(squares / squares.max(), 10)
    levels, place = np.unique(rounded[flat], return_inverse=True)
    heavy = (np.bincount(place, masses[flat], minlength=len(levels)) > _HEAVY) & (levels > 0)
    chosen = squares == 0
    chosen[flat] |= heavy[place]
    firsts = [squares[flat][place == level][0] for level in np.flatnonzero(heavy)]
    return np.array([0.0] * bool((squares == 0).any()) + firsts), chosen


def _cumulated(edges: NDArray, low: NDArray, high: NDArray, masses: NDArray) -> NDArray[np.float64]:
    """Return the mass below each edge of parts whose mass lies evenly between their ends."""
    total = np.zeros(len(edges))
    for first in range(0, len(low), 500):
        part = slice(first, first + 500)
        share = (edges[:, None] - low[part]) / (high[part] - low[part])
        total += np.clip(share, 0, 1) @ masses[part]
    return total
