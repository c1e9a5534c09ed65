"""The law of the singular values of a deep Jacobian: bands by continuation, atoms by counting dimensions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from jacprobe.errors import ArgumentError
from jacprobe.theory.bands import Band
from jacprobe.theory.continuation import moments_on
from jacprobe.theory.freeproduct import FreeProduct
from jacprobe.theory.layerlaw import LayerLaw, check_chain
from jacprobe.theory.peaks import peaks_of, slopes_alone
from jacprobe.theory.realcurve import highest, lowest, negative_axis
from jacprobe.theory.spectrallaw import SpectralLaw
from jacprobe.theory.supports import supports_of

_LEVELS = (128, 1024), (512, 2048)  # points of the search for bands, and at most of each band
_POINTS = 256  # at least of each band
_DEFECT = 4e-6  # of mass, for which a finer search is worth its time
_BAD_DEFECT = 2e-3  # share of the mass beyond which a law is not to be trusted
_LARGEST_LOG = 600.0
_ROUNDING = 1e-12
_NOISE = 1e-13
_NOTHING = 1e-9  # share of the positive values in bands that are left out


def product_law(layers: Sequence[LayerLaw]) -> SpectralLaw:
    """Return the law of the singular values of ``D_L W_L ... D_1 W_1`` for wide independent layers.

    Parameters
    ----------
    layers
        From the input to the output; they may differ in every respect. An output layer without activation has no
        slope law. The law is that of all min(in_dim, out_dim) singular values of the whole product.

    Returns
    -------
    SpectralLaw
        Exact for infinite widths of the given ratios. A network of N units has its largest value about
        ``(L / N)^(2/3) / 2`` of it below `s_max`.

    Raises
    ------
    ArgumentError, ShapeError
        `layers` is empty, widths do not fit, or the mean square is out of range of floating point.

    Notes
    -----
    ``S(w)`` of J'J over the N_0 inputs is the product of those of the factors, each at N_0 / N times w for its width
    N; its inverse transform is followed from the negative axis to the spectrum. A continuous slope law is given by
    its quadrature, whose nodes the far tail of the law can show: its mass there is right to about 1e-5.

    References
    ----------
    Pennington, Schoenholz and Ganguli 2018, The emergence of spectral universality in deep networks, equations 9-15.

    Examples
    --------
    >>> relu = [LayerLaw(100, 100, "orthogonal", 2.0, slope=([0, 1], [0.5, 0.5]))] * 8
    >>> law = product_law(relu)
    >>> round(law.s_max**2, 6), law.atoms, round(law.mean_square, 6)
    (20.371998, ((0.0, 0.5),), 1.0)
    """
    check_chain(layers)
    product = FreeProduct(layers)
    if abs(product.log_mean()) > _LARGEST_LOG:
        raise ArgumentError(f"`layers` must have gains whose product floating point can hold; got a mean square of exp("
                            f"{product.log_mean():.0f}). Rescale the layers to a gain near 1.")
    share = product.input_dim / min(product.input_dim, product.output_dim)
    alone = slopes_alone(layers)
    with np.errstate(all="ignore"):  # trial points of bisections and Newton steps may hit a pole; none is kept
        atoms, bands, defect = alone.parts() if alone else _free_law(product, layers)
    zero = 1 - product.rank * share
    atoms = [(value, mass * share) for value, mass in sorted(atoms)]
    if zero > _ROUNDING:
        atoms.insert(0, (0.0, zero))
    return SpectralLaw(tuple(atoms), tuple(band.scaled(share) for band in bands), defect * share)


def product_moments(layers: Sequence[LayerLaw]) -> tuple[float, float]:
    """Return the mean square of the singular values and the relative variance of their squares, by the exact rules.

    The log mean square is the sum over the factors, and so is the relative variance, each counted with
    N_0 / N for its width N when the average is over the N_0 inputs. Both are returned for the min(in_dim, out_dim)
    singular values of the product. Parameters and errors as for ``product_law``.

    Examples
    --------
    >>> product_moments([LayerLaw(100, 100, 0.9)] * 4)  # of a masked orthogonal layer 1 - 0.9^2
    (1.0, 0.76)
    """
    check_chain(layers)
    product = FreeProduct(layers)
    share = product.input_dim / min(product.input_dim, product.output_dim)
    with np.errstate(over="ignore"):
        mean = float(np.exp(product.log_mean())) * share
    if not np.isfinite(mean):
        raise ArgumentError(f"`layers` must have gains whose product floating point can hold; got a mean square of exp("
                            f"{product.log_mean():.0f}). Rescale the layers to a gain near 1.")
    return mean, round((1 + product.relative_variance()) / share - 1, 14)


def _free_law(product: FreeProduct, layers: Sequence[LayerLaw]) -> tuple[list, list, float]:
    """Return atoms above 0, bands and the defect of mass, over the inputs."""
    peaks = peaks_of(layers)
    atoms = [(float(np.sqrt(square)), mass) for square, mass in peaks if mass > _ROUNDING]
    mass = product.rank - sum(mass for _, mass in atoms)
    if mass < _NOTHING * product.rank:  # rounding, beside atoms
        return atoms, [], 0.0
    curve = negative_axis(product)
    low, high = lowest(product, curve), highest(product)
    logs = [(float(np.log(square)), mass) for square, mass in peaks]

    def density(log_x: NDArray) -> NDArray:
        moment = moments_on(product, curve, log_x)
        noise = _NOISE * np.abs(moment) ** 2  # next to the pole of an atom rounding of z is amplified
        return np.where(-moment.imag > noise, -moment.imag / np.pi, 0.0)

    for scan, most in _LEVELS:
        supports = supports_of(density, low, high, num_points=scan, peaks=logs)
        bands = [Band.sampled(density, *support, least=_POINTS, most=most) for support in supports]
        found = sum(band.mass for band in bands)
        if abs(found - mass) < _DEFECT:
            break
    if not abs(found - mass) < _BAD_DEFECT * product.rank:
        raise ArgumentError(f"`layers` must have a law that {_LEVELS[-1][0]} points resolve; got a mass of {found:.6g} "
                            f"for {mass:.6g}. Smooth the slope law, or use `product_moments`.")
    return atoms, [band.scaled(mass / found) for band in bands], found - mass
