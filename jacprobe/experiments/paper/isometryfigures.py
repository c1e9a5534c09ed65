"""Figures 2a and 4a, and the left halves of 7: statistics of the Jacobian singular values against sparsity."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from jacprobe.experiments.paper.curves import FIVE, SPARSITIES, at, averaged, drawn_curves, each_point, recipe
from jacprobe.experiments.paper.item import Figure, Item, Rows
from jacprobe.experiments.paper.plan import Labelled, Plan
from jacprobe.experiments.paper.verdicts import Claim, Entry, Tolerance, entry, ordered
from jacprobe.experiments.published import published_curves

RUNS, STATISTICS = 10, ("mean", "max", "min", "std")
QUICK_SPARSITIES = (0, 30, 60, 90)


def value_cells(networks: Sequence[str], plan: Plan, curves: Sequence[str] = FIVE) -> list[Labelled]:
    """Return a cell per network, run, curve and sparsity; x is the sparsity in %, the panel the activation."""
    settings = plan.either({}, {"num_images": 500})
    return [
        plan.cell("spectra", recipe(curve, network, sparsity=sparsity, seed=seed, **_quick_repair(curve, plan)),
                  settings, panel=network.rpartition("-")[2], curve=curve, x=float(sparsity))
        for seed in plan.seeds(RUNS) for network in networks for curve in curves
        for sparsity in plan.either(SPARSITIES, QUICK_SPARSITIES)
    ]


def _quick_repair(curve: str, plan: Plan) -> dict[str, int]:
    return {"repair_steps": 1_500} if plan.quick and curve.endswith("-AI") else {}


def statistic_rows(rows: Rows, statistics: Sequence[str]) -> pd.DataFrame:
    """Return a row per measured value with the panel "tanh mean" and the column `value`."""
    spectra = rows.get("spectra", pd.DataFrame())
    if spectra.empty:
        return spectra
    parts = [spectra.assign(panel=spectra["panel"] + f" {name}", value=spectra[name]) for name in statistics]
    return pd.concat(parts, ignore_index=True)


def value_entries(rows: Rows, figure: str, statistics: Sequence[str], *, comparable: bool = True) -> list[Entry]:
    """Return an entry per point; VS has its wider tolerance, since the published means lie low by chance."""
    found = []
    for (panel, curve, x), values, known in each_point(statistic_rows(rows, statistics), "value",
                                                       published_curves(figure)):
        tolerance = Tolerance(relative=0.15 if curve.startswith("VS") else 0.12)
        found.append(entry(f"{panel} {curve} {x:g} %", values, known, tolerance, comparable=comparable))
    return found


def value_claims(rows: Rows, activations: Sequence[str]) -> list[Claim]:
    """Return what the paper says of the mean against sparsity."""
    points = averaged(statistic_rows(rows, ["mean"]), "value")
    levels = sorted(set(points["x"]))
    claims = []
    for name in activations:
        panel = f"{name} mean"
        for curve in ("LDI-Rand", "LDI-CS", "VS-CS"):
            claims.append(ordered(f"{name}: the mean of {curve} falls with sparsity",
                                  {f"{x:g} %": at(points, panel, curve, x) for x in levels}))
        for x in (x for x in levels if x >= 10):
            claims.append(ordered(f"{name}, {x:g} %: LDI-CS keeps more than LDI-Rand",
                                  {curve: at(points, panel, curve, x) for curve in ("LDI-CS", "LDI-Rand")}))
        for x in (x for x in levels if x <= 60):
            claims.append(ordered(f"{name}, {x:g} %: LDI-CS keeps more than VS-CS",
                                  {curve: at(points, panel, curve, x) for curve in ("LDI-CS", "VS-CS")}))
        for curve in ("LDI-CS", "LDI-Rand"):
            last = levels[-1] if levels else 90
            dense, repaired = at(points, panel, curve, 0), at(points, panel, f"{curve}-AI", last)
            known = not (pd.isna(dense) or pd.isna(repaired))
            claims.append(Claim(f"{name}: AI brings {curve} at {last:g} % back to within a fifth of the dense mean",
                                abs(repaired / dense - 1) <= 0.2 if known else None,
                                f"dense {dense:.3g}, repaired {repaired:.3g}"))
    return claims


def draw_values(rows: Rows, figure: str, statistics: Sequence[str], activations: Sequence[str]) -> Figure:
    """Return the panels, a row per activation and a column per statistic."""
    panels = [f"{name} {statistic}" for name in activations for statistic in statistics]
    return drawn_curves(
        averaged(statistic_rows(rows, statistics), "value"), published_curves(figure), panels=panels,
        titles={panel: panel.partition(" ")[0] for panel in panels}, xlabel="Sparsity (%)",
        ylabels={panel: f"JSV {panel.partition(' ')[2]}" for panel in panels},
        columns=len(statistics) if len(statistics) > 1 else len(activations),
        width=3.3 * min(2, max(len(statistics), len(activations)) / 2) if len(panels) > 1 else 3.3)


_MLPS, _ACTIVATIONS = ("mlp-7-linear", "mlp-7-tanh"), ("linear", "tanh")
FIGURE_2A = Item(
    "figure 2a", "mean Jacobian singular value against sparsity, MLP-7 on MNIST",
    lambda plan: value_cells(_MLPS, plan),
    lambda rows, plan: value_entries(rows, "2a", ["mean"]),
    lambda rows, plan: value_claims(rows, _ACTIVATIONS),
    lambda rows, plan: draw_values(rows, "2a", ["mean"], _ACTIVATIONS),
)


def spread_claims(rows: Rows) -> list[Claim]:
    """Return what the paper says of the spread: orthogonal weights have less of it than scaled Gaussian ones."""
    points = averaged(statistic_rows(rows, ["std"]), "value")
    return [ordered(f"{name}, {x:g} %: the spread of VS-CS is above that of LDI-CS",
                    {curve: at(points, f"{name} std", curve, x) for curve in ("VS-CS", "LDI-CS")})
            for name in _ACTIVATIONS for x in sorted(set(points["x"]))]
