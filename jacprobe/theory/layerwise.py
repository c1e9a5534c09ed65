"""One layer by itself: what its Jacobian's singular values are before anything is measured, and how a mask is made up
for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import ndtri

from jacprobe.errors import ArgumentError, UnknownNameError
from jacprobe.theory.activations import activation
from jacprobe.theory.gaussian import check_length
from jacprobe.theory.meanfield import Spec, check_variances

_PATTERNS = ("random", "magnitude")


@dataclass(frozen=True)
class LayerMoments:
    """Moments of the singular values s of a wide square layer D W with W W^T = sigma_w2 I, where s = sigma_w |phi'|.

    Attributes
    ----------
    mean, std
        Of s.
    mean_square
        Of s: chi. The same for Gaussian weights.
    relative_variance
        Of s^2 over the square of its mean. Gaussian weights add 1.
    """

    mean: float
    std: float
    mean_square: float
    relative_variance: float


def layer_moments(phi: Spec, *, q: float, sigma_w2: float) -> LayerMoments:
    """Return the moments of the singular values of a layer with orthogonal weights.

    Parameters
    ----------
    phi, sigma_w2
        As for ``length_map``.
    q
        Length of the pre-activations.

    Raises
    ------
    UnknownNameError, DtypeError, ArgumentError
        No such activation, one without slope, or a number out of its domain.

    References
    ----------
    Lee et al. 2020 (arXiv 1906.06307), definition 1: layerwise dynamical isometry asks for s near 1.

    Examples
    --------
    >>> relu = layer_moments("relu", q=1.0, sigma_w2=2.0)
    >>> round(relu.mean, 5), round(relu.std, 5), round(relu.mean_square, 9)
    (0.70711, 0.70711, 1.0)
    """
    phi = activation(phi)
    check_variances(sigma_w2, 0.0)
    first = phi.slope_moment(q)
    if not first:
        raise ArgumentError(f"`activation` must have a slope; got {phi.name}, which is flat. No signal passes it.")
    mean, mean_square = math.sqrt(sigma_w2) * phi.slope_moment(q, 0.5), sigma_w2 * first
    # both differences are rounding where the slope is constant
    std = math.sqrt(max(mean_square - mean**2, 0.0))
    return LayerMoments(mean, std, mean_square, max(phi.slope_moment(q, 2) / first**2 - 1, 0.0))


def kept_energy(density: float, *, pattern: str = "magnitude") -> float:
    """Return the share of the energy |W|^2 that a mask keeps in a layer with Gaussian or large orthogonal weights.

    Parameters
    ----------
    density
        Share of the weights kept, in [0, 1].
    pattern
        "random", or "magnitude" for the largest.

    Raises
    ------
    ArgumentError, UnknownNameError
        A density out of [0, 1], or another pattern.

    Examples
    --------
    >>> round(kept_energy(0.2), 4), kept_energy(0.2, pattern="random")
    (0.6498, 0.2)
    """
    if not 0 <= density <= 1:
        raise ArgumentError(f"`density` must lie in [0, 1]; got {density}. It is the share of the weights kept.")
    if pattern not in _PATTERNS:
        raise UnknownNameError("pattern", pattern, _PATTERNS)
    if pattern == "random" or density in (0, 1):
        return float(density)
    threshold = -ndtri(density / 2)
    return float(density + 2 * threshold * math.exp(-threshold**2 / 2) / math.sqrt(2 * math.pi))


def critical_rescale(energy: float) -> float:
    """Return the factor 1 / sqrt(energy) for the kept weights of a layer that keeps this share of its energy.

    With it lengths and gradients pass the layer as before the mask, so a critical network is critical again, with its
    old biases. The relative variance of the singular values is not restored.

    Parameters
    ----------
    energy
        Kept share of |W|^2, in (0, 1], as measured or from ``kept_energy``.

    Raises
    ------
    ArgumentError
        Out of (0, 1]: a layer that keeps nothing cannot be rescaled.

    References
    ----------
    Hayou et al. 2021 (arXiv 2002.08797), the rescaling trick.

    Examples
    --------
    >>> critical_rescale(0.25)
    2.0
    """
    check_length("energy", energy, positive=True)
    if energy > 1 + 1e-9:
        raise ArgumentError(f"`energy` must be at most 1; got {energy}. It is the share that a mask keeps.")
    return 1 / math.sqrt(energy)
