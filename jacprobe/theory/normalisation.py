"""Batch normalisation in wide networks."""

from __future__ import annotations

from jacprobe.errors import ArgumentError
from jacprobe.theory.activations import activation
from jacprobe.theory.meanfield import Spec


def batch_norm_growth(phi: Spec) -> float:
    """Return the factor by which the squared gradient grows per layer under batch normalisation, in training mode.

    E[phi'(z)^2] / Var[phi(z)] of a standard normal z, for large batches and width. It is at least 1, by the Gaussian
    Poincaré inequality, and 1 only for a linear layer: no initialisation removes the growth.

    Parameters
    ----------
    phi
        Activation: a name, module or function, as for ``activation``.

    Raises
    ------
    UnknownNameError, DtypeError, ArgumentError
        No such activation, or one that is constant.

    References
    ----------
    Yang et al. 2019 (arXiv 1902.08129), section 4.

    Examples
    --------
    >>> import math
    >>> round(batch_norm_growth("relu"), 9) == round(math.pi / (math.pi - 1), 9)
    True
    """
    phi = activation(phi)
    variance = phi.second_moment(1.0) - phi.mean(1.0) ** 2
    if variance <= 1e-14 * phi.second_moment(1.0):
        raise ArgumentError(f"`activation` must vary; got {phi.name}, which is constant. It cannot be normalised.")
    return phi.slope_moment(1.0) / variance
