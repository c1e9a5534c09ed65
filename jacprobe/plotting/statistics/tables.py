"""Tables with a row per point or run: what their columns must hold, and means over runs."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from jacprobe.errors import ArgumentError, DtypeError, NonFiniteError, UnknownNameError

_SURENESS = ("exact", "under floor", "at least", "estimated", "bounded", "unknown")  # least sure last


def check_columns(frame: object, columns: Mapping[str, str], name: str) -> None:
    """Check that `frame`, called `name`, is a table with rows and these columns, by the arguments that name them."""
    if not isinstance(frame, pd.DataFrame):
        raise DtypeError(f"`{name}` must be a DataFrame; got {type(frame).__name__}. Make one row per point.")
    if frame.empty:
        raise ArgumentError(f"`{name}` must have rows; got an empty DataFrame. Record something first.")
    for argument, column in columns.items():
        if column not in frame:
            raise UnknownNameError(argument, column, map(str, frame.columns))


def check_numbers(frame: pd.DataFrame, column: str, name: str, *, infinite: bool = False) -> None:
    """Check that a column of `frame`, called `name`, holds numbers, none of them NaN, and infinite only if allowed."""
    if not pd.api.types.is_numeric_dtype(frame[column]) or pd.api.types.is_complex_dtype(frame[column]):
        raise DtypeError(f"`{name}` must hold numbers in {column!r}; got {frame[column].dtype}. Convert the column.")
    values = frame[column].to_numpy(dtype=float, na_value=math.nan)
    wrong = np.isnan(values) if infinite else ~np.isfinite(values)
    if wrong.any():
        row = int(wrong.argmax())
        raise NonFiniteError(f"`{name}` must hold {'no NaN' if infinite else 'finite numbers'} in {column!r}; got "
                             f"{values[row]} in row {row}. Drop such rows first.")


def averaged(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return means over the rows that share `keys`, in order of appearance of the first key and sorted by the second.

    Where there are several, low and high give way to band_low and band_high, a standard deviation of the runs away.
    """
    rows = []
    for key, part in table.groupby(keys, sort=False):
        known = part[part["value"].notna()]
        spread = float(known["value"].std(ddof=1)) if len(known) > 1 and np.isfinite(known["value"]).all() else math.nan
        mean = float(known["value"].mean()) if len(known) else math.nan
        state = max(part["state"], key=_SURENESS.index) if len(known) in (0, len(part)) else "bounded"
        ends = {end: part[end].iloc[0] if len(part) == 1 else math.nan for end in ("low", "high")}
        rows.append({**dict(zip(keys, key, strict=True)), "value": mean, **ends, "band_low": mean - spread,
                     "band_high": mean + spread, "state": state, "num_runs": len(part),
                     **{name: part[name].iloc[0] for name in ("label", "reason") if name in part}})
    return in_order(pd.DataFrame(rows), keys[0], keys[1])


def in_order(table: pd.DataFrame, group: str, x: str) -> pd.DataFrame:
    """Return the rows by groups in order of appearance, and in each by increasing `x`."""
    order = {name: index for index, name in enumerate(dict.fromkeys(table[group]))}
    return table.sort_values(x, kind="stable").sort_values(group, key=lambda c: c.map(order), kind="stable",
                                                           ignore_index=True)
