"""Figures 2b, 4b and 5, and the right halves of 7: loss and accuracy of training, by iteration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from jacprobe.experiments.paper.curves import FIVE, at, averaged, drawn_curves, published_name, recipe
from jacprobe.experiments.paper.item import Figure, Item, Rows
from jacprobe.experiments.paper.plan import Labelled, Plan
from jacprobe.experiments.paper.verdicts import Claim, Entry, Tolerance, entry, ordered
from jacprobe.experiments.published import published_curves

RUNS = 10
# Plain descent: with momentum 0.9 the published losses would be those of a third of the iterations. No penalty: with it
# random masks stay longer on the plateau of Fig. 5, and with it in pretraining signed ones leave at once.
_DESCENT = {"protocol": "clean", "momentum": 0.0, "l2": 0.0, "rate": 0.1, "drop_every": 20_000, "evaluated": False}
_PRETRAINED = {"pretraining_momentum": 0.0, "pretraining_l2": 0.0}
EARLY = {**_DESCENT, "iterations": 500, "log_every": 10}
LONG = {**_DESCENT, "iterations": 30_000, "log_every": 500}
MAGNITUDE = ("LDI-Mag", "LDI-Mag (signed)")  # as the text says, and as the published curves are
EIGHT = (*FIVE, *MAGNITUDE, "LDI-Dense")


def loss_cells(curves: Mapping[str, Sequence[str]], settings: Mapping[str, Any], plan: Plan) -> list[Labelled]:
    """Return a cell per network, run and curve; the panel is the activation.

    Parameters
    ----------
    curves
        The curves of each network.
    """
    cells = []
    for network, names in curves.items():
        for seed in plan.seeds(RUNS):
            for curve in names:
                changes = {"repair_steps": 1_500} if plan.quick and curve.endswith("-AI") else {}
                if curve in MAGNITUDE:
                    changes |= _PRETRAINED | ({"pretraining": 2_000} if plan.quick else {})
                cells.append(plan.cell("training", recipe(curve, network, sparsity=90, seed=seed, **changes), settings,
                                       panel=network.rpartition("-")[2], curve=curve))
    return cells


def loss_rows(rows: Rows, statistics: Sequence[str]) -> pd.DataFrame:
    """Return a row per logged iteration with x, the panel "tanh loss" or "tanh accuracy" (%), and `value`."""
    found = rows.get("training", pd.DataFrame())
    if found.empty:
        return found
    batches = found[found["split"] == "batch"].assign(x=lambda t: t["iteration"].astype(float),
                                                      accuracy=lambda t: 100 - t["error"])
    return pd.concat([batches.assign(panel=batches["panel"] + f" {name}", value=batches[name]) for name in statistics],
                     ignore_index=True)


def first_below(points: pd.DataFrame, panel: str, curve: str, level: float) -> float:
    """Return the first x at which a curve is below `level`; infinity where it never is, NaN where there is no curve."""
    found = points[(points["panel"] == panel) & (points["curve"] == curve)].sort_values("x")
    below = found[found["value"] < level]
    return float("nan") if found.empty else float(below["x"].iloc[0]) if len(below) else float("inf")


def crossing_entries(rows: Rows, figure: str, curves: Mapping[str, Sequence[str]], *, tick: float) -> list[Entry]:
    """Return an entry per curve: the first iteration with a loss below 1, of the mean over runs as published."""
    points, known = averaged(loss_rows(rows, ["loss"]), "value"), published_curves(figure)
    found = []
    for network, names in curves.items():
        panel = f"{network.rpartition('-')[2]} loss"
        for curve in names:
            value = first_below(points, panel, curve, 1.0)
            here = points[(points["panel"] == panel) & (points["curve"] == curve)]
            runs = int(here["runs"].max()) if len(here) else 0
            made = entry(f"{panel} {curve}: first iteration below 1", [] if pd.isna(value) else [value],
                         first_below(known, panel, published_name(curve), 1.0), Tolerance(relative=0.25, absolute=tick))
            found.append(Entry(**{**made.__dict__, "runs": runs}))
    return found


def point_entries(rows: Rows, figure: str, statistics: Sequence[str], xs: Sequence[float], tolerance: Tolerance,
                  curves: Mapping[str, Sequence[str]]) -> list[Entry]:
    """Return an entry per curve and iteration of `xs`."""
    measured, known = loss_rows(rows, statistics), published_curves(figure)
    found = []
    for network, names in curves.items():
        for panel in (f"{network.rpartition('-')[2]} {name}" for name in statistics):
            for curve in names:
                for x in xs:
                    values = () if measured.empty else measured[
                        (measured["panel"] == panel) & (measured["curve"] == curve) & (measured["x"] == x)]["value"]
                    published = at(known, panel, published_name(curve), x)
                    found.append(entry(f"{panel} {curve} at {x:g}", values, published, tolerance))
    return found


def order_claims(rows: Rows, orders: Mapping[str, Sequence[Sequence[str]]], x: float) -> list[Claim]:
    """Return that the losses at an iteration are in the published order.

    Parameters
    ----------
    orders
        By panel, groups of curves from the highest loss to the lowest; inside a group the order is free.
    """
    points = averaged(loss_rows(rows, ["loss"]), "value")
    claims = []
    for panel, groups in orders.items():
        for above, below in zip(groups, groups[1:], strict=False):
            high = {curve: at(points, panel, curve, x) for curve in above}
            low = {curve: at(points, panel, curve, x) for curve in below}
            least, most = min(high, key=high.get), max(low, key=low.get)
            claims.append(ordered(f"{panel} at {x:g}: {', '.join(above)} above {', '.join(below)}",
                                  {least: high[least], most: low[most]}))
    return claims


def draw_losses(rows: Rows, figure: str, statistics: Sequence[str], activations: Sequence[str], plan: Plan) -> Figure:
    """Return the panels: of every activation its statistics, side by side."""
    panels = [f"{name} {statistic}" for name in activations for statistic in statistics]
    return drawn_curves(
        averaged(loss_rows(rows, statistics), "value"), published_curves(figure), panels=panels,
        titles={panel: panel.partition(" ")[0] for panel in panels}, xlabel="Iteration",
        ylabels={panel: "Accuracy (%)" if panel.endswith("accuracy") else "Loss" for panel in panels},
        columns=2, width=6.85)


CURVES_2B = {"mlp-7-linear": FIVE, "mlp-7-tanh": EIGHT}
ORDERS_2B = {
    "linear loss": [["LDI-Rand"], ["VS-CS", "LDI-CS"], ["LDI-Rand-AI", "LDI-CS-AI"]],
    "tanh loss": [["LDI-Rand", "LDI-Mag (signed)"], ["VS-CS", "LDI-CS"], ["LDI-Rand-AI"], ["LDI-CS-AI"], ["LDI-Dense"]],
}
FIGURE_2B = Item(
    "figure 2b", "early training loss at 90 % sparsity, MLP-7 on MNIST, plain descent",
    lambda plan: loss_cells(CURVES_2B, EARLY, plan),
    lambda rows, plan: crossing_entries(rows, "2b", CURVES_2B, tick=10),
    lambda rows, plan: order_claims(rows, ORDERS_2B, 102),
    lambda rows, plan: draw_losses(rows, "2b", ["loss"], ["linear", "tanh"], plan),
)

CURVES_5 = {"mlp-7-tanh": ("LDI-Rand", *MAGNITUDE, "LDI-CS")}


def _figure_5_entries(rows: Rows, plan: Plan) -> list[Entry]:
    xs = [x for x in (2_502, 5_002, 7_502, 10_002, 20_002, 29_502) if not plan.quick or x < 3_000]
    found = crossing_entries(rows, "5", CURVES_5, tick=500)
    return found + point_entries(rows, "5", ["loss"], xs, Tolerance(relative=0.25, absolute=0.1), CURVES_5)


def _figure_5_claims(rows: Rows, plan: Plan) -> list[Claim]:
    points = averaged(loss_rows(rows, ["loss"]), "value")
    firsts = {curve: first_below(points, "tanh loss", curve, 1.0) for curve in CURVES_5["mlp-7-tanh"]}
    return [ordered("tanh: random and magnitude masks take far longer to a loss below 1 than connection sensitivity",
                    {"the quicker of LDI-Rand and LDI-Mag (signed)": min(firsts["LDI-Rand"],
                                                                          firsts["LDI-Mag (signed)"]),
                     "3 times LDI-CS": 3 * firsts["LDI-CS"]}, detail="{:.0f}")]


FIGURE_5 = Item(
    "figure 5", "long training at 90 % sparsity, tanh MLP-7 on MNIST, plain descent",
    lambda plan: loss_cells(CURVES_5, plan.either(LONG, {**LONG, "iterations": 3_000}), plan),
    _figure_5_entries, _figure_5_claims,
    lambda rows, plan: draw_losses(rows, "5", ["loss", "accuracy"], ["tanh"], plan),
)
