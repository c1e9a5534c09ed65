"""``jacprobe isometrize``: new values for the kept weights of a pruned model file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jacprobe.cli.options import naming_options, parsed_shape
from jacprobe.cli.scoring import doubts_told, read_model

if TYPE_CHECKING:
    from jacprobe.isometry import Repair

_NUMBERS = {"score": ("score_before", "score_after"), "small": ("small_before", "small_after"),
            "participation": ("participation_before", "participation_after")}


@naming_options()
def isometrize(
    file: Annotated[Path, typer.Argument(help="Pruned model file.", show_default=False)],
    output: Annotated[Path, typer.Option(help="Repaired model file to write; weights alone if it ends in .safetensors.",
                                         show_default=False)],
    method: Annotated[str, typer.Option(help="polar-cg, paper-sgd, rescale, equilibrate or criticality.")] = "polar-cg",
    objective: Annotated[str, typer.Option(help="gram (the paper's), nearest, spread or frequency; of paper-sgd"
                                                  " also spectral.")] = "gram",
    gain: Annotated[str | None, typer.Option(help="Singular value to aim at, or theory: what the activations ask for."
                                                  " Default 1, theory for criticality.")] = None,
    strength: Annotated[float | None, typer.Option(help="Of the penalty of nearest and spread. Default 0.1.")] = None,
    tolerance: Annotated[float | None, typer.Option(help="Of the residual over its floor, for polar-cg.")] = None,
    max_steps: Annotated[int | None, typer.Option(help="Most steps per layer.")] = None,
    rate: Annotated[float | None, typer.Option(help="Of paper-sgd. Default 0.1.")] = None,
    device: Annotated[str | None, typer.Option(help="To compute on: cpu, cuda, cuda:1, ...")] = None,
    model: Annotated[str | None, typer.Option(help="Network of a file that holds only weights: a name such as"
                                                   " mlp-7-tanh, or your own package.module:factory.")] = None,
    input_shape: Annotated[str | None, typer.Option(metavar="C,H,W", help="Of the network.")] = None,
    trust_file: Annotated[bool, typer.Option("--trust-file", help="Run the code that the file brings along.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")] = False,
) -> None:
    """Bring the kept weights of a pruned model near to isometry, layer by layer, and write the repaired model."""
    import jacprobe as jp
    from jacprobe.atomic import check_output
    from jacprobe.cli.modelfiles import write_model
    from jacprobe.isometry.isometrize import default_gain

    check_output(output, overwrite=overwrite)
    given = {"strength": strength, "tolerance": tolerance, "max_steps": max_steps, "rate": rate}
    target = default_gain(method) if gain is None else _gain(gain)
    checkpoint, net = read_model(file, model=model, shape=parsed_shape(input_shape), trust_file=trust_file,
                                 device=device)
    with doubts_told(file.name):
        result = jp.isometrize(net, method=method, objective=objective, gain=target, progress=None, **given)
    facts = {"isometry": {"method": method, "objective": objective, "gain": target,
                          **{name: value for name, value in given.items() if value is not None}}}
    write_model(result.model.cpu(), checkpoint, output, facts, overwrite=overwrite)
    if json:
        _print_json(result, facts, {"file": file.name, "sha256": checkpoint.sha256, "output": str(output)})
    else:
        _print(result, f"{file.name}: {method}" + (f", {objective}" if objective != "gram" else ""))
        print(f"Wrote {output}.")


def _gain(text: str) -> float | str:
    """Return the gain that --gain names.

    Examples
    --------
    >>> _gain("1.5"), _gain("theory")
    (1.5, 'theory')
    """
    if text == "theory":
        return text
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"--gain must be a number or theory; got {text!r}.") from None


def _print_json(result: Repair, facts: dict, files: dict[str, str]) -> None:
    import json

    document = {"model": files, "layers": list(result.rows), "warnings": list(result.warnings),
                "totals": {"score_before": result.score_before, "score_after": result.score_after},
                "provenance": facts}
    print(json.dumps(document, indent=2, allow_nan=False))


def _print(result: Repair, title: str) -> None:
    from jacprobe.cli.tables import print_table

    columns = ["layer", "shape", "density", "score", "after", "floor", "zeros", "small", "after", "particip.", "after",
               "steps", "seconds", "end"]
    rows = []
    for row in result.rows:
        score, small, participation = ([row[name] for name in names] for names in _NUMBERS.values())
        rows.append([row["layer"], row["shape"], f"{100 * row['density']:.2f} %", *(f"{value:.3g}" for value in score),
                     f"{row['floor']:.3g}", f"{row['zeros_before']} to {row['zeros']}",
                     *(f"{100 * value:.1f} %" for value in small), *(f"{value:.2g}" for value in participation),
                     str(row["steps"]), f"{row['seconds']:.2f}", row["reason"]])
    print_table(title, columns, rows, num_left=2)
    print(f"Orthogonality score {result.score_before:.4g}, after {result.score_after:.4g}: the mean over the layers.")
