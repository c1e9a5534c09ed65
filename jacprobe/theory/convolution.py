"""Mean field of wide convolutional networks with circular padding: covariances between positions, and their modes."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from jacprobe.errors import ArgumentError, ShapeError
from jacprobe.theory.activations import Activation, activation
from jacprobe.theory.meanfield import Spec, check_variances, depth_scale, fixed_point

_WHOLE = 1e-9  # the shares of a kernel sum to 1 this closely


@dataclass(frozen=True, eq=False)
class ConvolutionModes:
    """How fast deviations from the fixed point fade, per spatial frequency.

    A deviation of the covariance between positions a and a + r is a wave over a for each offset r; waves of different
    offsets and frequencies do not mix. Those of offset 0, lengths, have the scales `xi_q`, all others `xi_c`.

    Attributes
    ----------
    factors
        float64, shape of the image, frequencies in the order of ``numpy.fft``: factor by which the kernel's average
        shrinks a wave; 1 at frequency 0, and everywhere for a kernel of one tap (delta-orthogonal).
    xi_q, xi_c
        float64, same shape: layers in which the wave falls by e; negative where it grows, inf where it stays.

    References
    ----------
    Xiao et al. 2018 (arXiv 1806.05393), section 2.3.
    """

    factors: np.ndarray
    xi_q: np.ndarray
    xi_c: np.ndarray


def convolution_covariance_map(
    phi: Spec, covariance: np.ndarray, *, profile: np.ndarray, sigma_w2: float, sigma_b2: float = 0.0
) -> np.ndarray:
    """Return the covariance between the pre-activations at all positions of the next layer.

    Parameters
    ----------
    phi
        Activation: a name, module or function, as for ``activation``.
    covariance
        (n, n) for a signal of n positions, (h, w, h, w) for an image: E[h_a h_b] over channels.
    profile
        (k,) or (kh, kw): share of the weights' variance at each tap, around the middle one; sums to 1. The weights
        have the variance sigma_w2 * share / in_channels, and the signal is circular.
    sigma_w2, sigma_b2
        As for ``length_map``.

    Raises
    ------
    UnknownNameError, DtypeError, ArgumentError
        No such activation, a number out of its domain, or a covariance that is none.
    ShapeError
        Shapes that do not belong together.

    References
    ----------
    Xiao et al. 2018 (arXiv 1806.05393), equation 2.5.

    Examples
    --------
    >>> one = np.diag([1.0, 0.0, 0.0]) + 0.5 * np.eye(3)
    >>> convolution_covariance_map("linear", one, profile=np.full(3, 1 / 3), sigma_w2=1.0).diagonal().round(6)
    array([0.833333, 0.833333, 0.833333])
    """
    phi = activation(phi)
    covariance, profile = np.asarray(covariance, float), _checked_profile(profile)
    check_variances(sigma_w2, sigma_b2)
    size = covariance.shape[: profile.ndim]
    if covariance.shape != size * 2:
        raise ShapeError(f"`covariance` must have the positions twice, as (n, n) or (h, w, h, w), for a profile of"
                         f" {profile.ndim} dimensions; got {covariance.shape}. Give as many dimensions to both.")
    outputs = _elementwise_covariance(phi, covariance.reshape(math.prod(size), -1)).reshape(covariance.shape)
    axes = tuple(range(2 * len(size)))
    averaged = sum(share * np.roll(outputs, [-step for step in offset] * 2, axes)
                   for offset, share in _taps(profile))
    return sigma_w2 * averaged + sigma_b2


def convolution_modes(
    phi: Spec, *, profile: np.ndarray, size: tuple[int, ...], sigma_w2: float, sigma_b2: float = 0.0,
    start: float | None = None,
) -> ConvolutionModes:
    """Return the depth scale of each spatial frequency at the fixed point.

    Parameters
    ----------
    phi, sigma_w2, sigma_b2, start
        As for ``fixed_point``.
    profile
        As for ``convolution_covariance_map``.
    size
        Of the image, (n,) or (h, w).

    Raises
    ------
    UnknownNameError, DtypeError, ArgumentError
        As for ``fixed_point``; a profile that is none.
    ShapeError
        A size of another number of dimensions than the profile.

    References
    ----------
    Xiao et al. 2018 (arXiv 1806.05393), section 2.3.

    Examples
    --------
    >>> modes = convolution_modes("tanh", profile=np.full(3, 1 / 3), size=(6,), sigma_w2=1.3, sigma_b2=0.05)
    >>> modes.factors.round(6)
    array([1.      , 0.666667, 0.      , 0.333333, 0.      , 0.666667])
    >>> modes.xi_c.round(4)[:2]
    array([7.8341, 1.8758])
    """
    profile = _checked_profile(profile)
    if len(size) != profile.ndim or min(size) < 1:
        raise ShapeError(f"`size` must have one positive number for each of the {profile.ndim} dimensions of the"
                         f" profile; got {size}. Give (n,) or (h, w).")
    point = fixed_point(phi, sigma_w2=sigma_w2, sigma_b2=sigma_b2, start=start)
    kernel = np.zeros(size)
    for offset, share in _taps(profile):
        kernel[tuple(step % length for step, length in zip(offset, size, strict=True))] += share
    factors = abs(np.fft.fftn(kernel))
    factors[factors < 1e-15] = 0.0
    scales = [np.vectorize(lambda factor, xi=xi: depth_scale(math.exp(-1 / xi) * factor) if xi else 0.0)(factors)
              for xi in (point.xi_q, point.xi_c)]
    return ConvolutionModes(factors, *scales)


def _elementwise_covariance(phi: Activation, covariance: np.ndarray) -> np.ndarray:
    """Return C of every pair of positions; equal pairs, of which symmetric signals have many, are computed once."""
    lengths = covariance.diagonal()
    if not np.allclose(covariance, covariance.T, rtol=1e-12, atol=0) or (lengths <= 0).any():
        raise ArgumentError("`covariance` must be symmetric with positive lengths on its diagonal; got one that is not."
                            " Pass E[h_a h_b].")
    known: dict[tuple[float, float, float], float] = {}
    outputs = np.empty_like(covariance)
    for a, b in itertools.combinations_with_replacement(range(len(lengths)), 2):
        pair = (*sorted((lengths[a], lengths[b])), covariance[a, b])
        if pair not in known:
            known[pair] = phi.second_moment(lengths[a]) if a == b else phi.covariance(*map(float, pair))
        outputs[a, b] = outputs[b, a] = known[pair]
    return outputs


def _checked_profile(profile: np.ndarray) -> np.ndarray:
    profile = np.asarray(profile, float)
    if profile.ndim not in (1, 2) or not (profile >= 0).all() or not abs(profile.sum() - 1) <= _WHOLE:
        raise ArgumentError("`profile` must hold shares of variance of 1 or 2 dimensions that sum to 1; got"
                            f" {profile.ndim} dimensions and the sum {profile.sum():.6g}. Divide by the sum.")
    return profile


def _taps(profile: np.ndarray) -> list[tuple[tuple[int, ...], float]]:
    """Return the offset from the middle and the share of each tap."""
    return [(tuple(place - length // 2 for place, length in zip(index, profile.shape, strict=True)), float(share))
            for index, share in np.ndenumerate(profile)]
