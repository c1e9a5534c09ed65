"""One spectrum at a glance: short texts that look no more certain than the numbers are."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Context

from jacprobe.results.spectrum import Spectrum

_NUMBERS = ("mean", "std", "min", "max", "cond")


def text_row(spectrum: Spectrum, epsilon: float) -> dict[str, str]:
    """Return the row of ``SpectrumSet.table``, which explains the texts."""
    shape = "" if spectrum.out_dim is None else f"{spectrum.out_dim}x{spectrum.in_dim}"
    row = {"segment": spectrum.segment, "kind": spectrum.kind, "shape": shape}
    within = f"within {epsilon:g}"
    if not spectrum.is_known:
        blank = dict.fromkeys((*_NUMBERS, within, "zeros", "floor"), "")
        return {**row, **blank, "label": spectrum.reason or ""}
    certain = spectrum.is_complete and spectrum.bounds is None
    numbers = _exact(spectrum) if certain else _uncertain(spectrum)
    numbers[within] = f"{100 * spectrum.ldi(epsilon):.1f} %" if certain else _share(spectrum, epsilon)
    share = spectrum.num_zeros / max(1, spectrum.num_inputs * spectrum.dim)
    numbers["zeros"] = f"{100 * share:.1f} %" if spectrum.has_counted_zeros else ""
    return {**row, **numbers, "floor": _floor(spectrum), "label": spectrum.label}


def moment_texts(spectrum: Spectrum) -> dict[str, str]:
    """Return the columns that show moments, blank for other spectra."""
    names = {"mean_square": "mean square", "relative_variance": "rel. variance"}
    if spectrum.moments is None:
        return dict.fromkeys(names.values(), "")
    return {text: with_error(getattr(spectrum, name), spectrum.standard_error(name)) for name, text in names.items()}


def with_error(value: float, error: float) -> str:
    """Return an estimate with its standard error, or as an approximate number where there is none.

    Examples
    --------
    >>> with_error(0.81234, 0.0123), with_error(0.81234, float("nan")), with_error(float("nan"), 0.1)
    ('0.812 ± 0.01', '~ 0.812', '')
    """
    if math.isnan(value):
        return ""
    return f"~ {value:.3g}" if math.isnan(error) else f"{value:.3g} ± {error:.1g}"


def between(low: float, high: float, digits: int = 3) -> str:
    """Return an interval of a number that is at least 0, rounded outwards; "" where it is unknown.

    Examples
    --------
    >>> between(0.98765, 1.23456), between(0, 0.98765), between(1.23456, float("nan"))
    ('0.987 to 1.24', '<= 0.988', '>= 1.23')
    >>> between(2, 2), between(float("nan"), float("nan"))
    ('2', '')
    """
    if not math.isfinite(high):
        return f">= {_rounded(low, ROUND_FLOOR, digits)}" if low > 0 else ""
    texts = _rounded(low, ROUND_FLOOR, digits), _rounded(high, ROUND_CEILING, digits)
    if texts[0] == texts[1]:
        return texts[0]
    return " to ".join(texts) if low > 0 else f"<= {texts[1]}"


def outwards(low: float, high: float, digits: int = 3) -> str:
    """Return an interval of a number of any sign, rounded outwards.

    Examples
    --------
    >>> outwards(-0.98765, 0.123456), outwards(0.2, 0.2)
    ('-0.988 to +0.124', '+0.2')
    """
    ends = [float(_rounded(low, ROUND_FLOOR, digits)), float(_rounded(high, ROUND_CEILING, digits))]
    return " to ".join(dict.fromkeys(f"{end:+.{digits}g}" if end else "0" for end in ends))


def _rounded(value: float, rounding: str, digits: int) -> str:
    decimal = f"{value:.12g}"  # 0.4 is 0.4, and no number just above it
    return f"{float(Context(digits, rounding).create_decimal(decimal)):.{digits}g}"


def _exact(spectrum: Spectrum) -> dict[str, str]:
    numbers = {name: _number(getattr(spectrum, name)) for name in _NUMBERS}
    if math.isnan(spectrum.relative_floor) and spectrum.std <= spectrum.floor:
        numbers["std"] = f"< {spectrum.floor:.1e}"
    if spectrum.num_under_floor > 0 and spectrum.num_zeros == 0:
        numbers["min"] = f"< {spectrum.floor:.1e}"
        numbers["cond"] = "" if math.isnan(spectrum.cond) else f"> {spectrum.cond:.1e}"
    return numbers


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3g}"  # the condition number where all is zero


def _uncertain(spectrum: Spectrum) -> dict[str, str]:
    estimated = spectrum.density is not None
    largest = spectrum.max_interval
    if estimated and spectrum.bounds is None:
        largest = largest[0], math.nan  # the Frobenius norm says little
    return {
        "mean": with_error(spectrum.mean, spectrum.standard_error("mean")) if estimated
        else between(*spectrum.mean_interval),
        "std": with_error(spectrum.std, spectrum.standard_error("std")) if estimated else "",
        "min": between(*spectrum.min_interval),
        "max": between(*largest),
        "cond": "inf" if spectrum.cond == math.inf else "",
    }


def _share(spectrum: Spectrum, epsilon: float) -> str:
    low, high = spectrum.ldi_interval(epsilon)
    if math.isnan(low) or high - low == 1:
        return "" if spectrum.density is None else f"~ {100 * spectrum.ldi(epsilon):.0f} %"
    ends = dict.fromkeys((math.floor(100 * low), math.ceil(100 * high)))
    band = f"{' to '.join(map(str, ends))} %"
    return band if spectrum.density is None else f"~ {100 * spectrum.ldi(epsilon):.0f} % ({band})"


def _floor(spectrum: Spectrum) -> str:
    if not math.isnan(spectrum.relative_floor):
        return f"{spectrum.relative_floor:.1e} rel."
    return "" if math.isnan(spectrum.floor) else f"{spectrum.floor:.1e}"
