"""``jacprobe info``: what is in a model or mask file, without running it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from jacprobe.checkpoint import Checkpoint
    from jacprobe.interchange import MaskFile


def info(
    file: Annotated[Path, typer.Argument(help="Model or mask file.", show_default=False)],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show what is in a model or mask file, without running anything from it."""
    import jacprobe as jp
    from jacprobe.interchange import find_masks

    found = find_masks(file)
    if found is not None:
        facts, rows = _mask_facts(found), _mask_rows(found)
    else:
        checkpoint = jp.read_checkpoint(file)
        facts = _facts(checkpoint)
        rows = [{"parameter": row.name, "shape": list(row.shape), "sparsity": row.sparsity}
                for row in checkpoint.layers]
    if json:
        import json as format_

        print(format_.dumps({**facts, "parameters": rows}, indent=2, allow_nan=False))
    else:
        _print(facts, rows)


def _print(facts: dict, rows: list[dict]) -> None:
    from jacprobe.cli.tables import print_table

    width = max(map(len, facts))
    for name, value in facts.items():
        for line in [] if value in (None, [], {}) else [_text(value)]:
            print(f"{name:{width}}  {line}")
    print()
    cells = [[_cell(name, value) for name, value in row.items()] for row in rows]
    print_table("Parameters", list(rows[0]) if rows else ["parameter", "shape", "sparsity"], cells)


def _cell(name: str, value: object) -> str:
    if name == "shape":
        return "x".join(map(str, value)) or "scalar"
    return f"{100 * value:.2f} %" if name == "sparsity" else str(value)


def _mask_facts(found: MaskFile) -> dict:
    masks = found.masks
    return {
        "file": str(found.path),
        "format": f"masks, {found.format}",
        "bytes": found.size,
        "sha256": found.sha256,
        "masks": _kept(masks.num_kept, masks.num_prunable, masks.sparsity),
        "digest": masks.digest,
        "provenance": {key: value for key, value in masks.provenance.items() if key != "source" and value != {}},
    }


def _mask_rows(found: MaskFile) -> list[dict]:
    sparsity = found.masks.layer_sparsity()
    return [{"parameter": name, "shape": list(mask.shape), "kept": int(mask.sum()), "total": mask.numel(),
             "sparsity": sparsity[name]} for name, mask in found.masks.items()]


def _kept(num_kept: int, num_prunable: int, sparsity: float) -> str:
    return f"{num_kept} of {num_prunable} weights kept, sparsity {sparsity:.4g}"


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
        "masks": _kept(masks.num_kept, masks.num_prunable, masks.sparsity) if masks else None,
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
