"""The paper's numbers: its tables, and points read off its curves."""

from __future__ import annotations

import json
import math
from functools import cache
from importlib.resources import files
from typing import Any

import pandas as pd

_HERE = "jacprobe.experiments.published"


def published_table(name: str) -> pd.DataFrame:
    """Return a table of the paper, a row per line of it with the columns as there; NaN where it says infinite.

    Parameters
    ----------
    name
        "1" to "6" for the tables, "figure 1" for the black shares of its pictures.

    References
    ----------
    Lee et al. 2020. The parameter counts of Table 6 are not in the paper; they are counted from the networks.

    Examples
    --------
    >>> float(published_table("4").loc["GT", "mlp-7-tanh"])
    2.61
    """
    held = _read("tables.json")[name]
    return pd.DataFrame.from_dict(held["rows"], orient="index", columns=held["columns"], dtype=float)


def published_curves(figure: str) -> pd.DataFrame:
    """Return the points of a figure's curves: the columns panel, curve, x and value; empty where none are known.

    Parameters
    ----------
    figure
        "2b", "4a", "4b", "5", "6" or "8"; "2a" shows the means of "4a".

    Examples
    --------
    >>> curves = published_curves("2a").set_index(["panel", "curve", "x"])["value"]
    >>> float(curves["tanh mean", "LDI-CS", 90.0])
    0.02867
    """
    panels = _read("curves.json").get("4a" if figure == "2a" else figure, {})
    rows = [(panel, curve, float(x), math.nan if value is None else float(value))
            for panel, curves in panels.items() for curve, points in curves.items() for x, value in points]
    return pd.DataFrame(rows, columns=["panel", "curve", "x", "value"])


@cache
def _read(name: str) -> dict[str, Any]:
    return json.loads(files(_HERE).joinpath(name).read_text(encoding="utf-8"))
