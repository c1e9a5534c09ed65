"""Tables of many cells: columns of the settings before those of the results."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow

from jacprobe.experiments.sweeping.cell import Cell
from jacprobe.experiments.sweeping.cellfile import Failure


def row_table(found: Sequence[tuple[Cell, pyarrow.Table]]) -> pd.DataFrame:
    """Return the rows of all tables under each other, each behind the settings of its cell."""
    measured = _concatenated([table for _, table in found])
    settings = _setting_table([cell for cell, _ in found])
    settings = settings.rename(columns={name: f"settings.{name}" for name in settings if name in measured})
    counts = [table.num_rows for _, table in found]
    repeated = settings.iloc[np.repeat(np.arange(len(found)), counts)].reset_index(drop=True)
    return pd.concat([repeated, measured], axis=1)


def failure_table(found: Sequence[tuple[Cell, Failure]]) -> pd.DataFrame:
    """Return a row per failed cell: settings, error, traceback."""
    reasons = pd.DataFrame([failure for _, failure in found], columns=list(Failure._fields), dtype=object)
    return pd.concat([_setting_table([cell for cell, _ in found]), reasons], axis=1)


def _setting_table(cells: Sequence[Cell]) -> pd.DataFrame:
    return pd.DataFrame([cell.columns for cell in cells], columns=None if cells else ["measure"])


def _concatenated(tables: Sequence[pyarrow.Table]) -> pd.DataFrame:
    if not tables:
        return pd.DataFrame()
    plain = [table.replace_schema_metadata(None) for table in tables]  # pandas' own notes differ between tables
    try:
        return pyarrow.concat_tables(plain, promote_options="permissive").to_pandas()
    except pyarrow.ArrowException:  # a column has numbers in one cell and texts in another
        return pd.concat([table.to_pandas().astype(object) for table in plain], ignore_index=True).infer_objects()
