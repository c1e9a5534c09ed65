"""``jacprobe info``: what is in a model file, without running it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from jacprobe.checkpoint import Checkpoint


def info(
    file: Annotated[Path, typer.Argument(help="Model file.", show_default=False)],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show what is in a model file, without running anything from it."""
    import jacprobe as jp

    checkpoint = jp.read_checkpoint(file)
    facts = _facts(checkpoint)
    rows = [{"parameter": row.name, "shape": list(row.shape), "sparsity": row.sparsity} for row in checkpoint.layers]
    if json:
        import json as format_

        print(format_.dumps({**facts, "parameters": rows}, indent=2, allow_nan=False))
        return
    from jacprobe.cli.tables import print_table

    width = max(map(len, facts))
    for name, value in facts.items():
        for line in [] if value in (None, [], {}) else [_text(value)]:
            print(f"{name:{width}}  {line}")
    print()
    cells = [(row["parameter"], "x".join(map(str, row["shape"])) or "scalar",
              f"{100 * row['sparsity']:.2f} %") for row in rows]
    print_table("Parameters", ["parameter", "shape", "sparsity"], cells)


def _facts(checkpoint: Checkpoint) -> dict:
    masks = checkpoint.masks
    return {
        "file": str(checkpoint.path),
        "format": checkpoint.format,
        "bytes": checkpoint.size,
        "sha256": checkpoint.sha256,
        "network": checkpoint.spec,
        "input shape": None if checkpoint.input_shape is None else list(checkpoint.input_shape),
        "num parameters": checkpoint.num_parameters,
        "masks": f"{masks.num_kept} of {masks.num_prunable} weights kept, sparsity {masks.sparsity:.4g}"
        if masks else None,
        "provenance": checkpoint.provenance,
        "notes": list(checkpoint.notes),
    }


def _text(value: object) -> str:
    if isinstance(value, dict) and set(value) == {"name", "arguments"}:
        return f"{value['name']} ({_text(value['arguments'])})"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(part)}" for key, part in value.items())
    if isinstance(value, list) and all(isinstance(part, int) for part in value):
        return "x".join(map(str, value))
    return "; ".join(map(_text, value)) if isinstance(value, list) else str(value)
