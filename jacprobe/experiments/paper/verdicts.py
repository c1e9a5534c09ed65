"""Measured beside published: how near is a match."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

MATCH, DIFFERS, UNPUBLISHED, MISSING, UNLIKE = "match", "differs", "-", "not measured", "not comparable"


@dataclass(frozen=True)
class Tolerance:
    """How far a measured value may lie from the published one: the widest of what is given.

    Attributes
    ----------
    absolute, relative
        Of the difference; relative to the published value.
    factor
        Of the ratio, upwards and downwards.
    """

    absolute: float = 0.0
    relative: float = 0.0
    factor: float = 1.0

    def __str__(self) -> str:
        parts = [f"{self.absolute:g}" if self.absolute else "", f"{100 * self.relative:g} %" if self.relative else "",
                 f"factor {self.factor:g}" if self.factor > 1 else ""]
        return " or ".join(part for part in parts if part) or "exact"

    def holds(self, measured: float, published: float) -> bool:
        """Whether the two agree; two infinite values do.

        Examples
        --------
        >>> Tolerance(relative=0.12).holds(1.1, 1.0), Tolerance(factor=2).holds(3.0, 1.0)
        (True, False)
        """
        if math.isinf(measured) or math.isinf(published):
            return measured == published
        near = abs(measured - published) <= max(self.absolute, self.relative * abs(published)) * (1 + 1e-9)
        ratio = measured / published if published else math.nan
        return near or (self.factor > 1 and 1 / self.factor <= ratio <= self.factor)


@dataclass(frozen=True)
class Entry:
    """A number of the paper: measured mean over runs, its standard error (NaN of one run), published, verdict."""

    entry: str
    measured: float
    error: float
    runs: int
    published: float
    tolerance: str
    verdict: str


@dataclass(frozen=True)
class Claim:
    """What the paper says of a figure, and whether it holds here; None where it was not measured."""

    claim: str
    holds: bool | None
    detail: str = ""


def entry(name: str, values: Iterable[float], published: float | None, tolerance: Tolerance, *,
          comparable: bool = True) -> Entry:
    """Return the entry of the values of all runs.

    Parameters
    ----------
    values
        One per run; none where nothing was measured.
    published
        None, or NaN, where the paper has no number.
    comparable
        False where the quick form computes something else, such as the error after few iterations.
    """
    values = np.array(list(values), dtype=float)
    if not values.size:
        return Entry(name, math.nan, math.nan, 0, _number(published), str(tolerance), MISSING)
    mean = float(values.mean())
    error = math.nan if values.size == 1 or np.isinf(values).any() else float(
        values.std(ddof=1) / math.sqrt(values.size))
    if not comparable:
        verdict = UNLIKE
    elif math.isnan(_number(published)):
        verdict = UNPUBLISHED
    else:
        verdict = MATCH if tolerance.holds(mean, published) else DIFFERS
    return Entry(name, mean, error, values.size, _number(published), str(tolerance), verdict)


def entry_table(entries: Iterable[Entry]) -> pd.DataFrame:
    """Return the entries as a frame, a row each."""
    return pd.DataFrame([asdict(found) for found in entries], columns=list(Entry.__dataclass_fields__))


def claim_table(claims: Iterable[Claim]) -> pd.DataFrame:
    """Return the claims as a frame, a row each."""
    return pd.DataFrame([asdict(found) for found in claims], columns=list(Claim.__dataclass_fields__))


def ordered(name: str, values: dict[str, float], *, detail: str = "{:.3g}") -> Claim:
    """Return the claim that the values fall in the order in which they stand."""
    known = [value for value in values.values() if not math.isnan(value)]
    shown = ", ".join(f"{key} {detail.format(value)}" for key, value in values.items())
    if len(known) < len(values) or len(known) < 2:
        return Claim(name, None, shown)
    return Claim(name, all(a > b for a, b in zip(known, known[1:], strict=False)), shown)


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
