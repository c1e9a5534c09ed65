"""Figure 1: where initial weights of one variance let connection sensitivity prune."""

from __future__ import annotations

import pandas as pd

from jacprobe.experiments.measures.layers import unpacked
from jacprobe.experiments.paper.item import Figure, Item, Rows
from jacprobe.experiments.paper.plan import Labelled, Plan
from jacprobe.experiments.paper.verdicts import Claim, Entry, Tolerance, entry
from jacprobe.experiments.published import published_table

_LAYERS = [f"fc{index}" for index in range(2, 7)]
_SPARSITIES = (10, 30, 50, 70, 90)
_RUNS = 10  # the pictures are of one network; entries are means over these


def _cells(plan: Plan) -> list[Labelled]:
    cells = []
    for activation in ("linear", "tanh"):
        for seed in plan.seeds(_RUNS):
            recipe = {"network": f"mlp-7-{activation}", "init": "sg", "gamma": 1.0, "method": "snip", "seed": seed}
            cells += [plan.cell("patterns", recipe | {"sparsity": sparsity / 100}, {"layers": _LAYERS},
                                panel=activation, x=float(sparsity)) for sparsity in _SPARSITIES]
            if seed == 0:
                cells.append(plan.cell("sample", recipe, {"layers": _LAYERS}, panel=activation))
    return cells


def _entries(rows: Rows, plan: Plan) -> list[Entry]:
    known, measured = published_table("figure 1"), rows.get("patterns", pd.DataFrame())
    found = []
    for name in known.index:
        activation, sparsity = name.split()
        for layer in _LAYERS:
            values = () if measured.empty else measured[
                (measured["panel"] == activation) & (measured["x"] == float(sparsity)) & (measured["layer"] == layer)
            ]["removed"]
            found.append(entry(f"{activation} {sparsity} % {layer}: black share", values, known.loc[name, layer],
                               Tolerance(absolute=0.02)))
    return found


def _claims(rows: Rows, plan: Plan) -> list[Claim]:
    measured = rows.get("patterns", pd.DataFrame(columns=["x", "panel", "layer", "removed"]))
    last = measured[measured["x"] == 90].groupby(["panel", "layer"])["removed"].mean()
    panels = last.index.get_level_values("panel")
    linear, tanh = (last[panels == name].droplevel("panel") for name in ("linear", "tanh"))
    late = tanh.reindex(["fc4", "fc5", "fc6"]).min(skipna=False)
    return [
        Claim("linear: layers are pruned alike at 90 %",
              bool(linear.max() - linear.min() < 0.05) if len(linear) else None,
              f"from {linear.min():.3f} to {linear.max():.3f}"),
        Claim("tanh: late layers vanish at 90 %", None if pd.isna(late) else bool(late > 0.999),
              f"at least {late:.4f} of layers 4 to 6 is removed"),
    ]


def _draw(rows: Rows, plan: Plan) -> Figure:
    from jacprobe.plotting.paper import plot_paper_masks

    patterns, points = rows["patterns"], rows.get("sample", pd.DataFrame(columns=["panel", "layer", "score"]))
    patterns = patterns[patterns["run"] == patterns["run"].min()]
    masks = {name: {(float(row["x"]), row["layer"]): unpacked(row) for row in group.to_dict("records")}
             for name, group in patterns.groupby("panel", sort=False)}
    scores = {name: {layer: part["score"].to_numpy() for layer, part in group.groupby("layer", sort=False)}
              for name, group in points.groupby("panel", sort=False)}
    return plot_paper_masks(masks, scores or None)


FIGURE_1 = Item("figure 1", "what connection sensitivity removes when all weights have variance 1, MLP-7 on MNIST",
                _cells, _entries, _claims, _draw)
