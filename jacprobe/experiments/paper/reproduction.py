"""Compute a figure or table of the paper: its cells in a folder, then what they come to."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import pandas as pd

from jacprobe.atomic import check_output
from jacprobe.errors import ArgumentError, UnknownNameError
from jacprobe.experiments.measures import measure_cell
from jacprobe.experiments.paper.item import Item, Rows
from jacprobe.experiments.paper.plan import Labelled, Plan
from jacprobe.experiments.paper.registry import FIGURES, TABLES
from jacprobe.experiments.paper.result import PaperResult, output_paths
from jacprobe.experiments.paper.verdicts import MISSING, UNLIKE, claim_table, entry_table
from jacprobe.experiments.prerequisites import data_of, device_kind, missing_data
from jacprobe.experiments.sweeping import Store, check_backend, run_cells
from jacprobe.provenance import environment


def paper_figure(name: str | int, *, output: str | os.PathLike | None = None, **options: Any) -> PaperResult:
    """Compute a figure of the paper and return it measured beside published.

    Parameters
    ----------
    name
        "1", "2a", "2b", "3", "4", "5", "6", "7" or "8".
    output
        Folder for the figure (PDF, PNG), the table (Markdown, CSV) and the rows (parquet), and in its folder "results"
        a file per cell, from which an interrupted run goes on and which figures share; None to write nothing.
    **options
        `runs` (as published), `quick` (False: all points, images and iterations), `changes` (settings that replace
        those published, such as ``{"repair_steps": 3000}``), `training` (True; False for only what is known before
        training), `only_found` (False; True for the results that are there, nothing computed), `data_root`, `device`,
        `jobs` (one per core), `backend` ("processes"), `address`, `progress`, `overwrite` (False).

    Returns
    -------
    PaperResult
        ``.table``, ``.claims``, ``.rows``, ``.figure()``.

    Raises
    ------
    UnknownNameError
        There is no such figure, device, or setting to change.
    ArgumentError, DtypeError
        `runs` is less than 1, a changed setting is outside its domain, the folder holds results of another version or
        device, or there is nothing to compute without training.
    DataError, OutputError
        No data are found; files exist or cannot be written.

    References
    ----------
    Lee et al. 2020.

    Examples
    --------
    >>> import jacprobe as jp
    >>> result = jp.experiments.paper_figure("2a", quick=True, data_root="data")  # doctest: +SKIP
    >>> result.figure().savefig("figure-2a.pdf")  # doctest: +SKIP
    """
    return _computed(FIGURES, "figure", name, output, **options)


def paper_table(name: str | int, *, output: str | os.PathLike | None = None, **options: Any) -> PaperResult:
    """Compute a table of the paper, "1" to "6", and return it measured beside published; else as `paper_figure`."""
    return _computed(TABLES, "table", name, output, **options)


def _computed(items: Mapping[str, Item], kind: str, name: str | int, output: str | os.PathLike | None, *,
              runs: int | None = None, quick: bool = False, changes: Mapping[str, Any] | None = None,
              training: bool = True, only_found: bool = False, overwrite: bool = False, **options: Any) -> PaperResult:
    if str(name) not in items:
        raise UnknownNameError(kind, str(name), items)
    item, plan = items[str(name)], Plan(runs, quick, dict(changes or {}), training, only_found)
    if output is None:
        with tempfile.TemporaryDirectory(prefix="jacprobe-") as temporary:
            return compute(item, plan, temporary, **options)
    if Path(output).is_dir():  # else it is made with the results, once it is certain that they can be computed
        for path in output_paths(output, item.name, quick=quick):
            check_output(path, overwrite=overwrite)
    return compute(item, plan, Path(output) / "results", **options).write(output, overwrite=overwrite)


def compute(item: Item, plan: Plan, folder: str | os.PathLike, *, data_root: str | os.PathLike | None = None,
            device: str | None = None, jobs: int | None = None, backend: str = "processes",
            address: str | None = None, progress: bool | None = None) -> PaperResult:
    """Return the result of an item; cells that `folder` holds already are not computed again."""
    start = perf_counter()
    check_backend(backend, jobs, address)
    kind = device_kind(device, address)
    data_root = None if data_root is None else str(data_root)
    cells = [cell for cell in item.cells(plan) if plan.training or cell.cell.measure != "training"]
    if not cells:
        raise ArgumentError(f"`training` must be on for {item.name}, which is nothing else; got False. Leave it out.")
    missing = {} if plan.only_found else missing_data([cell.cell for cell in cells], data_root)
    here = [cell for cell in cells if not missing.keys() & data_of(cell.cell)]
    if plan.only_found:
        Store.read(folder)  # else a new one would be made
    store = Store.open(folder, facts={"device": kind})
    if plan.only_found:
        here = cells = [cell for cell in here if store.done(cell.cell)]
        if not here:
            raise ArgumentError(f"`only_found` must be left out where there is no result of {item.name}; got"
                                f" {str(folder)!r}. Compute one first.")
    outcome = run_cells([cell.cell for cell in here], store, partial(measure_cell, data_root=data_root, device=device),
                        backend=backend, jobs=jobs, address=address, progress=progress)
    rows = labelled_rows(here, store)
    settings = {"runs": len({cell.labels["run"] for cell in cells}), "quick": plan.quick,
                **({} if plan.training else {"training": False}), **plan.changes,
                "device": kind, "computed": outcome.done, "found": outcome.skipped,
                "seconds": round(perf_counter() - start), **environment()}
    unread = pd.DataFrame({"error": list(missing.values())})
    failures = pd.concat([store.failures([cell.cell for cell in here]), unread], ignore_index=True)
    together = [found.assign(measure=measure) for measure, found in rows.items()]
    entries = item.entries(rows, plan)
    if "data" in plan.changes:
        entries = [found if found.verdict == MISSING else replace(found, verdict=UNLIKE) for found in entries]
    return PaperResult(item.name, item.title, pd.concat(together, ignore_index=True) if together else pd.DataFrame(),
                       entry_table(entries), claim_table(item.claims(rows, plan)), settings, failures,
                       partial(item.draw, rows, plan))


def labelled_rows(cells: Iterable[Labelled], store: Store) -> Rows:
    """Return the recorded rows by measure, with the labels of their cells as columns."""
    found: dict[str, list[pd.DataFrame]] = {}
    for cell in cells:
        rows = store.rows([cell.cell])
        if len(rows):
            found.setdefault(cell.cell.measure, []).append(rows.drop(columns=["measure"]).assign(**cell.labels))
    return {measure: pd.concat(parts, ignore_index=True) for measure, parts in found.items()}
