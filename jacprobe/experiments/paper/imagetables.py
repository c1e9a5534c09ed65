"""Tables 2, 3 and 6 and Figures 3 and 8: convolutional networks on CIFAR-10, and on Tiny-ImageNet where it is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from jacprobe.experiments.paper.curves import averaged, drawn_curves
from jacprobe.experiments.paper.item import Figure, Item, Rows
from jacprobe.experiments.paper.lossfigures import first_below, loss_rows
from jacprobe.experiments.paper.mnisttables import draw_entries, error_entries, errors_of, final_errors
from jacprobe.experiments.paper.plan import Labelled, Plan
from jacprobe.experiments.paper.verdicts import Claim, Entry, Tolerance, entry, ordered
from jacprobe.experiments.published import published_curves, published_table

RUNS = 5
TRAINING: dict[str, Any] = {"protocol": "paper", "iterations": 100_000, "rate": 0.1, "drop_every": 25_000,
                            "momentum": 0.9, "batch_size": 128, "evaluate_every": 1_000, "log_every": 1_000,
                            "augmentation": ["flip", "translate"]}
_QUICK = {**TRAINING, "iterations": 5, "evaluate_every": 5, "log_every": 1,
          "batch_size": 32, "protocol": "clean", "evaluated": False}
_AI = {"repair": "paper-sgd", "repair_steps": None}
# "conv-orthogonal" is the block construction of the paper's code, in fully connected layers plain orthogonal
INITS: Mapping[str, dict[str, Any]] = {
    "VS-L": {"init": "vs-l"}, "VS-G": {"init": "vs-g"}, "VS-H": {"init": "vs-h"}, "LDI": {"init": "conv-orthogonal"},
    "LDI-AI": {"init": "conv-orthogonal", **_AI},
}


def _recipe(network: str, plan: Plan, **fields: Any) -> dict[str, Any]:
    """Return the fields of a recipe on CIFAR-10; its quick form scores few images and repairs in few steps."""
    found = {"network": network, "data": "cifar-10", **fields}
    if plan.quick:
        found |= {"num_scored": 100} | ({"repair_steps": 10} if "repair" in fields else {})
    return found


# Table 2

_NETWORKS = ("vgg16-bn", "resnet-32", "resnet-56", "resnet-110", "wrn-16-6")
_OTHER = "wrn-16-6"  # is published of Tiny-ImageNet, which is not read: here it has other images and classes
_SCORED = 1_000  # images that decide the orthogonality scores: with more no score moves by its own standard error


def _table_2_cells(plan: Plan) -> list[Labelled]:
    cells = []
    for network in plan.either(_NETWORKS, ("resnet-32",)):
        for seed in plan.seeds(RUNS):
            for name, fields in INITS.items():
                recipe = _recipe(network, plan, method="snip", sparsity=0.9, seed=seed, **fields)
                cells.append(plan.cell("layers", {"num_scored": _SCORED, **recipe}, panel=network, curve=name))
                cells.append(plan.cell("training", recipe, plan.either(TRAINING, _QUICK), panel=network, curve=name))
    return cells


def _table_2_entries(rows: Rows, plan: Plan) -> list[Entry]:
    layers, errors, table = rows.get("layers", pd.DataFrame()), final_errors(rows), published_table("2")
    found = []
    for name, known in table.iterrows():
        network, _, curve = name.partition(" ")
        here = layers[(layers["panel"] == network) & (layers["curve"] == curve)] if len(layers) else layers
        scores = here.groupby("run")["orthogonality_score"].first() if len(here) else ()
        found.append(entry(f"{name}: orthogonality score", scores, known["score"], Tolerance(relative=0.03),
                           comparable=not (plan.quick and curve == "LDI-AI") and network != _OTHER))
    for name, known in table.iterrows():
        network, _, curve = name.partition(" ")
        found.append(entry(f"{name}: error, %", errors_of(errors, network, curve), known["error"],
                           Tolerance(absolute=0.4), comparable=not plan.quick and network != _OTHER))
    return found


def _table_2_claims(rows: Rows, plan: Plan) -> list[Claim]:
    layers, errors = rows.get("layers", pd.DataFrame()), final_errors(rows)
    claims = []
    for network in _NETWORKS:
        scores = {} if layers.empty else layers[layers["panel"] == network].groupby("curve", sort=False)[
            "orthogonality_score"].mean().to_dict()
        others = [value for name, value in scores.items() if name != "LDI-AI"]
        claims.append(Claim(f"{network}: LDI-AI has the lowest orthogonality score",
                            scores["LDI-AI"] < min(others) if "LDI-AI" in scores and others else None,
                            ", ".join(f"{name} {value:.3g}" for name, value in scores.items())))
        means = {name: float(errors_of(errors, network, name).mean()) for name in ("LDI", "LDI-AI")}
        means = {name: float("nan") for name in means} if plan.quick else means
        claims.append(ordered(f"{network}: repair lowers the error of LDI", means))
    return claims


TABLE_2 = Item("table 2", "orthogonality scores and errors at 90 % sparsity", _table_2_cells, _table_2_entries,
               _table_2_claims, lambda rows, plan: draw_entries(_table_2_entries(rows, plan)))


# Table 3

def _table_3_cells(plan: Plan) -> list[Labelled]:
    cells = []
    for panel in plan.either(published_table("3").columns, ["resnet-32 tanh"]):
        network, _, activation = panel.partition(" ")
        for seed in plan.seeds(RUNS):
            for name, fields in INITS.items():
                recipe = _recipe(f"{network}?activation={activation}", plan, method="snip", sparsity=0.9, seed=seed,
                                 **fields)
                cells.append(plan.cell("training", recipe, plan.either(TRAINING, _QUICK), panel=panel, curve=name))
    return cells


def _table_3_claims(rows: Rows, plan: Plan) -> list[Claim]:
    errors = final_errors(rows)
    claims = []
    for panel in published_table("3").columns:
        means = {name: float(errors_of(errors, panel, name).mean()) for name in ("VS-L", "LDI-AI")}
        means = {name: float("nan") for name in means} if plan.quick else means
        claims.append(ordered(f"{panel}: LDI-AI beats VS-L", means))
    return claims


TABLE_3 = Item("table 3", "other activations at 90 % sparsity, CIFAR-10", _table_3_cells,
               lambda rows, plan: error_entries(rows, plan, published_table("3"), Tolerance(absolute=0.4)),
               _table_3_claims,
               lambda rows, plan: draw_entries(error_entries(rows, plan, published_table("3"),
                                                             Tolerance(absolute=0.4))))


# Table 6 and Figure 3

_BASE_SIZE = 269_034  # parameters of ResNet-20, to which all are reduced


def _sculpted(name: str) -> tuple[str, float]:
    """Return the network of a row of Table 6 and the sparsity that leaves it as many parameters as ResNet-20."""
    shape, _, blocks = name.rpartition(" blocks=")
    k = shape.rpartition("k=")[2]
    size = int(published_table("6").loc[name, "parameters"])
    return f"resnet-20?k={k}&block_size={blocks}", 1 - _BASE_SIZE / size


def _table_6_cells(plan: Plan) -> list[Labelled]:
    cells = []
    for name in published_table("6").index:
        network, sparsity = _sculpted(name)
        for seed in plan.seeds(RUNS):
            fields = {"init": "vs-h"} if not sparsity else {"init": "conv-orthogonal", "method": "snip",
                                                            "score_loss": "uniform", "sparsity": sparsity}
            recipe = _recipe(network, plan, seed=seed, **fields)
            if not plan.quick or sparsity < 0.9:
                cells.append(plan.cell("training", recipe, plan.either(TRAINING, _QUICK), panel="error", curve=name))
            counted = recipe if not sparsity else recipe | {"num_scored": 100}
            if seed == 0:
                cells.append(plan.cell("layers", counted, panel="size", curve=name))
    return cells


def _table_6_entries(rows: Rows, plan: Plan) -> list[Entry]:
    layers, errors, table = rows.get("layers", pd.DataFrame()), final_errors(rows), published_table("6")
    found = []
    for name, known in table.iterrows():
        here = layers[layers["curve"] == name] if len(layers) else layers
        size = here["num_prunable"].iloc[:1] if len(here) else ()
        found.append(entry(f"{name}: parameters", size, known["parameters"], Tolerance()))
        shares = [100 * (1 - _BASE_SIZE / value) for value in size]
        # 41.90 by count; the paper prints 42.0
        found.append(entry(f"{name}: sparsity, %", shares, known["sparsity"], Tolerance(absolute=0.105)))
    for name, known in table.iterrows():
        found.append(entry(f"{name}: error, %", errors_of(errors, "error", name), known["error"],
                           Tolerance(absolute=0.4), comparable=not plan.quick))
    return found


def _table_6_claims(rows: Rows, plan: Plan) -> list[Claim]:
    errors = final_errors(rows)
    if plan.quick or errors.empty:
        return [Claim("all sparse networks beat the dense one of the same size", None)]
    means = errors.groupby("curve", sort=False)["final_error"].mean()
    base = [name for name in means.index if name.startswith("Base")]
    others = means.drop(base)
    known = bool(base) and len(others) == len(published_table("6")) - 1
    return [Claim("all sparse networks beat the dense one of the same size",
                  bool((others < means[base[0]]).all()) if known else None,
                  ", ".join(f"{name} {value:.2f}" for name, value in means.items()))]


def _draw_sculpting(rows: Rows, plan: Plan) -> Figure:
    from jacprobe.plotting.paper import plot_paper_sculpting

    table, errors = published_table("6"), final_errors(rows)
    group = [name.partition(" k=")[0] for name in table.index]
    known = pd.DataFrame({"group": group, "sparsity": table["sparsity"], "error": table["error"]})
    means = errors.groupby("curve")["final_error"].agg(["mean", "sem"]).reindex(table.index)
    measured = known.assign(error=means["mean"].astype(float), se=means["sem"].astype(float))
    return plot_paper_sculpting(measured.reset_index(drop=True), known.reset_index(drop=True))


TABLE_6 = Item("table 6", "networks of other shapes reduced to the size of ResNet-20, CIFAR-10", _table_6_cells,
               _table_6_entries, _table_6_claims, _draw_sculpting)
FIGURE_3 = Item("figure 3", "error against sparsity of networks of one size, CIFAR-10", _table_6_cells,
                _table_6_entries, _table_6_claims, _draw_sculpting)


# Figure 8

_CURVES_8: Mapping[str, dict[str, Any]] = {
    "LDI-Dense": {"method": None},
    "LDI-CS": {"method": "snip", "sparsity": 0.9},
    "LDI-CS-AIF": {"method": "snip", "sparsity": 0.9, **_AI},
    "LDI-CS-AIS": {"method": "snip", "sparsity": 0.9, **_AI, "objective": "spectral"},
}
_LEVELS = (2.0, 1.0, 0.5)


def _figure_8_cells(plan: Plan) -> list[Labelled]:
    settings = plan.either({**TRAINING, "iterations": 40_000, "log_every": 10, "augmentation": [], "protocol": "clean",
                            "evaluated": False}, {**_QUICK, "augmentation": []})
    network = plan.either("vgg16", "vgg16?width=16")
    return [plan.cell("training", _recipe(network, plan, init="conv-orthogonal", seed=seed, **fields), settings,
                      panel="vgg", curve=curve) for seed in plan.seeds(RUNS) for curve, fields in _CURVES_8.items()]


def _smoothed(rows: Rows) -> pd.DataFrame:
    """Return the points with losses averaged over 400 iterations, as the published crossings were read."""
    points = averaged(loss_rows(rows, ["loss"]), "value")
    if points.empty:
        return points
    values = points.groupby(["panel", "curve"], sort=False)["value"].transform(
        lambda v: v.rolling(40, min_periods=1).mean())
    return points.assign(value=values)


_CROSSINGS = {"LDI-Dense": (900, 4_020, 6_510), "LDI-CS-AIF": (360, 3_300, 7_680),
              "LDI-CS-AIS": (5_430, 11_370, 18_360), "LDI-CS": (9_150, 16_290, 22_860)}


def _figure_8_entries(rows: Rows, plan: Plan) -> list[Entry]:
    points = _smoothed(rows)
    found = []
    for curve, published in _CROSSINGS.items():
        for level, known in zip(_LEVELS, published, strict=True):
            value = first_below(points, "vgg loss", curve, level)
            found.append(entry(f"{curve}: first iteration below {level:g}", [] if pd.isna(value) else [value], known,
                               Tolerance(relative=0.25), comparable=not plan.quick))
    return found


def _figure_8_claims(rows: Rows, plan: Plan) -> list[Claim]:
    points = _smoothed(rows)
    firsts = {curve: float("nan") if plan.quick else first_below(points, "vgg loss", curve, 1.0) for curve in
              ("LDI-CS", "LDI-CS-AIS", "LDI-Dense", "LDI-CS-AIF")}
    return [ordered("iterations to a loss of 1: CS, AIS, dense, AIF in falling order", firsts, detail="{:.0f}")]


def _draw_8(rows: Rows, plan: Plan) -> Figure:
    panels = ["vgg loss", "vgg accuracy"]
    palette = {"LDI-Dense": "C0", "LDI-CS": "C1", "LDI-CS-AIF": "C2", "LDI-CS-AIS": "C3"}  # as in the published one
    return drawn_curves(averaged(loss_rows(rows, ["loss", "accuracy"]), "value"), published_curves("8"),
                             panels=panels, titles=dict.fromkeys(panels, "VGG16"), xlabel="Iteration",
                             ylabels={"vgg loss": "Loss", "vgg accuracy": "Accuracy (%)"}, palette=palette, columns=1,
                             width=3.3)


FIGURE_8 = Item("figure 8", "training of VGG16 without batch normalisation at 90 % sparsity, CIFAR-10",
                _figure_8_cells, _figure_8_entries, _figure_8_claims, _draw_8)
