"""Tables of the weights: what masks leave of each parameter, and how its scores are distributed."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd
from torch import Tensor

from jacprobe.plotting import sensitivity_data
from jacprobe.report.section import MaskFacts
from jacprobe.report.table import PLACE, Cell, Column, Table, numbered

_UNITS = {"dead inputs": "dead_inputs", "dead outputs": "dead_outputs", "MACs": "sparse_macs",
          "dense MACs": "dense_macs"}
_SCORES = ("mean", "q05", "median", "q95", "max")


def mask_table(report: MaskFacts) -> Table:
    """Return a row per prunable parameter: sparsity and effective sparsity, units without weights, ranks, work."""
    headings = ["weights", "kept", "sparsity", "effective", "effective sparsity", "rank", *_UNITS]
    columns = [PLACE, Column("parameter", False), Column("shape", False), *map(Column, headings)]
    rows = [[Cell.of(row["parameter"]), Cell.of(row["shape"]), *_shares(row), _rank(row),
             *(_count(row[name]) for name in _UNITS.values())] for row in report.table.to_dict("records")]
    totals = report.table.sum(numeric_only=True)
    foot = ["", "all", "", *(cell.text for cell in _shares(totals)), "",
            *(_count(totals[name]).text for name in _UNITS.values())]
    return Table("Exact counts. Effective weights are kept and lie on a path of kept weights from the input to the"
                 " output; MACs are multiply-accumulates for one sample", columns, numbered(rows), foot)


def _shares(row: Mapping[str, float]) -> list[Cell]:
    kept, total, effective = row["kept"], row["total"], row["effective"]
    return [_count(total), _count(kept), _removed(kept, total), _count(effective), _removed(effective, total)]


def _count(number: float) -> Cell:
    return Cell("", "") if pd.isna(number) else Cell.of(f"{int(number):,}", int(number))


def _removed(kept: float, total: float) -> Cell:
    """Return the removed share, which says 100 % only where nothing is kept and 0 % where all is."""
    if not total:
        return Cell("", "")
    share = 1 - kept / total
    text = f"{100 * share:.2f} %"
    if text in ("100.00 %", "0.00 %") and 0 < kept < total:
        text = "> 99.99 %" if share > 0.5 else "< 0.01 %"
    return Cell.of(text, share)


def _rank(row: Mapping[str, float]) -> Cell:
    rank, lack = row["structural_rank"], row["rank_shortfall"]
    if pd.isna(rank):
        return Cell("", "")
    return Cell.of(f"{int(rank)} of {int(rank + lack)}", rank / max(rank + lack, 1))


def score_table(scores: Mapping[str, Tensor], label: str) -> Table:
    """Return a row per parameter: its share of all scores, and their quantiles."""
    table = sensitivity_data(scores)
    columns = [PLACE, Column("parameter", False), *map(Column, ("weights", "of all weights", "of all scores", "zeros")),
               *map(Column, _SCORES)]
    total = table["num_weights"].sum()
    rows = [[Cell.of(row["parameter"]), _count(row["num_weights"]), _percent(row["num_weights"] / total),
             _percent(row["share"]), _percent(row["zeros"]),
             *(Cell.of(f"{row[name]:.3g}", row[name]) for name in _SCORES)]
            for row in table.to_dict("records")]
    return Table(f"{label[:1].upper()}{label[1:]}; exact for these inputs, up to rounding", columns, numbered(rows))


def _percent(share: float) -> Cell:
    return Cell.of(f"{100 * share:.2f} %", math.nan if pd.isna(share) else share)
