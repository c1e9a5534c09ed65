"""Two masks side by side, parameter by parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    import pandas as pd


def overlap_table(masks: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> pd.DataFrame:
    """Return a row per parameter and one for the total; see ``Masks.overlap``."""
    import pandas as pd

    rows = []
    for name, mask in masks.items():
        kept, other_kept, both = int(mask.sum()), int(other[name].sum()), int((mask & other[name]).sum())
        rows.append((name, mask.numel(), kept, other_kept, both, kept * other_kept / max(mask.numel(), 1)))
    total = [sum(column) for column in list(zip(*rows, strict=True))[1:]] or [0, 0, 0, 0, 0.0]
    names = ["parameter", "num_weights", "kept", "other_kept", "both", "both_by_chance"]
    table = pd.DataFrame([*rows, ("total", *total)], columns=names)
    either = table["kept"] + table["other_kept"] - table["both"]
    table["jaccard"] = (table["both"] / either.where(either > 0)).fillna(1.0)  # two empty masks are the same mask
    size = table["num_weights"]
    table["agreement"] = ((size - either + table["both"]) / size.where(size > 0)).fillna(1.0)
    return table
