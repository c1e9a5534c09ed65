"""The statistics of a spectrum that can be recorded, each with its label."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from jacprobe.errors import ArgumentError, UnknownNameError
from jacprobe.results import Spectrum

STATISTICS = ("mean", "std", "min", "max", "cond", "ldi", "zeros", "median", "mean_square", "relative_variance",
              "relative_std", "stable_rank", "effective_rank", "participation", "log_det", "gradient_ratio",
              "dead_units", "cosine_in", "cosine_out")


class Record(NamedTuple):
    """One number: a row of ``Monitor.frame``."""

    step: int
    segment: str
    statistic: str
    value: float
    label: str
    standard_error: float


def check_statistics(statistics: Sequence[str]) -> tuple[str, ...]:
    """Return the names, each once.

    Raises
    ------
    UnknownNameError
        A statistic is not known.
    ArgumentError
        There is none.
    """
    names = (statistics,) if isinstance(statistics, str) else tuple(dict.fromkeys(statistics))
    for name in names:
        if name not in STATISTICS:
            raise UnknownNameError("statistics", name, STATISTICS)
    if not names:
        raise ArgumentError('`statistics` must name at least one; got none. Leave it out, or pass ("mean", "max").')
    return names


def records_of(step: int, spectra: Mapping[str, Spectrum], statistics: Sequence[str], epsilon: float) -> list[Record]:
    """Return the statistics of spectra by name; one that its spectrum does not determine is NaN, of label "none"."""
    found = []
    for segment, spectrum in spectra.items():
        for statistic in statistics:
            value = _value(spectrum, statistic, epsilon)
            label = "none" if math.isnan(value) else spectrum.label
            found.append(Record(step, segment, statistic, value, label, spectrum.standard_error(statistic)))
    return found


def by_name(spectra: Iterable[Spectrum]) -> dict[str, Spectrum]:
    """Return spectra by the name of their segment; where two kinds share it, with the kind before it."""
    spectra = list(spectra)
    counts = Counter(spectrum.segment for spectrum in spectra)
    return {s.segment if counts[s.segment] == 1 else f"{s.kind} {s.segment}": s for s in spectra}


def _value(spectrum: Spectrum, statistic: str, epsilon: float) -> float:
    if statistic == "ldi":
        return spectrum.ldi(epsilon)
    if statistic == "zeros":
        return float(spectrum.num_zeros) if spectrum.has_counted_zeros else math.nan
    if statistic == "median":
        return spectrum.quantile(0.5)
    return float(getattr(spectrum, statistic))
