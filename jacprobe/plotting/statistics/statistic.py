"""One statistic of many spectra: what is known of it, and how surely."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from jacprobe.errors import ArgumentError, UnknownNameError
from jacprobe.results import KINDS, SpectrumSet
from jacprobe.results.order import merged_order

STATISTICS = {  # column of the summary -> words on an axis
    "mean": "mean singular value",
    "std": "std of singular values",
    "min": "smallest singular value",
    "max": "largest singular value",
    "cond": "condition number",
    "cond_per_input": "condition number per input",
    "ldi": "share within 1 ± ε",
    "q05": "5 % quantile",
    "q25": "25 % quantile",
    "median": "median singular value",
    "q75": "75 % quantile",
    "q95": "95 % quantile",
    "mean_square": "mean squared singular value",
    "relative_variance": "relative variance of σ²",
    "relative_std": "std / mean",
    "stable_rank": "stable rank",
    "effective_rank": "effective rank",
    "participation": "participation ratio",
    "log_det": "mean of ln σ²",
    "log_det_nonzero": "mean of ln σ², zeros aside",
    "gradient_ratio": "gradient ratio",
    "dead_units": "share of dead units",
    "cosine_in": "cosine at the source",
    "cosine_out": "cosine at the target",
}
VALUES = ("mean", "min", "max", "q05", "q25", "median", "q75", "q95")  # for which 1 is isometry
LINEAR = ("ldi", "log_det", "log_det_nonzero", "dead_units", "cosine_in", "cosine_out")
_WIDE = 30  # from this ratio of the largest to the smallest value on, an axis is logarithmic by default
_ERRORS = {"mean": "standard_error"}  # else X_standard_error


def check_statistic(statistic: str, name: str = "statistic") -> str:
    """Return `statistic` after checking that summaries have it and it is a number."""
    if statistic not in STATISTICS:
        raise UnknownNameError(name, statistic, STATISTICS)
    return statistic


def spans_widely(values: pd.Series, name: str) -> bool:
    """Whether the axis of the statistic called `name` is logarithmic by default: none is negative, and far apart."""
    known = values[np.isfinite(values) & (values > 0)]
    return bool(name not in LINEAR and not (values < 0).any() and len(known) and known.max() > _WIDE * known.min())


def kind_of(results: Mapping[str, SpectrumSet], kind: str | None, name: str) -> str:
    """Return `kind`, or the first of layers, cumulative segments and so on that every set has."""
    if kind is not None and kind not in KINDS:
        raise UnknownNameError("kind", kind, KINDS)
    held = {key: {spectrum.kind for spectrum in result} for key, result in results.items()}
    wanted = ("layer", "cumulative", "module", "pair", "end_to_end") if kind is None else (kind,)
    for choice in wanted:
        if all(choice in kinds for kinds in held.values()):
            return choice
    what = "segments of one kind" if kind is None else f"segments of the kind {kind!r}"
    key, kinds = next(((k, v) for k, v in held.items() if wanted[0] not in v), next(iter(held.items())))
    got = f"{', '.join(sorted(kinds)) or 'an empty set'}{f' for {key!r}' if key else ''}"
    raise ArgumentError(f"`{name}` must hold {what}; got {got}. Probe all models with the same `kind`.")


def summary_table(results: Mapping[str, SpectrumSet], kind: str) -> pd.DataFrame:
    """Return the summaries of all sets, with `set` and `position` (in forward order) before their columns."""
    parts = {key: result.select(kind).summary() for key, result in results.items()}
    order = merged_order(part["segment"] for part in parts.values())
    table = pd.concat([part.assign(set=key) for key, part in parts.items()], ignore_index=True)
    table.insert(0, "set", table.pop("set"))
    table.insert(2, "position", table["segment"].map(order.index).astype(float))
    return table


def statistic_of(summary: pd.DataFrame, statistic: str) -> pd.DataFrame:
    """Return what a summary knows of one statistic: the columns value, low, high and state, one row per row.

    state is "exact", "estimated" (low and high are one standard error away), "bounded" (low and high are the ends of
    an interval, value may be NaN), "at least" (value is a lower bound), "under floor" (value is anything from 0 to
    high) or "unknown" (all NaN).
    """
    value = summary[statistic].astype(float)
    low, high = (summary.get(f"{statistic}_{end}", pd.Series(np.nan, summary.index)).astype(float)
                 for end in ("low", "high"))
    error = summary.get(_ERRORS.get(statistic, f"{statistic}_standard_error"), pd.Series(np.nan, summary.index))
    error = error.astype(float)
    label, unresolved = summary["label"], summary["under_floor"].fillna(0).astype(float) > 0
    state = pd.Series("exact", summary.index, dtype=object)
    state[label == "estimated"] = "estimated"
    state[label == "bounded"] = "bounded"
    hidden = unresolved & (label == "exact") & (summary["zeros"].fillna(0).astype(float) == 0)
    if statistic in ("cond", "cond_per_input"):
        state[hidden] = "at least"
    if statistic in ("min", "q05"):
        state[hidden & (value <= summary["floor"].astype(float))] = "under floor"
    nothing = value.isna() & ((state != "bounded") | low.isna())
    state[nothing] = "unknown"
    estimated, bounded = state == "estimated", state == "bounded"
    return pd.DataFrame({
        "value": value.where(~nothing),
        "low": (value - error).where(estimated, low.where(bounded)),
        "high": (value + error).where(estimated, high.where(bounded | (state == "under floor"))),
        "state": state,
    })


def rounding_of(summary: pd.DataFrame, statistic: str) -> pd.Series:
    """Return up to what a statistic may be rounding alone, so that it is not told from 0: one number per row.

    Of values that is their floor, and of their spread what errors of one floor make of equal values.
    """
    floor, relative = (summary[column].astype(float).fillna(0).replace(np.inf, 0)
                       for column in ("floor", "relative_floor"))
    floor = floor.where(relative == 0, 0)  # a relative one resolves values however small, but not their spread
    if statistic in VALUES:
        return floor
    if statistic == "mean_square":
        return floor**2
    spread = floor.where(relative == 0, relative * summary["max"].astype(float)).fillna(0)
    scale = summary["mean"].astype(float)
    known = {"std": spread, "relative_std": spread / scale, "relative_variance": (2 * spread / scale) ** 2}
    return known.get(statistic, pd.Series(0.0, summary.index)).fillna(0)
