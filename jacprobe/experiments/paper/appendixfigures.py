"""Figures 4, 6 and 7: all statistics and losses, magnitude pruning, other activations."""

from __future__ import annotations

import pandas as pd

from jacprobe.experiments.paper import isometryfigures as values
from jacprobe.experiments.paper import lossfigures as losses
from jacprobe.experiments.paper.curves import FIVE, at, averaged, drawn_curves, recipe
from jacprobe.experiments.paper.item import Figure, Item, Rows
from jacprobe.experiments.paper.plan import Labelled, Plan
from jacprobe.experiments.paper.verdicts import Claim, ordered
from jacprobe.experiments.published import published_curves

_ACTIVATIONS = ("linear", "tanh")


def _draw_4(rows: Rows, plan: Plan) -> Figure:
    above = [f"{name} {statistic}" for name in _ACTIVATIONS for statistic in values.STATISTICS]
    below = [f"{name} {statistic}" for name in _ACTIVATIONS for statistic in ("loss", "accuracy")]
    points = [averaged(values.statistic_rows(rows, values.STATISTICS), "value"),
              averaged(losses.loss_rows(rows, ["loss", "accuracy"]), "value")]
    words = {panel: f"JSV {panel.partition(' ')[2]}" for panel in above} | {
        panel: "Accuracy (%)" if "accuracy" in panel else "Loss" for panel in below}
    return drawn_curves(
        pd.concat(points), pd.concat([published_curves(name) for name in ("4a", "2b", "4b")]), panels=[*above, *below],
        titles={panel: panel.partition(" ")[0] for panel in words}, ylabels=words, columns=4, width=6.85,
        xlabel={panel: "Iteration" if panel in below else "Sparsity (%)" for panel in words})


FIGURE_4 = Item(
    "figure 4", "all statistics of the singular values, early loss and accuracy, MLP-7 on MNIST",
    lambda plan: [*values.FIGURE_2A.cells(plan), *losses.FIGURE_2B.cells(plan)],
    lambda rows, plan: [*values.value_entries(rows, "4a", values.STATISTICS), *losses.FIGURE_2B.entries(rows, plan)],
    lambda rows, plan: [*values.value_claims(rows, _ACTIVATIONS), *values.spread_claims(rows),
                        *losses.FIGURE_2B.claims(rows, plan)],
    _draw_4,
)


def _magnitude_cells(plan: Plan) -> list[Labelled]:
    """Return the cells of Fig. 6; a linear network diverges at the rate of the others while it is dense."""
    settings = plan.either({}, {"num_images": 500})
    return [
        plan.cell("spectra", recipe(curve, network, sparsity=sparsity, seed=seed, pretraining_rate=rate,
                                    pretraining=plan.either(80_000, 1_000)),
                  settings, panel=network.rpartition("-")[2], curve=curve, x=float(sparsity))
        for network, rate in (("mlp-7-linear", 0.02), ("mlp-7-tanh", 0.1)) for seed in plan.seeds(values.RUNS)
        for curve in losses.MAGNITUDE for sparsity in plan.either(values.SPARSITIES, values.QUICK_SPARSITIES)
    ]


def _magnitude_claims(rows: Rows, plan: Plan) -> list[Claim]:
    points = averaged(values.statistic_rows(rows, values.STATISTICS), "value")
    claims = []
    for name in _ACTIVATIONS:
        for curve in losses.MAGNITUDE:
            levels = sorted({0.0, 10.0, *points["x"]} if len(set(points["x"])) < 2 else set(points["x"]))[:2]
            dense, pruned = (at(points, f"{name} mean", curve, x) for x in levels)
            known = not (pd.isna(dense) or pd.isna(pruned))
            claims.append(Claim(f"{name}: the mean of {curve} changes abruptly at the first step",
                                not 0.5 <= pruned / dense <= 2 if known else None,
                                f"{dense:.3g} at {levels[0]:g} %, {pruned:.3g} at {levels[1]:g} %"))
    return claims


FIGURE_6 = Item(
    "figure 6", "singular values after magnitude pruning of a trained network, MLP-7 on MNIST",
    _magnitude_cells,
    lambda rows, plan: values.value_entries(rows, "6", values.STATISTICS, comparable=not plan.quick),
    _magnitude_claims,
    lambda rows, plan: values.draw_values(rows, "6", values.STATISTICS, _ACTIVATIONS),
)

_CURVES_7 = {"mlp-7-relu": losses.EIGHT, "mlp-7-lrelu": (*FIVE, "LDI-Dense")}


def _figure_7_claims(rows: Rows, plan: Plan) -> list[Claim]:
    points = averaged(losses.loss_rows(rows, ["loss"]), "value")
    claims = list(values.value_claims(rows, ["relu", "lrelu"]))
    for name in ("relu", "lrelu"):
        claims.append(ordered(f"{name} loss at 102: repairing LDI-CS makes training faster",
                              {curve: at(points, f"{name} loss", curve, 102) for curve in ("LDI-CS", "LDI-CS-AI")}))
    return claims


def _draw_7(rows: Rows, plan: Plan) -> Figure:
    panels = ["relu mean", "relu loss", "lrelu mean", "lrelu loss"]
    points = pd.concat([averaged(values.statistic_rows(rows, ["mean"]), "value"),
                        averaged(losses.loss_rows(rows, ["loss"]), "value")])
    return drawn_curves(points, None, panels=panels, columns=4, width=6.85,
                        titles={panel: panel.partition(" ")[0] for panel in panels},
                        xlabel={panel: "Sparsity (%)" if "mean" in panel else "Iteration" for panel in panels},
                        ylabels={panel: "JSV mean" if "mean" in panel else "Loss" for panel in panels},
                        limits={panel: (-0.1, 3) for panel in panels if "loss" in panel})  # a guess has ln 10


FIGURE_7 = Item(
    "figure 7", "mean singular value and early training loss of ReLU and leaky ReLU MLP-7 on MNIST",
    lambda plan: [*values.value_cells(["mlp-7-relu", "mlp-7-lrelu"], plan),
                  *losses.loss_cells(_CURVES_7, losses.EARLY, plan)],
    lambda rows, plan: [*values.value_entries(rows, "7", ["mean"]),
                        *losses.crossing_entries(rows, "7", _CURVES_7, tick=10)],
    _figure_7_claims, _draw_7,
)
