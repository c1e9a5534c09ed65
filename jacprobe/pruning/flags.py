"""What is wrong with a mask: layers without weights, networks without paths."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

KINDS = ("disconnected", "layer collapse", "empty layer", "dead branch", "rank")


@dataclass(frozen=True)
class Flag:
    """One thing that is wrong.

    Attributes
    ----------
    kind
        "disconnected", no path leads from the input to the output; "layer collapse", a layer lost all of its weights
        and the network is cut though weights remain elsewhere (Tanaka et al. 2020); "empty layer", layers without a
        weight; "dead branch", no path goes through weights that others bypass; "rank", zeros alone lower the rank of
        the matrices of layers that are not empty.
    parameters
        Names of the parameters concerned.
    text
        The same in words.
    """

    kind: str
    parameters: tuple[str, ...]
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


def find_flags(table: pd.DataFrame, *, is_connected: bool, usable: set[str]) -> tuple[Flag, ...]:
    """Return the flags of a report's table, the gravest first.

    Parameters
    ----------
    table
        A row per prunable parameter.
    is_connected
        Whether any path leads from the input to the output.
    usable
        Names of the parameters that lie on a path where nothing is pruned.
    """
    weights = table[table["structural_rank"].notna() & table["total"].gt(0)]
    empty = list(weights.loc[weights["kept"].eq(0), "parameter"])
    flags = []
    if not is_connected:
        flags.append(Flag("disconnected", (), "no path of kept weights leads from the input to the output"))
        if empty and table["kept"].sum() > 0:
            flags.append(Flag("layer collapse", tuple(empty), f"{_listed(empty)} lost every weight while"
                              f" {int(table['kept'].sum())} remain elsewhere"))
    if empty:
        total = int(weights.loc[weights["kept"].eq(0), "total"].sum())
        verb = "keeps none of its" if len(empty) == 1 else "keep none of their"
        flags.append(Flag("empty layer", tuple(empty), f"{_listed(empty)} {verb} {total} weights"))
    if is_connected:
        flags += _dead_branches(weights, usable)
    return (*flags, *_low_ranks(weights[weights["rank_shortfall"].gt(0) & weights["kept"].gt(0)]))


def _low_ranks(weights: pd.DataFrame) -> list[Flag]:
    """One flag for all layers, the worst first, as in most nets there are many."""
    full = weights["structural_rank"] + weights["rank_shortfall"]
    worst = weights.assign(full=full, share=weights["structural_rank"] / full).sort_values("share", kind="stable")
    ranks = [f"{row.structural_rank} of {row.full} in {row.parameter}" for row in worst.itertuples()]
    text = f"zeros alone lower it to {_listed(ranks, 3)}"
    return [Flag("rank", tuple(worst["parameter"]), text)] if ranks else []


def _dead_branches(weights: pd.DataFrame, usable: set[str]) -> list[Flag]:
    """Weights off every path in a connected network, together by the module that holds their layers."""
    dead = weights.loc[weights["effective"].eq(0) & weights["parameter"].isin(usable), "parameter"]
    blocks: dict[str, list[str]] = {}
    for name in dead:
        layer = name.rpartition(".")[0]
        blocks.setdefault(layer.rpartition(".")[0], []).append(name)
    return [Flag("dead branch", tuple(names), f"no path goes through {_listed(names)}, though others bypass"
                 f" {'it' if len(names) == 1 else 'them'}") for names in blocks.values()]


def _listed(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
