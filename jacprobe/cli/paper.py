"""``jacprobe figure`` and ``jacprobe table``: the paper's, measured beside published."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jacprobe.cli.options import naming_options, parsed_settings
from jacprobe.errors import JacprobeError

if TYPE_CHECKING:
    from jacprobe.experiments import PaperResult

_Figure = Annotated[str, typer.Argument(help="1, 2a, 2b, 3, 4, 5, 6, 7 or 8; beyond for what the paper did not ask.",
                                        show_default=False)]
_Table = Annotated[str, typer.Argument(help="1 to 6.", show_default=False)]
_Runs = Annotated[int | None, typer.Option(help="Runs of each network, with seeds from 0 on; default as published, 1"
                                                " with --quick.", show_default=False)]
_Quick = Annotated[bool, typer.Option("--quick", help="A small version: fewer points, images and iterations.")]
_Training = Annotated[bool, typer.Option(help="Train networks, or compute only what is known before.")]
_OnlyFound = Annotated[bool, typer.Option("--only-found", help="Compute nothing: show what results there are.")]
_DataRoot = Annotated[Path | None, typer.Option(help="Folder of the data files.", show_default=False)]
_Device = Annotated[str | None, typer.Option(help="cpu, cuda, ...; default cpu.", show_default=False)]
_Jobs = Annotated[int | None, typer.Option(help="Processes; default one per core.", show_default=False)]
_Backend = Annotated[str, typer.Option(help="serial, processes, dask or ray.")]
_Address = Annotated[str | None, typer.Option(help="Scheduler of the cluster.", show_default=False)]
_Set = Annotated[list[str] | None, typer.Option("--set", help="NAME=VALUE, a setting that replaces the published one,"
                                                " such as repair_steps=3000 (repeatable).", show_default=False)]
_Output = Annotated[Path, typer.Option(help="Folder for the figure, the table and the results of all cells, from which"
                                            " an interrupted run goes on.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the figure and the table.")]


@naming_options()
def figure(
    name: _Figure, runs: _Runs = None, quick: _Quick = False, training: _Training = True,
    only_found: _OnlyFound = False, data_root: _DataRoot = None, device: _Device = None, jobs: _Jobs = None,
    backend: _Backend = "processes", address: _Address = None, changes: _Set = None,
    output: _Output = Path("jacprobe-paper"), json: _Json = False, overwrite: _Overwrite = False,
) -> None:
    """Compute a figure of the paper and write it with the published curves beside the measured ones."""
    _run("figure", name, output, json=json, overwrite=overwrite, runs=runs, quick=quick, training=training,
         only_found=only_found, data_root=data_root, device=device, jobs=jobs, backend=backend, address=address,
         changes=parsed_settings(changes or []))


@naming_options()
def table(
    name: _Table, runs: _Runs = None, quick: _Quick = False, training: _Training = True,
    only_found: _OnlyFound = False, data_root: _DataRoot = None, device: _Device = None, jobs: _Jobs = None,
    backend: _Backend = "processes", address: _Address = None, changes: _Set = None,
    output: _Output = Path("jacprobe-paper"), json: _Json = False, overwrite: _Overwrite = False,
) -> None:
    """Compute a table of the paper and write it with the published numbers beside the measured ones."""
    _run("table", name, output, json=json, overwrite=overwrite, runs=runs, quick=quick, training=training,
         only_found=only_found, data_root=data_root, device=device, jobs=jobs, backend=backend, address=address,
         changes=parsed_settings(changes or []))


def _run(kind: str, name: str, output: Path, *, json: bool, overwrite: bool, **options: object) -> None:
    from jacprobe.experiments import paper_figure, paper_table

    compute = {"figure": paper_figure, "table": paper_table}[kind]
    result = compute(name, output=output, overwrite=overwrite, **options)
    if json:
        _print_json(result)
    else:
        _print(result)
    if len(result.failures):
        num = len(result.failures)
        raise JacprobeError(f"{num} {'failure' if num == 1 else 'failures'}; {result.failures['error'].iloc[0]}")


def _print_json(result: PaperResult) -> None:
    import json

    tables = {key: json.loads(frame.to_json(orient="records")) for key, frame in
              (("entries", result.table), ("claims", result.claims), ("failures", result.failures))}
    print(json.dumps({"name": result.name, "title": result.title, **tables, "settings": dict(result.settings),
                      "files": [str(path) for path in result.files]}, indent=2, allow_nan=False))


def _print(result: PaperResult) -> None:
    from jacprobe.cli.tables import print_table

    shown = result.shown()[result.table["runs"] > 0]
    print_table(f"{result.name.capitalize()}: {result.title}", list(shown.columns), shown.values.tolist())
    for claim in result.claims.dropna(subset=["holds"]).itertuples():
        print(f"{'holds' if claim.holds else 'FAILS'}: {claim.claim}{f' ({claim.detail})' if claim.detail else ''}")
    print(f"{result.name.capitalize()}: {result.verdict}.")
    print(f"Wrote {', '.join(str(path) for path in result.files)}.")
