"""What the paper did not ask of its Figure 2a: controls, statistics without scale, exact repairs, theory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from jacprobe.experiments.paper.curves import SPARSITIES, at, averaged, drawn_curves, each_point
from jacprobe.experiments.paper.isometryfigures import QUICK_SPARSITIES, statistic_rows
from jacprobe.experiments.paper.item import Figure, Item, Rows
from jacprobe.experiments.paper.plan import Labelled, Plan
from jacprobe.experiments.paper.verdicts import Claim, Entry, Tolerance, entry, ordered

_RUNS = 5
_STATISTICS = ("mean", "relative_std", "effective_rank")
_REDRAWN = "CS, redrawn with its counts"
_CURVES: Mapping[str, dict[str, Any]] = {
    "CS": {"method": "snip"},
    "CS, shuffled in each layer": {"method": "snip", "control": "shuffled"},
    _REDRAWN: {"method": "snip", "control": "random"},
    "CS, rescaled": {"method": "snip", "control": "rescaled"},
    "CS, paper's AI": {"method": "snip", "repair": "paper-sgd", "repair_steps": None},
    "CS, exact repair": {"method": "snip", "repair": "polar-cg"},
    "Random": {"method": "random"},
    "Random, rescaled": {"method": "random", "control": "rescaled"},
    "Random, exact repair": {"method": "random", "repair": "polar-cg"},
    "EOI": {"method": "eoi"},
}
_PALETTE = {"CS": "C3", "CS, shuffled in each layer": "C8", "CS, rescaled": "C1", "CS, paper's AI": "C4",
            "CS, exact repair": "C6", "Random": "C0", "Random, rescaled": "C9", "Random, exact repair": "C5",
            "EOI": "C2", "Random, theory": "black"}
_REPAIRED = ("CS", "CS, paper's AI", "CS, exact repair", "Random, exact repair", "EOI")
_THEORY = "Random, theory"


def _cells(plan: Plan) -> list[Labelled]:
    cells = []
    for seed in plan.seeds(_RUNS):
        for activation in ("linear", "tanh"):
            for curve, fields in _CURVES.items():
                for sparsity in plan.either(SPARSITIES, QUICK_SPARSITIES)[1:]:
                    fields = fields | ({"repair_steps": 1_500} if plan.quick and "repair_steps" in fields else {})
                    recipe = {"network": f"mlp-7-{activation}", "sparsity": sparsity / 100, "seed": seed, **fields}
                    labels = {"panel": activation, "curve": curve, "x": float(sparsity)}
                    cells.append(plan.cell("spectra", recipe, {"num_images": plan.either(5_400, 500)}, **labels))
                    if curve in _REPAIRED and activation == "linear":  # weights know of no activation
                        cells.append(plan.cell("layers", recipe, **labels))
                    if curve == "Random":
                        cells.append(plan.cell("theory", recipe, **{**labels, "curve": _THEORY}))
    return cells


def _points(rows: Rows, statistics: tuple[str, ...] = _STATISTICS) -> pd.DataFrame:
    """Return the means over runs of the statistics, of theory too where it has them, and of the concentration."""
    parts = [averaged(statistic_rows(rows, statistics), "value")]
    expected = rows.get("theory", pd.DataFrame())
    if len(expected):
        known = [name for name in statistics if name in expected]
        parts.append(averaged(statistic_rows({"spectra": expected}, known), "value"))
    return pd.concat(parts, ignore_index=True)


def _concentration(rows: Rows) -> pd.DataFrame:
    """Return the share of small weights among all kept ones, by curve and sparsity."""
    layers = rows.get("layers", pd.DataFrame())
    if layers.empty:
        return averaged(layers, "value")
    layers = layers.assign(small=layers["small_share"] * layers["kept"])
    sums = layers.groupby(["panel", "curve", "x", "run"], sort=False)[["small", "kept"]].sum().reset_index()
    return averaged(sums.assign(panel="weights", value=100 * sums["small"] / sums["kept"]), "value")


def _entries(rows: Rows, plan: Plan) -> list[Entry]:
    nothing = pd.DataFrame(columns=["panel", "curve", "x", "value"])
    measured = statistic_rows(rows, _STATISTICS)
    return [entry(f"{panel.replace('_', ' ')} {curve} {x:g} %", values, None, Tolerance())
            for (panel, curve, x), values, _ in each_point(measured, "value", nothing)]


def _claims(rows: Rows, plan: Plan) -> list[Claim]:
    points, last = _points(rows), 90.0
    claims = []
    for name in ("linear", "tanh"):
        def value(curve: str, statistic: str = "mean", name: str = name) -> float:
            return at(points, f"{name} {statistic}", curve, last)

        claims += [
            ordered(f"{name}, 90 %: CS keeps more than its shuffled mask, so layer densities are not all of it",
                    {"CS": value("CS"), "shuffled": value("CS, shuffled in each layer")}),
            ordered(f"{name}, 90 %: and more than a mask drawn anew with as many weights in each layer",
                    {"CS": value("CS"), "redrawn": value(_REDRAWN)}),
            ordered(f"{name}, 90 %: one number per layer brings the mean of random masks up to that of CS and above",
                    {"Random, rescaled": value("Random, rescaled"), "CS": value("CS")}),
            ordered(f"{name}, 90 %: scale apart, CS is nearer to an isometry than a random mask",
                    {f"{curve} std/mean": value(curve, "relative_std") for curve in ("Random", "CS")}),
            ordered(f"{name}, 90 %: the exact repair leaves less spread than the paper's",
                    {f"{curve} std/mean": value(curve, "relative_std") for curve in
                     ("CS, paper's AI", "CS, exact repair")}),
        ]
        expected, found = value(_THEORY), value("Random")
        known = not (pd.isna(expected) or pd.isna(found))
        claims.append(Claim(f"{name}, 90 %: theory gives the mean of random masks within 15 %",
                            abs(expected / found - 1) <= 0.15 if known else None, f"{expected:.3g}, {found:.3g}"))
    small = _concentration(rows)
    for curve in ("CS, exact repair", "CS, paper's AI"):
        claims.append(ordered(f"90 %: weights repaired as {curve} concentrate on few",
                              {f"{name}, % small": at(small, "weights", name, last) for name in (curve, "CS")}))
    return claims


def _draw(rows: Rows, plan: Plan) -> Figure:
    words = {"mean": "JSV mean", "relative_std": "JSV std / mean", "effective_rank": "Effective rank"}
    panels = [f"{name} {statistic}" for name in ("linear", "tanh") for statistic in _STATISTICS]
    points = pd.concat([_points(rows), _concentration(rows)], ignore_index=True)
    points = points[points["curve"] != _REDRAWN]  # lies on that of the shuffled mask
    titles = {panel: panel.partition(" ")[0] for panel in panels} | {"weights": "weights"}
    ylabels = {panel: words[panel.partition(" ")[2]] for panel in panels} | {"weights": "Small weights (%)"}
    return drawn_curves(points, None, panels=[*panels, "weights"], titles=titles, ylabels=ylabels,
                             xlabel="Sparsity (%)", columns=3, width=6.85, palette=_PALETTE)


FIGURE_BEYOND = Item("figure beyond", "what the paper did not ask: controls, scale-free statistics, exact repair",
                     _cells, _entries, _claims, _draw)
