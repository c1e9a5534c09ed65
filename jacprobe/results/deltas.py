"""How much a statistic of one spectrum differs from that of another, and how certain that is."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jacprobe.results.glance import between, outwards
from jacprobe.results.spectrum import BAND_CONFIDENCE, Spectrum

STATISTICS = ("mean", "std", "min", "max", "ldi", "mean_square")
_LABELS = ("exact", "bounded", "estimated", "none")  # the more certain first


@dataclass(frozen=True)
class Delta:
    """A statistic of one spectrum minus that of another.

    Attributes
    ----------
    value
        The difference; NaN where one of the statistics is not known.
    low, high
        Interval in which it lies; NaN where there is none.
    standard_error
        Bound on its standard error, the sum of those of estimates and of the errors of exact values: the probes of two
        estimates are the same where their seeds are, so that no root of squares would do. NaN where nothing is
        estimated.
    label
        The less certain of the two labels.
    """

    value: float
    low: float
    high: float
    standard_error: float
    label: str

    def __str__(self) -> str:
        """The difference as short text, no more certain than it is; "<" where it is within the floors."""
        if self.label == "exact":
            return f"< {_most(self)}" if self.low <= 0 <= self.high and self.low < self.high else _signed(self.value)
        if self.label == "bounded":
            return "" if math.isnan(self.low + self.high) else outwards(self.low, self.high)
        if math.isnan(self.value):
            return ""
        error = self.standard_error
        return f"~ {_signed(self.value)}" if math.isnan(error) else f"{_signed(self.value)} ± {error:.1g}"


def delta(spectrum: Spectrum, base: Spectrum, statistic: str, epsilon: float) -> Delta:
    """Return the difference of one of ``STATISTICS`` of two spectra; `epsilon` is that of the "ldi".

    Examples
    --------
    >>> import torch
    >>> def fc(*values):
    ...     rows = torch.tensor([values], dtype=torch.float64)
    ...     return Spectrum("fc", "layer", "input", "fc", 2, 2, 1, values=rows, label="exact", floor=1e-7)
    >>> str(delta(fc(1.0, 0.5), fc(1.25, 1.0), "mean", 0.1))
    '-0.375'
    """
    label = max(spectrum.label, base.label, key=_LABELS.index)
    numbers = [_value(s, statistic, epsilon) for s in (spectrum, base)]
    (low, high), (base_low, base_high) = (_interval(s, statistic, epsilon) for s in (spectrum, base))
    return Delta(numbers[0] - numbers[1], low - base_high, high - base_low, _error(spectrum, base, statistic), label)


def delta_row(spectrum: Spectrum, base: Spectrum, epsilon: float) -> dict[str, object]:
    """Return the differences of all statistics as columns; ``Comparison`` explains them."""
    found = {name: delta(spectrum, base, name, epsilon) for name in STATISTICS}
    label = found["mean"].label
    return {
        **{f"delta_{name}": d.value for name, d in found.items()},
        **{f"delta_{name}_low": d.low for name, d in found.items()},
        **{f"delta_{name}_high": d.high for name, d in found.items()},
        **{f"delta_{name}_standard_error": found[name].standard_error for name in ("mean", "std", "mean_square")},
        "delta_confidence": math.nan if label == "none" else _confidence(spectrum, base),
        "delta_label": label,
    }


def _value(spectrum: Spectrum, statistic: str, epsilon: float) -> float:
    return spectrum.ldi(epsilon) if statistic == "ldi" else getattr(spectrum, statistic)


def _interval(spectrum: Spectrum, statistic: str, epsilon: float) -> tuple[float, float]:
    if statistic == "ldi":
        return spectrum.ldi_interval(epsilon)
    if statistic in ("mean", "min", "max"):
        return getattr(spectrum, f"{statistic}_interval")
    spread = _largest_error(spectrum)  # no std moves further than the values
    return (max(0.0, spectrum.std - spread), spectrum.std + spread) if statistic == "std" else (math.nan, math.nan)


def _largest_error(spectrum: Spectrum) -> float:
    """Return a bound on the error of every value, where all of them are known; else NaN."""
    if not spectrum.is_complete or spectrum.bounds is not None:
        return math.nan
    relative = spectrum.relative_floor
    return spectrum.floor if math.isnan(relative) else spectrum.max * math.expm1(relative)


def _error(spectrum: Spectrum, base: Spectrum, statistic: str) -> float:
    errors = [s.standard_error(statistic) for s in (spectrum, base)]
    if all(map(math.isnan, errors)):
        return math.nan
    return sum(_largest_error(s) if math.isnan(e) else e for s, e in zip((spectrum, base), errors, strict=True))


def _confidence(*spectra: Spectrum) -> float:
    """Return the least probability with which the intervals of both hold; NaN where no spectrum is uncertain."""
    certain = [s.confidence for s in spectra if s.bounds is not None]
    certain += [BAND_CONFIDENCE for s in spectra if s.density is not None]
    return max(0.0, 1 - sum(1 - c for c in certain)) if certain else math.nan


def _most(difference: Delta) -> str:
    """Return how large the difference may be, of whichever sign, rounded up."""
    return between(0, max(-difference.low, difference.high), digits=2).removeprefix("<= ")


def _signed(value: float) -> str:
    return "" if math.isnan(value) else "0" if value == 0 else f"{value:+.3g}"
