"""The paper's curves by name: how their networks come about, and means over runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from jacprobe.experiments.paper.item import Figure

# name in the paper: fields of the recipe. VS is VS-L, and LDI orthogonal weights at gain 1, as measured from its code
CURVES: dict[str, dict[str, Any]] = {
    "LDI-Rand": {"init": "orthogonal", "method": "random"},
    "LDI-Rand-AI": {"init": "orthogonal", "method": "random", "repair": "paper-sgd", "repair_steps": None},
    "VS-CS": {"init": "vs-l", "method": "snip"},
    "LDI-CS": {"init": "orthogonal", "method": "snip"},
    "LDI-CS-AI": {"init": "orthogonal", "method": "snip", "repair": "paper-sgd", "repair_steps": None},
    "LDI-Mag": {"init": "orthogonal", "method": "magnitude", "pretraining": 80_000},
    "LDI-Mag (signed)": {"init": "orthogonal", "method": "signed-magnitude", "pretraining": 80_000},
    "LDI-Dense": {"init": "orthogonal", "method": None},
}
SIGNED = " (signed)"  # of a curve that the paper shows under the name before it
FIVE = ("LDI-Rand", "LDI-Rand-AI", "VS-CS", "LDI-CS", "LDI-CS-AI")
SPARSITIES = tuple(range(0, 100, 10))


def recipe(curve: str, network: str, *, sparsity: float, seed: int, **changes: Any) -> dict[str, Any]:
    """Return the fields of the recipe of a curve at a sparsity in %; a dense curve has none.

    Examples
    --------
    >>> recipe("LDI-CS", "mlp-7-tanh", sparsity=90, seed=0)
    {'network': 'mlp-7-tanh', 'seed': 0, 'sparsity': 0.9, 'init': 'orthogonal', 'method': 'snip'}
    """
    fields = {"network": network, "seed": seed, "sparsity": sparsity / 100, **CURVES[curve], **changes}
    if fields["method"] is None:
        del fields["sparsity"]
    return fields


def averaged(rows: pd.DataFrame, value: str) -> pd.DataFrame:
    """Return panel, curve, x, value (mean over runs), se (standard error of it) and runs, in the order of `rows`."""
    if rows.empty:
        kinds = {"panel": str, "curve": str, "x": float, "value": float, "se": float, "runs": int}
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in kinds.items()})
    groups = rows.groupby(["panel", "curve", "x"], sort=False)[value]
    return groups.agg(value="mean", se="sem", runs="count").reset_index()


def drawn_curves(points: pd.DataFrame, published: pd.DataFrame | None, *, panels: Sequence[str], **options: Any
                 ) -> Figure:
    """Return the panels of which anything is measured or published; `options` as in `plot_paper_curves`."""
    from jacprobe.plotting.paper import plot_paper_curves

    known = {*points["panel"], *(() if published is None else published["panel"])}
    panels = [panel for panel in panels if panel in known]
    for name, option in options.items():
        if isinstance(option, Mapping):
            options[name] = {panel: option[panel] for panel in panels if panel in option}
    return plot_paper_curves(points, published, panels=panels, **options)


def published_name(curve: str) -> str:
    """Return the name of the published curve that a curve is compared with.

    Examples
    --------
    >>> published_name("LDI-Mag (signed)")
    'LDI-Mag'
    """
    return curve.removesuffix(SIGNED)


def at(points: pd.DataFrame, panel: str, curve: str, x: float) -> float:
    """Return the value of a point, NaN where there is none."""
    found = points[(points["panel"] == panel) & (points["curve"] == curve) & (points["x"] == x)]["value"]
    return float(found.iloc[0]) if len(found) else float("nan")


def each_point(rows: pd.DataFrame, value: str, published: pd.DataFrame) -> Iterable[tuple[tuple, pd.Series, float]]:
    """Yield ((panel, curve, x), the values of all runs, the published value) of every measured point, in order."""
    known = {(row.panel, row.curve, row.x): row.value for row in published.itertuples()}
    if not rows.empty:
        for key, values in rows.groupby(["panel", "curve", "x"], sort=False)[value]:
            panel, curve, x = key
            yield key, values, known.get((panel, published_name(curve), x), float("nan"))
