"""``jacprobe prune``: from a model file to a pruned model file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jacprobe.cli import scoringoptions as option
from jacprobe.cli.modelfiles import write_model
from jacprobe.cli.options import check_output_option, naming_options, parsed_shape
from jacprobe.cli.scoring import prunable_set, read_inputs, read_mask_file, read_model, score_arguments

if TYPE_CHECKING:
    from torch import nn

    from jacprobe.masks import Masks
    from jacprobe.pruning.report import MaskReport

_MASK_SUFFIXES = (".safetensors", ".npz")


@naming_options()
def prune(
    file: option.File,
    output: Annotated[Path, typer.Option(help="Pruned model file to write; weights alone if it ends in .safetensors.",
                                         show_default=False)],
    sparsity: Annotated[float | None, typer.Option(help="Share to remove, in [0, 1].", show_default=False)] = None,
    method: option.Method = "snip",
    masks: Annotated[Path | None, typer.Option(help="Mask file of any format to apply, in place of --method and"
                                                    " --sparsity.")] = None,
    data: option.Data = None,
    data_root: option.DataRoot = None,
    split: option.Split = "train",
    num_inputs: option.NumInputs = None,
    loss: option.Loss = None,
    argument: option.Argument = None,
    batch_norm: option.BatchNorm = "paper",
    prunable: option.Prunable = None,
    protect: option.Protect = None,
    allocation: Annotated[str, typer.Option(help="global, uniform, erk, uniform-plus, igq, smart-ratio, or a mask file"
                                                 " whose layers' counts are taken.")] = "global",
    min_kept: Annotated[int, typer.Option(help="Weights that every layer keeps at least.")] = 0,
    schedule: Annotated[str | None, typer.Option(help="one-shot, exponential or linear; default that of the method.")
                        ] = None,
    num_rounds: Annotated[int, typer.Option(help="Rounds of such a schedule.")] = 100,
    revival: Annotated[bool, typer.Option("--revival", help="Let removed weights come back in later rounds.")] = False,
    seed: option.Seed = 0,
    model: option.Model = None,
    input_shape: option.Shape = None,
    trust_file: option.Trust = False,
    device: option.Device = None,
    save_masks: Annotated[Path | None, typer.Option(help="Write the masks alone too (.safetensors, .npz).")] = None,
    json: option.Json = False,
    overwrite: option.Overwrite = False,
) -> None:
    """Remove the least important weights of a model and write the pruned model."""
    import jacprobe as jp

    _check_choice(sparsity, masks)
    _check_outputs(output, save_masks, overwrite=overwrite)
    asked = parsed_shape(input_shape)
    arguments = score_arguments(loss, argument or [])
    checkpoint, net = read_model(file, model=model, shape=asked, trust_file=trust_file, device=device)
    shape = asked or checkpoint.input_shape
    inputs = read_inputs(data, split=split, num=num_inputs, root=data_root, seed=None, shape=shape)
    if masks is not None:
        found, source = read_mask_file(masks, net), f"masks of {masks.name}"
    else:
        quotas = read_mask_file(Path(allocation), None) if Path(allocation).suffix else allocation
        found = jp.prune(net, method, sparsity=sparsity, data=inputs.data, prunable=prunable_set(prunable or []),
                         protected=protect or (), allocation=quotas, min_kept=min_kept, schedule=schedule,
                         num_rounds=num_rounds, revival=revival, batch_norm=batch_norm, seed=seed, **arguments)
        source = inputs.after(method)
    pruned = found.apply(net).cpu()  # a file is read on any machine
    shape = shape or (None if inputs.images is None else tuple(inputs.images.shape[1:]))
    report, problem = _report(pruned, jp.Masks.of(pruned), shape)
    facts = dict(found.provenance) | ({} if data is None or masks is not None else {"data": inputs.words})
    write_model(pruned, checkpoint, output, {"pruning": facts}, overwrite=overwrite)
    if save_masks is not None:
        jp.write_masks(jp.Masks(found, facts), save_masks, overwrite=overwrite)
    if problem:
        print(f"{file.name}: no paths, ranks and flags; {problem}", file=sys.stderr)
    if json:
        _print_json(found, report, facts, {"file": file.name, "sha256": checkpoint.sha256, "output": str(output)})
    else:
        _print(found, report, f"{file.name}: {source}")
        print(f"Wrote {' and '.join(str(path) for path in (output, save_masks) if path is not None)}.")


def _check_choice(sparsity: float | None, masks: Path | None) -> None:
    if (sparsity is None) == (masks is None):
        raise typer.BadParameter("either --sparsity or --masks must be given"
                                 + ("; got both." if masks is not None else "; got neither."))


def _check_outputs(output: Path, save_masks: Path | None, *, overwrite: bool) -> None:
    from jacprobe.atomic import check_output

    check_output(output, overwrite=overwrite)
    if save_masks == output:
        raise typer.BadParameter(f"--save-masks must differ from --output; got {str(output)!r} for both.")
    check_output_option("--save-masks", save_masks, _MASK_SUFFIXES, overwrite=overwrite)


def _report(pruned: nn.Module, masks: Masks, shape: tuple[int, ...] | None) -> tuple[MaskReport | None, str]:
    """Return what the masks leave, or why that is not known: counts are known anyway."""
    import jacprobe as jp
    from jacprobe.errors import JacprobeError

    if shape is None:
        return None, "they need --input-shape or --data."
    try:
        return jp.mask_report(pruned, masks, input_shape=shape), ""
    except JacprobeError as error:
        return None, str(error)


def _print_json(masks: Masks, report: MaskReport | None, facts: dict, files: dict[str, str]) -> None:
    import json

    totals = {"num_prunable": masks.num_prunable, "num_kept": masks.num_kept, "sparsity": masks.sparsity,
              "digest": masks.digest}
    rows = [{"parameter": name, "shape": list(mask.shape), "total": mask.numel(), "kept": int(mask.sum())}
            for name, mask in masks.items()]
    flags = None
    if report is not None:
        totals |= {"num_effective": report.num_effective, "effective_sparsity": report.effective_sparsity}
        flags = [{"kind": flag.kind, "parameters": list(flag.parameters), "text": flag.text} for flag in report.flags]
        rows = [row | {"effective": int(report.effective[row["parameter"]].sum())} for row in rows]
    print(json.dumps({"model": files, "parameters": rows, "totals": totals, "flags": flags, "provenance": facts},
                     indent=2, allow_nan=False))


def _print(masks: Masks, report: MaskReport | None, title: str) -> None:
    from jacprobe.cli.tables import print_table

    effective = {} if report is None else {name: int(mask.sum()) for name, mask in report.effective.items()}
    rows = [[name, "x".join(map(str, mask.shape)), f"{int(mask.sum())} of {mask.numel()}",
             f"{100 * int(mask.sum()) / max(mask.numel(), 1):.2f} %", *([str(effective[name])] if effective else [])]
            for name, mask in masks.items()]
    print_table(title, ["parameter", "shape", "kept", "density", *["effective"] * bool(effective)], rows, num_left=2)
    print(f"{masks.num_kept} of {masks.num_prunable} weights kept, sparsity {masks.sparsity:.6g}"
          + ("" if report is None else f"; {report.num_effective} of them on a path from input to output."))
    for flag in [] if report is None else report.flags:
        print(f"Warning: {flag}.")
