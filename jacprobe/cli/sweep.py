"""``jacprobe sweep``: networks measured over a grid of settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jacprobe.cli.options import naming_options, parsed_settings
from jacprobe.errors import JacprobeError

if TYPE_CHECKING:
    import pandas as pd

    from jacprobe.experiments import Cell, Outcome

_MOST_ROWS, _MOST_CELLS = 40, 5  # of the results and of a plan that are shown
_Texts, _Numbers = list[str] | None, list[float] | None


def _repeatable(text: str) -> Any:
    return typer.Option(help=f"{text} (repeatable).", show_default=False)


@naming_options()
def sweep(
    output: Annotated[Path, typer.Option(help="Folder of the results, from which an interrupted sweep goes on.",
                                         show_default=False)],
    network: Annotated[_Texts, _repeatable("Name such as mlp-7-tanh, or resnet-20?k=2")] = None,
    init: Annotated[_Texts, _repeatable("Initial weights, such as orthogonal or vs-h")] = None,
    method: Annotated[_Texts, _repeatable("Scores to prune by, such as snip; none for a dense network")] = None,
    loss: Annotated[_Texts, _repeatable("Of the scores: labels, uniform, ...")] = None,
    sparsity: Annotated[_Numbers, _repeatable("Share of weights to remove")] = None,
    repair: Annotated[_Texts, _repeatable("Way to isometry after pruning, such as polar-cg; none to leave it")] = None,
    data: Annotated[_Texts, _repeatable("mnist, fashion-mnist, cifar-10 or digits")] = None,
    settings: Annotated[_Texts, typer.Option("--set", help="NAME=VALUE, any other setting, such as num_images=1000"
                                             " (repeatable, also with the same name).", show_default=False)] = None,
    seeds: Annotated[int, typer.Option(help="Runs of each network.")] = 1,
    measure: Annotated[str, typer.Option(help="spectra, layers, scores, training, patterns or sample.")] = "spectra",
    data_root: Annotated[Path | None, typer.Option(help="Folder of the data files.", show_default=False)] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; default cpu.", show_default=False)] = None,
    backend: Annotated[str, typer.Option(help="serial, processes, dask or ray.")] = "processes",
    jobs: Annotated[int | None, typer.Option(help="Processes; default one per core.", show_default=False)] = None,
    address: Annotated[str | None, typer.Option(help="Scheduler of a cluster; default workers on this machine.",
                                                show_default=False)] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Show what would be measured, and do nothing.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Measure a network for each combination of settings; a sweep that was interrupted goes on where it stopped."""
    import jacprobe as jp
    from jacprobe.experiments.grid import grid_cells

    given = {"network": network, "data": data, "init": init, "method": _named(method), "score_loss": loss,
             "sparsity": sparsity, "repair": _named(repair), **_settings(settings or [])}
    grid = {name: values for name, values in given.items() if values}
    seeds = None if "seed" in grid and seeds == 1 else seeds
    if plan:
        _print_plan(grid_cells(grid, measure=measure, seeds=seeds), output, json=json)
        return
    outcome = jp.sweep(grid, folder=output, measure=measure, seeds=seeds, data_root=data_root, device=device,
                       backend=backend, jobs=jobs, address=address)
    (_print_json if json else _print)(outcome)
    if outcome.failed:
        raise JacprobeError(f"{outcome.failed} of {len(outcome.cells)} cells failed;"
                            f" {outcome.failures['error'].iloc[0]}. Run the same command again to try them again.")


def _named(values: list[str] | None) -> list[str | None]:
    return [None if value == "none" else value for value in values or []]


def _settings(texts: list[str]) -> dict[str, list[Any]]:
    """Return the values of each setting.

    Examples
    --------
    >>> _settings(["rate=0.1", "evaluated=false", "rate=0.01"])
    {'rate': [0.1, 0.01], 'evaluated': [False]}
    """
    found: dict[str, list[Any]] = {}
    for text in texts:
        for name, value in parsed_settings([text]).items():
            found.setdefault(name, []).append(value)
    return found


def _print_plan(cells: list[Cell], folder: Path, *, json: bool) -> None:
    from jacprobe.experiments import Store

    store = Store.read(folder) if (folder / "store.json").exists() else None
    done = 0 if store is None else sum(map(store.done, cells))
    if json:
        _print_document({"num_cells": len(cells), "done": done, "cells": [cell.columns for cell in cells]})
        return
    print(f"{len(cells)} cells, {done} of them in {folder} already:")
    for cell in cells[:_MOST_CELLS]:
        print(f"    {', '.join(f'{name} {value}' for name, value in cell.columns.items())}")
    if len(cells) > _MOST_CELLS:
        print(f"    and {len(cells) - _MOST_CELLS} more")


def _print_json(outcome: Outcome) -> None:
    import json

    tables = {name: json.loads(table.to_json(orient="records"))
              for name, table in (("rows", outcome.rows), ("failures", outcome.failures))}
    _print_document({"folder": str(outcome.store.folder), "num_cells": len(outcome.cells), "done": outcome.done,
                     "skipped": outcome.skipped, "failed": outcome.failed, "seconds": outcome.seconds, **tables})


def _print_document(document: dict[str, Any]) -> None:
    import json

    print(json.dumps(document, indent=2, allow_nan=False))


def _print(outcome: Outcome) -> None:
    from jacprobe.cli.tables import print_table

    rows = outcome.rows
    shown = _varying(rows)
    if 0 < len(rows) <= _MOST_ROWS:
        print_table(f"{outcome.cells[0].measure} of {len(outcome.cells)} cells", list(shown.columns),
                    [[_text(value) for value in row] for row in shown.itertuples(index=False)], num_left=0)
    print(f"{len(outcome.cells)} cells: {outcome.done} measured in {outcome.seconds:.1f} s, {outcome.skipped} there"
          f" already, {outcome.failed} failed.")
    print(f"{len(rows)} rows in {outcome.store.folder}; in Python: jp.read_sweep({str(outcome.store.folder)!r}).")


def _varying(rows: pd.DataFrame) -> pd.DataFrame:
    """Leave out what is the same in all rows, if there are several, and what is empty."""
    if len(rows) < 2:
        return rows.dropna(axis=1)
    return rows.loc[:, [rows[name].astype(str).nunique() > 1 for name in rows]]


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
