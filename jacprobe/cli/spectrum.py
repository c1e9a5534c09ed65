"""``jacprobe spectrum``: the spectra of a model file on data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jacprobe.cli import probingoptions as probing
from jacprobe.cli import scoringoptions as option
from jacprobe.cli.options import check_output_option, naming_options, parsed_shape
from jacprobe.cli.probing import Inputs, inputs_label, read_subject, solver_arguments

if TYPE_CHECKING:
    from jacprobe.results import SpectrumSet

_OUTPUTS = (".npz", ".parquet", ".json", ".csv")
_PLOTS = (".png", ".pdf", ".svg")


@naming_options()
def spectrum(
    file: option.File,
    data: option.Data = "random",
    data_root: option.DataRoot = None,
    split: option.Split = "train",
    num_inputs: probing.NumInputs = None,
    layers: Annotated[bool, typer.Option("--layers", help="Layers (default, with end to end).")] = False,
    modules: Annotated[bool, typer.Option("--modules", help="Weighted modules by themselves.")] = False,
    end_to_end: Annotated[bool, typer.Option("--end-to-end", help="Input to output.")] = False,
    cumulative: Annotated[bool, typer.Option("--cumulative", help="Input to the end of each layer.")] = False,
    segment: Annotated[list[str] | None, typer.Option(metavar="A:B", help="From site A to site B; repeatable.")] = None,
    model: option.Model = None,
    input_shape: option.Shape = None,
    trust_file: option.Trust = False,
    device: probing.Device = None,
    dtype: probing.Dtype = None,
    accuracy: probing.Accuracy = "standard",
    method: probing.Method = None,
    num_values: probing.NumValues = None,
    num_probes: probing.NumProbes = None,
    num_steps: probing.NumSteps = None,
    probe_seed: probing.ProbeSeed = None,
    memory: probing.Memory = None,
    epsilon: Annotated[float, typer.Option(help="Half-width of the band around 1 that counts as isometric.")] = 0.1,
    work: probing.Work = 5e12,
    seed: probing.Seed = None,
    json: option.Json = False,
    output: Annotated[Path | None, typer.Option(help="Write all values (.npz, .parquet) or the table (.json, .csv).")
                      ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the layers (.png, .pdf, .svg).")] = None,
    overwrite: option.Overwrite = False,
) -> None:
    """Show the singular values of a model's layerwise and input-output Jacobians."""
    check_output_option("--output", output, _OUTPUTS, overwrite=overwrite)
    check_output_option("--plot", plot, _PLOTS, overwrite=overwrite)
    kinds = [kind for kind, wanted in {"layers": layers, "modules": modules, "end_to_end": end_to_end,
                                       "cumulative": cumulative}.items() if wanted]
    pairs = [_pair(text) for text in segment or []]
    kinds = kinds or ([] if pairs else ["layers", "end_to_end"])
    if plot is not None and "layers" not in kinds:
        raise typer.BadParameter("--plot draws layers; add --layers.")
    subject = read_subject(file, Inputs(data, split, num_inputs, data_root, seed), model=model,
                           asked=parsed_shape(input_shape), trust_file=trust_file)
    solver = solver_arguments(method=method, num_values=num_values, num_probes=num_probes, num_steps=num_steps,
                              seed=probe_seed, memory=memory)
    result = subject.spectra(kind=kinds, segments=pairs, accuracy=accuracy, epsilon=epsilon, device=device, dtype=dtype,
                             work=work, **solver)
    _write(result, output, plot, title=file.name, overwrite=overwrite)
    if json:
        print(result.to_json())
    else:
        _print(result, file.name, inputs_label(result))


def _pair(text: str) -> tuple[str, str]:
    source, separator, target = text.partition(":")
    if not (source and separator and target):
        raise typer.BadParameter(f"--segment must name two sites, A:B; got {text!r}.")
    return source, target


def _print(result: SpectrumSet, name: str, inputs: str) -> None:
    from jacprobe.cli.tables import print_table
    from jacprobe.results.sentences import accuracy_note, remarks, verdict

    table = result.table()
    table["label"] = [spectrum.label for spectrum in result]
    del table["floor"]  # for the width of a terminal; the largest stands below
    if set(table["kind"]) <= {"layer", "end_to_end"}:
        del table["kind"]
    table = table.loc[:, [name in ("shape", "label") or any(table[name]) for name in table]]
    print_table(f"{name}: {inputs}", list(table.columns), table.itertuples(index=False),
                num_left=1 + list(table.columns).index("shape"))
    for line in [*remarks(result), accuracy_note(result), verdict(result)]:
        print(line)


def _write(result: SpectrumSet, output: Path | None, plot: Path | None, *, title: str, overwrite: bool) -> None:
    """Write what was asked for; the figure is drawn first, so that nothing is written where it cannot be."""
    import jacprobe as jp
    from jacprobe.atomic import atomic_path

    figure = None if plot is None else jp.plot_layers(result, title=title)
    if output is not None:
        _write_result(result, output, overwrite=overwrite)
    if figure is not None:
        with atomic_path(plot, overwrite=overwrite) as temporary:
            figure.savefig(temporary, dpi=200)


def _write_result(result: SpectrumSet, path: Path, *, overwrite: bool) -> None:
    from jacprobe.atomic import atomic_path

    suffix = path.suffix.lower()
    if suffix in (".npz", ".parquet"):
        result.save(path, overwrite=overwrite)
        return
    text = result.to_json() + "\n" if suffix == ".json" else result.summary().to_csv(index=False)
    with atomic_path(path, overwrite=overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8")
