"""What kind of random matrix a layer's weights are, told from their own numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jacprobe.errors import ArgumentError
from jacprobe.theory.layerlaw import LayerLaw
from jacprobe.theory.product import product_moments

_ISOMETRIC = 1e-3  # relative variance, over that of independent entries, below which a matrix counts as orthogonal
_NOISE = 12.0  # over the smaller dimension: six standard deviations of a relative variance, relative to it
_CERTAIN = 8.0  # standard deviations by which energies of rows or columns must vary more than those of random entries
_MATTERS = 0.02  # squared coefficient of variation of energies that is worth a profile


@dataclass(frozen=True, eq=False)
class WeightKind:
    """Weights of one layer as the theory sees them.

    Attributes
    ----------
    weight, sigma_w2, row_energies, column_energies
        As for ``LayerLaw``.
    variance
        Variance of a weight times the fan-in, zeros included: what lengths are multiplied by.
    density
        Share of the weights that are kept.
    reasons
        Why this is an approximation; nothing where it is the limit of large width.
    """

    weight: str | float
    sigma_w2: float
    variance: float
    density: float
    row_energies: NDArray | None = None
    column_energies: NDArray | None = None
    reasons: tuple[str, ...] = ()


def kind_of_weights(kernel: NDArray, dense: NDArray | None, *, name: str) -> WeightKind:
    """Classify the weights of a linear layer or of a circular convolution of stride 1.

    Parameters
    ----------
    kernel
        (out_channels, in_channels, *taps): the weights in use, 0 where a mask removes one; no taps for a linear layer.
    dense
        The weights before the mask, where there is a mask and they are known.
    name
        Of the layer, for messages.

    Raises
    ------
    ArgumentError
        All weights are 0.

    Notes
    -----
    Orthogonal, Gaussian and masked orthogonal matrices differ in the relative variance of their squared singular
    values, two traces of the smaller Gram matrix: 0, 1 and ``1 - e^2`` of what independent entries have. Where the
    dense weights are known, ``e`` is the share of their energy that is kept.
    """
    energy, squares = float((kernel**2).sum()), kernel**2
    if not energy:
        raise ArgumentError(f"`model` must keep a weight in every layer; got none in {name!r}. No signal passes it.")
    out_dim, in_dim = kernel.shape[:2]
    axes = tuple(range(2, kernel.ndim))
    rows, columns = squares.sum((1, *axes)), squares.sum((0, *axes))
    facts = {"sigma_w2": energy / min(out_dim, in_dim), "variance": energy / out_dim,
             "density": float((kernel != 0).mean())}
    observed, independent = relative_variance(kernel), independent_variance(kernel)
    if observed < _ISOMETRIC * independent:
        turned = ("orthogonal on few weights, which is no uniform rotation",) if facts["density"] < 1 else ()
        return WeightKind("orthogonal", reasons=turned, **facts)
    row_excess, column_excess = _excess(rows, columns, kernel)
    if dense is None:
        share, reasons = _share(observed - (row_excess + column_excess) * independent, independent, kernel.shape)
    else:
        share, reasons = _share(relative_variance(dense), independent_variance(dense), kernel.shape)
        share *= energy / float((dense**2).sum())
    if row_excess or column_excess:
        reasons += (f"the mask has structure: energies of rows and columns vary by CV^2 {_cv2(rows):.2f} and "
                    f"{_cv2(columns):.2f}",)
    weight = "gaussian" if share == 0 else "orthogonal" if share == 1 else share
    kind = WeightKind(weight, facts["variance"] if share == 0 else facts.pop("sigma_w2"), facts["variance"],
                      facts["density"], rows if row_excess else None, columns if column_excess else None)
    return _compared(kind, kernel, observed, reasons)


def relative_variance(kernel: NDArray) -> float:
    """Return Var(s^2) / E[s^2]^2 of the smaller side, by the Gram matrix, over all frequencies of a circular kernel.

    The mean over frequencies is exact: products of two kernels have at most ``2 k - 1`` taps along an axis.
    """
    blocks = kernel
    if kernel.ndim > 2:
        axes = tuple(range(2, kernel.ndim))
        spectrum = np.fft.fftn(kernel, s=[2 * size - 1 for size in kernel.shape[2:]], axes=axes)
        blocks = np.moveaxis(spectrum.reshape(*kernel.shape[:2], -1), -1, 0)
    blocks = blocks if blocks.shape[-2] <= blocks.shape[-1] else np.swapaxes(blocks, -1, -2)
    gram = blocks @ np.swapaxes(blocks, -1, -2).conj()
    trace = np.trace(gram, axis1=-2, axis2=-1).real.mean()
    return max(float((np.abs(gram) ** 2).sum((-2, -1)).mean() * blocks.shape[-2] / trace**2 - 1), 0.0)


def independent_variance(kernel: NDArray) -> float:
    """Return the relative variance that independent entries with these fourth moments would have."""
    small, large = sorted(kernel.shape[:2])
    taps = kernel[0, 0].size
    excess = (_kurtosis(kernel) - 3) / taps + (1 if taps == 1 else 0)
    return (small + excess) / large


def _share(observed: float, independent: float, shape: tuple[int, ...]) -> tuple[float, tuple[str, ...]]:
    """Return which share of its energy an orthogonal matrix kept to have this relative variance."""
    ratio = max(observed / independent, 0.0)
    if ratio < _ISOMETRIC:
        return 1.0, ()
    if ratio > 1 - min(_NOISE / min(shape[:2]), 0.9):
        return 0.0, ()
    return math.sqrt(1 - ratio), ("neither orthogonal nor Gaussian: the kept energy is fitted to a moment",)


def _excess(rows: NDArray, columns: NDArray, kernel: NDArray) -> tuple[float, float]:
    """Return by how much energies of rows and columns vary more than under unstructured masks; 0 within noise."""
    spread = _kurtosis(kernel) - 1
    found = []
    for energies, fan in ((rows, kernel[0].size), (columns, kernel[:, 0].size)):
        expected = spread / fan
        beyond = _cv2(energies) - expected
        certain = beyond > _MATTERS and beyond > _CERTAIN * math.sqrt(2 / len(energies)) * expected
        found.append(beyond if certain else 0.0)
    return found[0], found[1]


def _compared(kind: WeightKind, kernel: NDArray, observed: float, reasons: tuple[str, ...]) -> WeightKind:
    """Return the kind, with a reason more where its relative variance is not the observed one."""
    out_dim, in_dim = kernel.shape[:2]
    law = LayerLaw(out_dim, in_dim, kind.weight, kind.sigma_w2, None, kind.row_energies, kind.column_energies)
    expected = product_moments([law])[1]
    small, large = sorted((out_dim, in_dim))
    noise = _NOISE / small * expected + _kurtosis(kernel) / large
    if abs(observed - expected) > noise + _MATTERS:
        reasons += (f"the weights have a relative variance of {observed:.2f} where their kind has {expected:.2f}",)
    return WeightKind(kind.weight, kind.sigma_w2, kind.variance, kind.density, kind.row_energies, kind.column_energies,
                      reasons)


def _kurtosis(kernel: NDArray) -> float:
    return float((kernel**4).mean() / (kernel**2).mean() ** 2)


def _cv2(energies: NDArray) -> float:
    return float((energies / energies.mean()).var())
