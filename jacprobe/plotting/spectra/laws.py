"""Laws that theory expects, beside what was measured: which law belongs to a segment, and how far both are apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jacprobe.errors import ArgumentError, DtypeError
from jacprobe.plotting.artists.words import plain_number
from jacprobe.plotting.spectra.distribution import Distribution
from jacprobe.plotting.spectra.segments import ManySpectra, sets_of
from jacprobe.results import Spectrum
from jacprobe.theory import Prediction
from jacprobe.theory.spectrallaw import SpectralLaw

Theory = bool | SpectralLaw | Mapping[str, SpectralLaw]

_ROUNDING = 1e-14  # of the largest value: below it a float64 singular value is rounding
_PLACES = 2001  # at which a law is compared with a band


class Distance(NamedTuple):
    """Kolmogorov-Smirnov distance to a law: measured or estimated (NaN where neither), and an interval of it."""

    value: float
    least: float
    most: float

    def __str__(self) -> str:
        if np.isnan(self.most):
            return "unknown"
        if self.least == self.most:
            return f"{self.value:.2g}"
        interval = f"{plain_number(round(self.least, 2))} to {plain_number(round(self.most, 2))}"
        return interval if np.isnan(self.value) else f"~{self.value:.2g} ({interval})"


UNKNOWN = Distance(np.nan, np.nan, np.nan)


def check_theory(theory: object, segments: list[str], results: ManySpectra | None = None) -> dict[str, SpectralLaw]:
    """Return the laws of those `segments` that have one; those that `results` carry where `theory` is True."""
    if theory is None or theory is False:
        return {}
    if isinstance(theory, SpectralLaw):
        return dict.fromkeys(segments, theory)
    if theory is True:
        theory = _carried(results)
    if not isinstance(theory, Mapping) or not all(isinstance(law, SpectralLaw) for law in theory.values()):
        raise DtypeError(f"`theory` must be a SpectralLaw or map segment names to them; got {type(theory).__name__}."
                         " Pass jp.theory.spectrum(model, ...).")
    laws = {segment: theory[segment] for segment in segments if segment in theory}
    if not laws:
        raise ArgumentError(f"`theory` must hold a law for one of {', '.join(segments[:10])}; got laws for"
                            f" {', '.join(map(str, theory)) or 'none'}. Predict the network that was probed.")
    return laws


def _carried(results: ManySpectra | None) -> Prediction:
    """Return the prediction that the sets carry, which must be one and the same."""
    sets = [] if results is None else list(sets_of(results).values())
    if not sets or any(found.theory != sets[0].theory for found in sets) or sets[0].theory is None:
        lack = "sets that expect unlike spectra" if any(found.theory for found in sets) else "spectra that carry none"
        raise ArgumentError(f"`theory` must be a law or laws by segment name for {lack}; got True."
                            " Pass jp.theory.spectrum(model, ...), or measure with jp.spectra(..., theory=True).")
    return Prediction.from_dict(sets[0].theory)


def distance(distribution: Distribution, law: SpectralLaw) -> Distance:
    """Return the distance between a measured distribution and a law, from the resolution upwards."""
    if distribution.is_exact:
        values = distribution.spectrum.values.numpy()
        largest = max(float(values.max()), law.s_max)
        floor = max(_ROUNDING, distribution.resolution / largest) if largest else _ROUNDING
        return Distance(*[law.distance(values, floor=floor)] * 3)
    if not (distribution.is_estimated or distribution.is_bounded):
        return UNKNOWN
    x = _places(distribution, law)
    expected, found, (least, most) = law.cdf(x), distribution.cdf(x), distribution.band(x)
    # between two places both functions rise no further than to their values at the next one
    far = max((most[1:] - expected[:-1]).max(), (expected[1:] - least[:-1]).max(), most[0] - expected[0],
              expected[0] - least[0])
    near = max(0.0, (least - expected).max(), (expected - most).max())
    return Distance(float(np.abs(found - expected).max()), float(near), float(min(far, 1.0)))


def distance_text(distribution: Distribution, law: SpectralLaw | None) -> str:
    """Return what the legend says of the distance to a law, behind the name of a set; nothing without a law."""
    return "" if law is None else f" (KS {distance(distribution, law)})"


def distances_text(spectra: Iterable[Spectrum], law: SpectralLaw | None) -> str:
    """Return the distances of all spectra to a law, briefly; nothing where there is no law."""
    if law is None:
        return ""
    return "KS " + ", ".join(str(distance(Distribution(spectrum), law)) for spectrum in spectra)


def _places(distribution: Distribution, law: SpectralLaw) -> NDArray:
    """Return places, increasing, that are dense wherever a law or a distribution rises."""
    low, high = distribution.resolution, law.s_max
    quantiles = law.quantile(np.linspace(0, 1, _PLACES))
    known = distribution.points[0]
    if distribution.is_bounded:
        intervals = distribution.spectrum.intervals()
        known = np.concatenate([intervals.lower.numpy().ravel(), intervals.upper.numpy().ravel()])
    high = max(high, known.max(initial=0.0))
    places = np.concatenate([[low], quantiles, known, [1.001 * high]])
    return np.unique(places[places >= low])
