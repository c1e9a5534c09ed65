"""``jacprobe convert``: masks from one tool's file to another's."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from torch import Tensor, nn

    from jacprobe.interchange import MaskFile


def convert(
    mask: Annotated[Path, typer.Argument(help="Mask file, or a pruned model's.", show_default=False)],
    to: Annotated[str, typer.Option(help="safetensors (jacprobe's own), torch-prune, weight-mask, parametrized,"
                                         " open-lth, nni, npz, dense (zeros).")],
    output: Annotated[Path, typer.Option(help="File to write.")],
    model: Annotated[Path | None, typer.Option(help="Model file whose weights go with the masks, and which they must"
                                                    " fit; default those beside the masks, if any.")] = None,
    from_: Annotated[str | None, typer.Option("--from", help="Format of MASK; default what it looks like.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Convert masks between jacprobe's file format and those of other tools, bit by bit."""
    from jacprobe.atomic import check_output
    from jacprobe.errors import JacprobeWarning, UnknownNameError
    from jacprobe.interchange import FORMATS, WRITABLE, read_mask_file, write_masks

    for option, name, known in (("--to", to, WRITABLE), ("--from", from_, FORMATS)):
        if name is not None and name not in known:
            raise UnknownNameError(option, name, known)
    check_output(output, overwrite=overwrite)
    network = None if model is None else _network(model)
    with warnings.catch_warnings(record=True) as doubts:
        warnings.simplefilter("always", JacprobeWarning)
        found = read_mask_file(mask, format=from_, model=network)
        write_masks(found.masks, output, format=to, model=found.weights if network is None else network,
                    overwrite=overwrite)
    notes = [str(doubt.message) for doubt in doubts if issubclass(doubt.category, JacprobeWarning)]
    if to != "safetensors" and set(found.masks.provenance) - {"source"}:
        notes.append(f"{to} files keep no provenance; that of {mask.name} is left out.")
    for note in notes:
        print(f"{mask.name}: {note}", file=sys.stderr)
    _print(found, output, to, notes, json=json)


def _network(path: Path) -> nn.Module | dict[str, Tensor]:
    """Return the model in a file, or the weights of one that holds only them: masks need no more."""
    import jacprobe as jp
    from jacprobe.checkpoint import build_model

    checkpoint = jp.read_checkpoint(path)
    if checkpoint.module is None and checkpoint.spec is None:
        return dict(checkpoint.state_dict)
    return build_model(checkpoint)


def _print(found: MaskFile, output: Path, to: str, notes: list[str], *, json: bool) -> None:
    masks = found.masks
    if json:
        import json as format_

        facts = {"file": str(found.path), "from": found.format, "output": str(output), "to": to,
                 "num_parameters": len(masks), "num_prunable": masks.num_prunable, "num_kept": masks.num_kept,
                 "sparsity": masks.sparsity, "digest": masks.digest, "notes": notes}
        print(format_.dumps(facts, indent=2, allow_nan=False))
        return
    print(f"Read {found.path} ({found.format}): masks of {len(masks)} parameters, {masks.num_kept} of"
          f" {masks.num_prunable} weights kept, sparsity {masks.sparsity:.4g}.")
    print(f"Wrote {output} ({to}). Digest of the masks: {masks.digest}")
