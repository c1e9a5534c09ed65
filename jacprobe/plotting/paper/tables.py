"""Tables of numbers to draw, checked once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from jacprobe.errors import ArgumentError, DtypeError, NonFiniteError

_KEYS = ["panel", "curve", "x"]


def curve_table(frame: object, name: str) -> pd.DataFrame:
    """Return panel, curve, x, value and se of `frame`, called `name` in messages, by x; without an se it is NaN.

    Infinite values become NaN, which a line leaves out.
    """
    check_table(frame, [*_KEYS, "value"], name)
    table = frame[["panel", "curve"]].astype(str)
    for column in ("x", "value", "se"):
        table[column] = number_column(frame, column, name) if column in frame else np.nan
    check_finite(table, "x", name)
    check_errors(table, name)
    twice = table[table.duplicated(_KEYS)]
    if len(twice):
        row = twice.iloc[0]
        raise ArgumentError(f"`{name}` must have one row per panel, curve and x; got several for {row['panel']!r}, "
                            f"{row['curve']!r} and {row['x']:g}. Average the runs first.")
    return table.replace([np.inf, -np.inf], np.nan).sort_values("x", kind="stable")


def check_table(frame: object, columns: Sequence[str], name: str) -> None:
    """Check that `frame`, called `name` in messages, is a table with rows and these columns."""
    if not isinstance(frame, pd.DataFrame):
        raise DtypeError(f"`{name}` must be a DataFrame; got {type(frame).__name__}. Make one row per point.")
    if any(column not in frame for column in columns):
        got = ", ".join(map(str, frame.columns)) or "none"
        raise ArgumentError(f"`{name}` must have the columns {', '.join(columns)}; got {got}. Rename its columns.")
    if frame.empty:
        raise ArgumentError(f"`{name}` must have rows; got an empty DataFrame. Measure something first.")


def is_empty(frame: object) -> bool:
    """Return whether an optional table is left out or has no rows."""
    return frame is None or (isinstance(frame, pd.DataFrame) and not len(frame))


def number_column(frame: pd.DataFrame, column: str, name: str) -> pd.Series:
    """Return a column as floats after checking that it holds real numbers; NaN may be among them."""
    kind = frame[column].dtype
    if not pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_complex_dtype(kind):
        raise DtypeError(f"`{name}` must hold numbers in {column!r}; got {kind}. Convert the column.")
    return frame[column].astype(float)


def check_finite(table: pd.DataFrame, column: str, name: str) -> None:
    """Check that a column of numbers has neither NaN nor infinities."""
    wrong = table[column][~np.isfinite(table[column])]
    if len(wrong):
        raise NonFiniteError(f"`{name}` must hold finite numbers in {column!r}; got {wrong.iloc[0]:g}. "
                             "Drop such rows first.")


def check_errors(table: pd.DataFrame, name: str, *, column: str = "se") -> None:
    """Check that no standard error is negative; `column` is its name in `name`."""
    if (table["se"] < 0).any():
        least = table["se"].min()
        raise ArgumentError(f"`{name}` must hold standard errors of at least 0 in {column!r}; got {least:g}. "
                            "Leave the column out where there is one run.")
