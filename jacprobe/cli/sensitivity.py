"""``jacprobe sensitivity``: how the scores of a model's weights are distributed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jacprobe.cli import scoringoptions as option
from jacprobe.cli.options import check_output_option, naming_options, parsed_shape
from jacprobe.cli.scoring import prunable_set, read_inputs, read_model, score_arguments

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from jacprobe.masks import Masks

_OUTPUTS = (".parquet", ".npz", ".csv", ".json")
_PLOTS = (".png", ".pdf", ".svg")
_CONNECTION = ("snip", "iterative-snip", "force")  # methods whose score is connection sensitivity


@naming_options()
def sensitivity(
    file: option.File,
    data: option.Data = None,
    data_root: option.DataRoot = None,
    split: option.Split = "train",
    num_inputs: option.NumInputs = None,
    method: option.Method = "snip",
    loss: option.Loss = None,
    argument: option.Argument = None,
    batch_norm: option.BatchNorm = "paper",
    prunable: option.Prunable = None,
    protect: option.Protect = None,
    sparsity: Annotated[list[float] | None, typer.Option(help="Show what one global threshold keeps at this sparsity;"
                                                              " repeatable for the figure.")] = None,
    seed: option.Seed = 0,
    model: option.Model = None,
    input_shape: option.Shape = None,
    trust_file: option.Trust = False,
    device: option.Device = None,
    json: option.Json = False,
    output: Annotated[Path | None, typer.Option(help="Write all scores (.parquet, .npz) or the table (.csv, .json).")
                      ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw histograms, points and masks (.png, .pdf, .svg).")] = None,
    overwrite: option.Overwrite = False,
) -> None:
    """Show how the connection sensitivity of a model is distributed over its layers."""
    import jacprobe as jp
    from jacprobe.atomic import atomic_path
    from jacprobe.plotting import sensitivity_data

    check_output_option("--output", output, _OUTPUTS, overwrite=overwrite)
    check_output_option("--plot", plot, _PLOTS, overwrite=overwrite)
    asked = parsed_shape(input_shape)
    arguments = score_arguments(loss, argument or [])
    checkpoint, net = read_model(file, model=model, shape=asked, trust_file=trust_file, device=device)
    inputs = read_inputs(data, split=split, num=num_inputs, root=data_root, seed=None,
                         shape=asked or checkpoint.input_shape)
    chosen = {"prunable": prunable_set(prunable or []), "protected": protect or ()}
    found = jp.scores(net, method, data=inputs.data, batch_norm=batch_norm, seed=seed, **chosen, **arguments)
    scores = {name: score.cpu() for name, score in found.items()}
    masks = {f"{100 * share:g} %": jp.prune(net, lambda *_: scores, sparsity=share, **chosen)
             for share in sparsity or []}
    table = sensitivity_data(scores, masks=next(iter(masks.values())) if len(masks) == 1 else None)
    facts = {"method": method, "arguments": arguments, "data": inputs.words or None, "batch_norm": batch_norm,
             "seed": seed, "sparsity": sparsity or []}
    document = {"model": {"file": file.name, "sha256": checkpoint.sha256}, "parameters": _records(table),
                "provenance": facts}
    # the figure is drawn first, so that nothing is written where it cannot be
    figure = None if plot is None else _figure(scores, masks, method, title=f"{file.name}: {inputs.after(method)}")
    if output is not None:
        _write(scores, table, document, output, overwrite=overwrite)
    if figure is not None:
        with atomic_path(plot, overwrite=overwrite) as temporary:
            figure.savefig(temporary, dpi=200)
    if json:
        import json as format_

        print(format_.dumps(document, indent=2, allow_nan=False))
    else:
        _print(table, f"{file.name}: {inputs.after(method)}")


def _records(table: pd.DataFrame) -> list[dict]:
    """Return rows for JSON, which has no NaN: without masks nothing is known to be kept."""
    return table.astype(object).where(table.notna(), None).to_dict("records")


def _print(table: pd.DataFrame, title: str) -> None:
    from jacprobe.cli.tables import print_table

    shares = ["share", "zeros", *["kept"] * bool(table["kept"].notna().all())]
    statistics = ["mean", "q05", "q25", "median", "q75", "q95", "max"]
    rows = [[row["parameter"], row["shape"], *(f"{100 * row[name]:.2f} %" for name in shares),
             *(f"{row[name]:.3g}" for name in statistics)] for row in table.to_dict("records")]
    print_table(title, ["parameter", "shape", *shares, *statistics], rows, num_left=2)
    if (table["share"] == 0).all():
        print("All scores are zero.")


def _write(scores: dict[str, Tensor], table: pd.DataFrame, document: dict, path: Path, *, overwrite: bool) -> None:
    import json

    import numpy as np
    import pandas as pd

    from jacprobe.atomic import atomic_path

    suffix = path.suffix.lower()
    with atomic_path(path, overwrite=overwrite) as temporary:
        if suffix == ".npz":
            np.savez(temporary, **{name: score.numpy() for name, score in scores.items()})
        elif suffix == ".parquet":
            parts = [pd.DataFrame({"parameter": pd.Categorical([name] * score.numel(), list(scores)),
                                   "index": np.arange(score.numel()), "score": score.double().flatten().numpy()})
                     for name, score in scores.items()]
            pd.concat(parts, ignore_index=True).to_parquet(temporary, index=False)
        else:
            text = table.to_csv(index=False) if suffix == ".csv" else json.dumps(document, indent=2, allow_nan=False)
            temporary.write_text(text.rstrip("\n") + "\n", encoding="utf-8")


def _figure(scores: dict[str, Tensor], masks: dict[str, Masks], method: str, *, title: str) -> object:
    import jacprobe as jp

    label = "connection sensitivity" if method in _CONNECTION else f"{method} score"
    shown = next(iter(masks.values())) if len(masks) == 1 else masks or None
    return jp.plot_sensitivity(scores, shown, title=title, label=label)
