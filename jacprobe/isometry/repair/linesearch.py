"""The exact minimum of a quartic, along which a squared distance from isometry runs on every line."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def quartic_minimum(coefficients: Tensor) -> Tensor:
    """Return the place of the least value of ``a1 t + a2 t^2 + a3 t^3 + a4 t^4`` for each row of coefficients.

    ``W + t D`` has the Gram matrix ``A + t B + t^2 C``, so that its squared distance from another matrix is such a
    quartic, and its least value lies at a root of a cubic.

    Parameters
    ----------
    coefficients
        float64 `(num, 4)`: a1 to a4, with ``a4 >= 0``. The unit of t should be such that roots are not tiny.

    Returns
    -------
    Tensor
        `(num,)`; 0 where the quartic is constant.

    Examples
    --------
    >>> quartic_minimum(torch.tensor([[-8.0, 0.0, 0.0, 2.0], [-4.0, 2.0, 0.0, 0.0]])).tolist()
    [1.0, 1.0]
    """
    values = coefficients.detach().cpu().double().numpy()
    slope = values * np.arange(1, 5)  # of the derivative, lowest power first
    found = np.zeros(len(values))
    cubic = slope[:, 3] > 1e-14 * np.abs(slope[:, :3]).max(1, initial=0.0)
    if cubic.any():
        found[cubic] = _least(values[cubic], _roots(slope[cubic]))
    for i in np.flatnonzero(~cubic):  # of lower degree: the direction is tiny, or only a quadratic penalty has it
        roots = np.roots(np.trim_zeros(slope[i, ::-1], "f"))
        real = roots[np.abs(roots.imag) <= 1e-8 * (1 + np.abs(roots))].real
        found[i] = _least(values[i : i + 1], real[None])[0] if len(real) else 0.0
    return torch.from_numpy(found).to(coefficients.device)


def _roots(slope: np.ndarray) -> np.ndarray:
    """Return the roots of cubics by their companion matrices, complex ones by their real part."""
    companion = np.zeros((len(slope), 3, 3))
    companion[:, 0] = -slope[:, 2::-1] / slope[:, 3:]
    companion[:, 1, 0] = companion[:, 2, 1] = 1
    roots = np.linalg.eigvals(companion).real
    for _ in range(2):  # Newton steps, which the ends of a cubic with roots far apart need
        value = slope[:, :1] + roots * (slope[:, 1:2] + roots * (slope[:, 2:3] + roots * slope[:, 3:]))
        steep = slope[:, 1:2] + roots * (2 * slope[:, 2:3] + 3 * roots * slope[:, 3:])
        step = np.divide(value, steep, out=np.zeros_like(value), where=steep > 0)
        roots = np.where(np.abs(step) < 0.1 * np.abs(roots), roots - step, roots)
    return roots


def _least(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    a1, a2, a3, a4 = (values[:, i : i + 1] for i in range(4))
    heights = places * (a1 + places * (a2 + places * (a3 + places * a4)))
    best = heights.argmin(1)
    chosen = np.take_along_axis(places, best[:, None], 1)[:, 0]
    return np.where(heights.min(1) < 0, chosen, 0.0)
