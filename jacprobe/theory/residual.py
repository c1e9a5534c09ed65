"""Mean field of wide residual networks: the second moments, which are exact for fresh weights in every block."""

from __future__ import annotations

from jacprobe.errors import ArgumentError
from jacprobe.theory.activations import activation
from jacprobe.theory.gaussian import check_length
from jacprobe.theory.meanfield import Spec, check_variances


def residual_length_map(
    phi: Spec, q: float, *, sigma_w2: float, sigma_b2: float = 0.0, scale: float = 1.0
) -> float:
    """Return the length after a pre-activation block h + scale (W phi(h) + b): the branch adds its own length.

    Parameters
    ----------
    phi, sigma_w2, sigma_b2
        As for ``length_map``.
    q
        Length of h.
    scale
        Of the branch, such as 1 / sqrt(L), which keeps lengths bounded in L blocks.

    Raises
    ------
    UnknownNameError, DtypeError, ArgumentError
        No such activation, or a number out of its domain.

    References
    ----------
    Yang and Schoenholz 2017 (arXiv 1712.08969), section 3.

    Examples
    --------
    >>> residual_length_map("relu", 1.0, sigma_w2=2.0, scale=0.5)
    1.25
    """
    phi = activation(phi)
    check_variances(sigma_w2, sigma_b2)
    check_length("scale", scale)
    return q + scale**2 * (sigma_w2 * phi.second_moment(q) + sigma_b2)


def residual_output_map(
    phi: Spec, mean: float, mean_square: float, *, sigma_w2: float, sigma_b2: float = 0.0, scale: float = 1.0
) -> tuple[float, float]:
    """Return mean and mean square over units after a block x + scale phi(W x + b).

    The mean matters: where phi has a mean, as ReLU has, all blocks push the same way.

    Parameters
    ----------
    phi, sigma_w2, sigma_b2, scale
        As for ``residual_length_map``.
    mean, mean_square
        Of x over its units; the mean square is at least the square of the mean.

    Raises
    ------
    UnknownNameError, DtypeError, ArgumentError
        No such activation, or a number out of its domain.

    Examples
    --------
    >>> residual_output_map("tanh", 0.0, 0.0, sigma_w2=1.0, sigma_b2=0.0)
    (0.0, 0.0)
    """
    phi = activation(phi)
    check_length("mean_square", mean_square)
    check_variances(sigma_w2, sigma_b2)
    check_length("scale", scale)
    if not mean**2 <= mean_square * (1 + 1e-12):
        raise ArgumentError(f"`mean_square` must be at least the square of the mean; got {mean_square} for mean {mean}."
                            " Take both over the same units.")
    length = sigma_w2 * mean_square + sigma_b2
    push = scale * phi.mean(length)
    return mean + push, mean_square + 2 * mean * push + scale**2 * phi.second_moment(length)


def residual_gradient_map(phi: Spec, q: float, *, sigma_w2: float, scale: float = 1.0) -> float:
    """Return the factor of the mean squared gradient through a residual block of either kind, 1 + scale^2 chi.

    It is also the mean squared singular value of the block's Jacobian; over blocks they multiply.

    Parameters
    ----------
    phi, sigma_w2, scale
        As for ``residual_length_map``.
    q
        Length of the branch's pre-activations: of h, or of W x + b.

    Raises
    ------
    UnknownNameError, DtypeError, ArgumentError
        No such activation, or a number out of its domain.

    References
    ----------
    Yang and Schoenholz 2017 (arXiv 1712.08969), section 3; Tarnowski et al. 2019 (arXiv 1809.08848), section 3.

    Examples
    --------
    >>> residual_gradient_map("relu", 1.0, sigma_w2=2.0)
    2.0
    """
    phi = activation(phi)
    check_variances(sigma_w2, 0.0)
    check_length("scale", scale)
    return 1 + scale**2 * sigma_w2 * phi.slope_moment(q)
