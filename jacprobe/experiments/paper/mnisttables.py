"""Tables 1, 4 and 5: errors of trained networks on MNIST, and what Table 1 says of them before training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from jacprobe.experiments.paper.item import Figure, Item, Rows
from jacprobe.experiments.paper.plan import Labelled, Plan
from jacprobe.experiments.paper.verdicts import Claim, Entry, Tolerance, entry, ordered
from jacprobe.experiments.published import published_table

RUNS = 10
# of appendix B; the figures are of plain descent, with which these errors are half a point higher
TRAINING: dict[str, Any] = {"protocol": "paper", "iterations": 80_000, "rate": 0.1, "drop_every": 20_000,
                            "momentum": 0.9, "batch_size": 100, "evaluate_every": 1_000, "log_every": 1_000}
_QUICK = {**TRAINING, "iterations": 1_000, "evaluate_every": 500, "log_every": 100}
_COLUMNS = ("run", "panel", "curve")


def final_errors(rows: Rows) -> pd.DataFrame:
    """Return a row per training: its labels, final_error in %, and the iteration where it diverged."""
    found = rows.get("training", pd.DataFrame())
    if found.empty:
        return pd.DataFrame(columns=[*_COLUMNS, "final_error", "diverged"])
    return found.groupby(list(_COLUMNS), sort=False, as_index=False).last()[[*_COLUMNS, "final_error", "diverged"]]


def errors_of(errors: pd.DataFrame, panel: str, curve: str) -> pd.Series:
    """Return the errors of all runs of one entry of a table."""
    return errors[(errors["panel"] == panel) & (errors["curve"] == curve)]["final_error"]


def error_entries(rows: Rows, plan: Plan, table: pd.DataFrame, tolerance: Tolerance) -> list[Entry]:
    """Return an entry per error of a table whose rows are curves and whose columns are panels."""
    errors = final_errors(rows)
    return [entry(f"{panel} {curve}: error, %", errors_of(errors, panel, curve), table.loc[curve, panel], tolerance,
                  comparable=not plan.quick) for panel in table.columns for curve in table.index]


def draw_entries(entries: list[Entry]) -> Figure:
    """Return the entries as points with their standard errors, the published ones hollow beside them."""
    from jacprobe.experiments.paper.verdicts import entry_table
    from jacprobe.plotting.paper import plot_paper_entries

    return plot_paper_entries(entry_table(entries))


# Table 1

_LOSSES = {"GT": "labels", "Pred. (raw)": "raw", "Pred. (softmax)": "softmax", "Unif.": "uniform"}


def _table_1_cells(plan: Plan) -> list[Labelled]:
    cells = []
    for gamma in published_table("1").index:
        for seed in plan.seeds(RUNS):
            recipe = {"network": "mlp-7-tanh", "init": "sg", "gamma": float(gamma), "method": "snip", "sparsity": 0.9,
                      "seed": seed}
            labels = {"panel": "tanh", "curve": gamma}
            dense = {name: recipe[name] for name in ("network", "init", "gamma", "seed")}
            # where units saturate, the smallest values lie under the floor of float32
            measured = {"accuracy": "relative"} if float(gamma) >= 0.1 else {}
            few = {"num_images": 1_000} if plan.quick else {}
            cells.append(plan.cell("spectra", dense, measured | few, **labels))
            cells.append(plan.cell("layers", recipe, **labels))
            # trained from fresh weights, as a footnote of the paper's first version says
            cells.append(plan.cell("training", recipe | {"reinit": "vs-g"}, plan.either(TRAINING, _QUICK), **labels))
    return cells


def _table_1_entries(rows: Rows, plan: Plan) -> list[Entry]:
    table, errors = published_table("1"), final_errors(rows)
    spectra, layers = rows.get("spectra", pd.DataFrame()), rows.get("layers", pd.DataFrame())
    found = []
    for gamma, known in table.iterrows():
        name = f"gamma {float(gamma):g}"
        here = spectra[spectra["curve"] == gamma] if len(spectra) else spectra
        for statistic, tolerance in (("mean", Tolerance(relative=0.15)), ("std", Tolerance(relative=0.15)),
                                     ("cond", Tolerance(factor=2))):
            value = float("inf") if statistic == "cond" and pd.isna(known["cond"]) else known[statistic]
            found.append(entry(f"{name}: JSV {statistic}", here.get(statistic, ()), value, tolerance,
                               comparable=not plan.quick or statistic != "cond"))
        for layer in (column for column in table.columns if column.startswith("fc")):
            removed = layers[(layers["curve"] == gamma) & (layers["layer"] == layer)]["removed"] if len(layers) else ()
            found.append(entry(f"{name}: removed share of {layer}", removed, known[layer], Tolerance(absolute=0.02)))
        # a network that has come apart gives one class: errors near 90 % differ by the class alone
        tolerance = Tolerance(absolute=0.25 if known["error"] < 50 else 2.0)
        found.append(entry(f"{name}: error, %", errors_of(errors, "tanh", gamma), known["error"], tolerance,
                           comparable=not plan.quick or known["error"] > 50))
    return found


def _table_1_claims(rows: Rows, plan: Plan) -> list[Claim]:
    spectra, errors = rows.get("spectra", pd.DataFrame()), final_errors(rows)
    if spectra.empty or errors.empty:
        return [Claim("condition numbers above 1e11 and failing to train go together", None)]
    conds = spectra.groupby("curve", sort=False)["cond"].median()
    failing = errors.groupby("curve", sort=False)["final_error"].min() > 80
    agree = all((conds[gamma] > 1e11) == failing[gamma] for gamma in conds.index if gamma in failing.index)
    return [Claim("condition numbers above 1e11 and failing to train go together", agree,
                  ", ".join(f"{gamma}: {conds[gamma]:.2g}" for gamma in conds.index))]


TABLE_1 = Item("table 1", "Gaussian weights of variance gamma in every layer, tanh MLP-7 on MNIST, 90 % removed",
               _table_1_cells, _table_1_entries, _table_1_claims,
               lambda rows, plan: draw_entries(_table_1_entries(rows, plan)))


# Table 4

def _table_4_cells(plan: Plan) -> list[Labelled]:
    return [plan.cell("training", {"network": network, "method": "snip", "sparsity": 0.9, "score_loss": loss,
                                   "seed": seed},
                      plan.either(TRAINING, _QUICK), panel=network, curve=name)
            for network in published_table("4").columns for seed in plan.seeds(RUNS) for name, loss in _LOSSES.items()]


def _table_4_claims(rows: Rows, plan: Plan) -> list[Claim]:
    errors = final_errors(rows)
    claims = []
    for network in published_table("4").columns:
        means = {name: float(errors_of(errors, network, name).mean()) for name in _LOSSES}
        claims.append(ordered(f"{network}: labels beat the uniform loss", {name: means[name] for name in
                                                                           ("Unif.", "GT")}))
        better = min(("Pred. (raw)", "Pred. (softmax)"), key=means.get)
        claims.append(ordered(f"{network}: the uniform loss beats both losses by predictions",
                              {name: means[name] for name in (better, "Unif.")}))
    return claims


TABLE_4 = Item("table 4", "connection sensitivity without labels, K-layer tanh MLPs on MNIST, 90 % removed",
               _table_4_cells,
               lambda rows, plan: error_entries(rows, plan, published_table("4"), Tolerance(absolute=0.4)),
               _table_4_claims,
               lambda rows, plan: draw_entries(error_entries(rows, plan, published_table("4"),
                                                             Tolerance(absolute=0.4))))


# Table 5

_PRUNINGS: Mapping[str, dict[str, Any]] = {
    "GT": {"method": "snip"}, "Unif.": {"method": "snip", "score_loss": "uniform"}, "Rand": {"method": "random"}}


def _table_5_cells(plan: Plan) -> list[Labelled]:
    cells = []
    for name in published_table("5").index:
        scored_on, _, data = name.partition(" to ")
        for seed in plan.seeds(RUNS):
            for pruning, fields in _PRUNINGS.items():
                recipe = {"network": "lenet-300-100", "data": data, "sparsity": 0.97, "seed": seed, **fields}
                if scored_on != data and fields["method"] == "snip":
                    recipe["scored_on"] = scored_on
                cells.append(plan.cell("training", recipe, plan.either(TRAINING, _QUICK), panel=pruning, curve=name))
    return cells


def _table_5_claims(rows: Rows, plan: Plan) -> list[Claim]:
    errors, costs = final_errors(rows), {}
    claims = []
    for name in published_table("5").index:
        means = {pruning: float(errors_of(errors, pruning, name).mean()) for pruning in _PRUNINGS}
        claims.append(ordered(f"{name}: random masks are worse by 9 points and more",
                              {"Rand": means["Rand"], "9 more than GT, Unif.": 9 + max(means["GT"], means["Unif."])}))
        costs[name] = means["Unif."] - means["GT"]
    for data, other in (("mnist", "fashion-mnist"), ("fashion-mnist", "mnist")):
        claims.append(ordered(f"{data}: to go without labels costs less where masks come from other data",
                              {name: costs[name] for name in (f"{data} to {data}", f"{other} to {data}")}))
    return claims


TABLE_5 = Item("table 5", "masks carried over between MNIST and Fashion-MNIST, LeNet-300-100, 97 % removed",
               _table_5_cells,
               lambda rows, plan: error_entries(rows, plan, published_table("5"), Tolerance(absolute=0.4)),
               _table_5_claims,
               lambda rows, plan: draw_entries(error_entries(rows, plan, published_table("5"),
                                                             Tolerance(absolute=0.4))))
