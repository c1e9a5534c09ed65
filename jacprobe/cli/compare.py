"""``jacprobe compare``: the spectra of several model files beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jacprobe.cli import probingoptions as probing
from jacprobe.cli import scoringoptions as option
from jacprobe.cli.options import check_output_option, naming_options, parsed_shape
from jacprobe.cli.probing import Inputs, Subject, inputs_label, read_subject, solver_arguments

if TYPE_CHECKING:
    from jacprobe.results import Comparison, SpectrumSet

_OUTPUTS = (".csv", ".json")
_PLOTS = (".png", ".pdf", ".svg")
_SAVED = (".npz", ".parquet")  # results of SpectrumSet.save; all else is a model file
_MOST = 10  # sets that one figure shows
_SHOWN = ("mean", "Δ mean", "cond", "within", "LDI", "zeros", "mean square", "Δ mean square", "label")
_OPTIONAL = ("cond", "zeros", "LDI", "Δ mean")  # in a narrow terminal, the first to go first


@naming_options()
def compare(
    files: probing.Files,
    data: option.Data = None,
    data_root: option.DataRoot = None,
    split: probing.Split = None,
    num_inputs: probing.NumInputs = None,
    seed: probing.Seed = None,
    model: option.Model = None,
    input_shape: option.Shape = None,
    trust_file: option.Trust = False,
    device: probing.Device = None,
    dtype: probing.Dtype = None,
    accuracy: probing.Accuracy = None,
    method: probing.Method = None,
    num_values: probing.NumValues = None,
    num_probes: probing.NumProbes = None,
    num_steps: probing.NumSteps = None,
    probe_seed: probing.ProbeSeed = None,
    memory: probing.Memory = None,
    work: probing.Work = None,
    epsilon: probing.Epsilon = None,
    json: option.Json = False,
    output: Annotated[Path | None, typer.Option(help="Write all numbers (.csv, .json).")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the layers of all models (.png, .pdf, .svg).")] = None,
    overwrite: option.Overwrite = False,
) -> None:
    """Show the singular values of several models side by side, matched by the names of their layers."""
    import jacprobe as jp

    check_output_option("--output", output, _OUTPUTS, overwrite=overwrite)
    check_output_option("--plot", plot, _PLOTS, overwrite=overwrite)
    _check_number(files, is_drawn=plot is not None)
    shape = parsed_shape(input_shape)
    inputs = solver_arguments(data=data, split=split, num=num_inputs, root=data_root, seed=seed)
    solver = solver_arguments(device=device, dtype=dtype, accuracy=accuracy, method=method, num_values=num_values,
                              num_probes=num_probes, num_steps=num_steps, seed=probe_seed, memory=memory, work=work)
    check_use(files, {**inputs, **solver, "seed": seed, "probe_seed": probe_seed, "model": model, "input_shape": shape})
    subjects = {name: read_result(file, Inputs(**inputs), model=model, asked=shape, trust_file=trust_file)
                for name, file in column_names(files).items()}
    if epsilon is not None:
        solver["epsilon"] = epsilon
    results = {name: subject.spectra(**solver) if isinstance(subject, Subject) else subject
               for name, subject in subjects.items()}
    comparison = jp.compare(results, epsilon=epsilon)
    _write(comparison, output, plot, overwrite=overwrite)
    if json:
        print(comparison.to_json())
    else:
        print_comparison(comparison, _title(comparison))


def _check_number(files: Sequence[Path], *, is_drawn: bool) -> None:
    if len(files) < 2:
        raise typer.BadParameter(f"compare must have at least two files; got {len(files)}. Add one.")
    if is_drawn and len(files) > _MOST:
        raise typer.BadParameter(f"--plot draws at most {_MOST} files; got {len(files)}. Draw fewer at once.")


def check_use(files: Sequence[Path], given: Mapping[str, object]) -> None:
    """Refuse options of probing where nothing is probed."""
    from jacprobe.errors import ArgumentError

    used = [(name, value) for name, value in given.items() if value is not None]
    if used and all(file.suffix.lower() in _SAVED for file in files):
        name, value = used[0]
        raise ArgumentError(f"`{name}` must be left out where all files are saved results; got {value!r}."
                            " Name a model file, or leave it out.")


def read_result(file: Path, inputs: Inputs, *, model: str | None, asked: tuple[int, ...] | None, trust_file: bool
                ) -> Subject | SpectrumSet:
    """Return saved spectra, or the model of `file` with its inputs."""
    import jacprobe as jp

    if file.suffix.lower() in _SAVED:
        return jp.SpectrumSet.load(file)
    return read_subject(file, inputs, model=model, is_for_weights=True, asked=asked, trust_file=trust_file)


def column_names(files: Sequence[Path]) -> dict[str, Path]:
    """Return the files by the shortest names that tell them apart: stems, names, or with some of their folders.

    Examples
    --------
    >>> list(column_names([Path("dense.pt"), Path("pruned.pt")]))
    ['dense', 'pruned']
    >>> list(column_names([Path("run/a/net.pt"), Path("run/b/net.pt")]))
    ['a/net.pt', 'b/net.pt']
    >>> list(column_names([Path("net.pt"), Path("net.pt")]))
    ['net', 'net (2)']
    >>> list(column_names([Path("net.pt"), Path("net.pt"), Path("net (2).pt")]))
    ['net', 'net (2)', 'net (2) (2)']
    """
    names = [file.stem for file in files]
    if len(set(map(Path.absolute, files))) == len(files):
        depth = 0
        while len(set(names)) < len(files):
            depth += 1
            names = ["/".join(file.absolute().parts[-depth:]) for file in files]
    found: dict[str, Path] = {}
    for name, file in zip(names, files, strict=True):
        numbered = (f"{name} ({number})" for number in count(2))
        found[next(label for label in chain([name], numbered) if label not in found)] = file
    return found


def _title(comparison: Comparison) -> str:
    """Name the models with their sparsity, and the inputs of the first; remarks tell where others had other inputs."""
    names = [name + (f" (sparsity {100 * result.model['sparsity']:.4g} %)" if "sparsity" in result.model else "")
             for name, result in comparison.results.items()]
    return f"{' | '.join(names)}: {inputs_label(comparison.sets[0])}"


def print_comparison(comparison: Comparison, title: str, *, more: Mapping[str, Sequence[str]] | None = None) -> None:
    """Print the table with `more` columns of texts in its last group, and below it what it does not say."""
    from jacprobe.cli.tables import print_groups
    from jacprobe.results.sentences import accuracy_note, notes, verdict

    table = comparison.texts(_SHOWN)
    for column, texts in (more or {}).items():
        table[comparison.names[-1], column] = list(texts)
    left_out = print_groups(title, table, optional=_OPTIONAL)
    lines = [f"Not shown, for the width of the terminal: {', '.join(left_out)}."] if left_out else []
    lines += [] if "Δ mean" in left_out else [f"Δ is the difference from {comparison.names[0]}."]
    results = comparison.results
    told = [f"{name}: {line}" for name, result in results.items() for line in notes(result)]
    verdicts = [f"{name}: {verdict(result)}" for name, result in results.items()]
    for line in [*lines, *comparison.remarks, *told, accuracy_note(*comparison.sets), *verdicts]:
        print(line)


def _write(comparison: Comparison, output: Path | None, plot: Path | None, *, overwrite: bool) -> None:
    """Write what was asked for; the figure is drawn first, so that nothing is written where it cannot be."""
    import jacprobe as jp
    from jacprobe.atomic import atomic_path

    figure = None if plot is None else jp.plot_comparison(comparison.results, title=inputs_label(comparison.sets[0]))
    if output is not None:
        is_json = output.suffix.lower() == ".json"
        text = comparison.to_json() + "\n" if is_json else comparison.frame().to_csv(index=False)
        with atomic_path(output, overwrite=overwrite) as temporary:
            temporary.write_text(text, encoding="utf-8")
    if figure is not None:
        with atomic_path(plot, overwrite=overwrite) as temporary:
            figure.savefig(temporary, dpi=200)
