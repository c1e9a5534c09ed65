"""``jacprobe report``: what there is to see of one or several model files, in one page."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jacprobe.cli import probingoptions as probing
from jacprobe.cli import scoringoptions as option
from jacprobe.cli.compare import check_use, column_names, read_result
from jacprobe.cli.options import check_output_option, naming_options, parsed_shape
from jacprobe.cli.probing import Inputs, Subject, inputs_label, shared_name, solver_arguments
from jacprobe.cli.scoring import doubts_told

if TYPE_CHECKING:
    from jacprobe.report import Section
    from jacprobe.results import SpectrumSet

_PAGES = (".html", ".htm")
_NO_SCORE = "none"


@naming_options()
def report(
    context: typer.Context,
    files: probing.Files,
    output: Annotated[Path, typer.Option(help="Page to write (.html).", show_default=False)],
    title: Annotated[str | None, typer.Option(help="Heading of the page; default the names of the files.")] = None,
    score: Annotated[str, typer.Option(help="Scores of the weights to show: snip, magnitude, ..., or none. On the"
                                            " probed inputs, where they have labels.")] = "snip",
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
    overwrite: option.Overwrite = False,
) -> None:
    """Write one page with verdict, tables and figures of one or several models, to open in any browser."""
    from jacprobe.report import write_report

    check_output_option("--output", output, _PAGES, overwrite=overwrite)
    _check_number(files)
    _check_score(score)
    shape = parsed_shape(input_shape)
    inputs = solver_arguments(data=data, split=split, num=num_inputs, root=data_root, seed=seed)
    solver = solver_arguments(device=device, dtype=dtype, accuracy=accuracy, method=method, num_values=num_values,
                              num_probes=num_probes, num_steps=num_steps, seed=probe_seed, memory=memory, work=work)
    check_use(files, {**inputs, **solver, "seed": seed, "probe_seed": probe_seed, "model": model, "input_shape": shape})
    subjects = {name: read_result(file, Inputs(**inputs), model=model, asked=shape, trust_file=trust_file)
                for name, file in column_names(files).items()}
    if epsilon is not None:
        solver["epsilon"] = epsilon
    sections = {name: _section(subject, score, solver) for name, subject in subjects.items()}
    facts = {"command": _command(context), "made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"}
    write_report(sections, output, title=title or f"Signal propagation: {', '.join(sections)}", facts=facts,
                 epsilon=epsilon, overwrite=overwrite)
    print(f"Wrote {output}.")


def _check_number(files: list[Path]) -> None:
    from jacprobe.report.page import MOST

    if len(files) > MOST:
        raise typer.BadParameter(f"report takes at most {MOST} files; got {len(files)}. Make several reports.")


def _check_score(score: str) -> None:
    from jacprobe.errors import UnknownNameError
    from jacprobe.pruning.methods import METHODS

    if score not in (*METHODS, _NO_SCORE):
        raise UnknownNameError("--score", score, [*METHODS, _NO_SCORE])


def _section(subject: Subject | SpectrumSet, score: str, solver: dict[str, object]) -> Section:
    """Return what the page tells of one file; what cannot be known of its weights has its reason there."""
    from jacprobe.report import Section

    if not isinstance(subject, Subject):
        return Section(subject, reasons=dict.fromkeys(("scores", "masks"), "saved results hold spectra only."))
    result = subject.spectra(**solver)
    reasons: dict[str, str] = {}
    scores = _scores(subject, score, reasons)
    name = "connection sensitivity (snip)" if score == "snip" else f"{score} score"
    return Section(result, scores, f"{name} on {inputs_label(result)}", _mask_report(subject, reasons), reasons)


def _scores(subject: Subject, score: str, reasons: dict[str, str]) -> dict | None:
    import jacprobe as jp
    from jacprobe.errors import JacprobeError

    if score == _NO_SCORE:
        reasons["scores"] = "--score none."
        return None
    data = None if subject.labels is None else (subject.images, subject.labels)
    try:
        with doubts_told(subject.file.name):
            return {name: tensor.cpu() for name, tensor in jp.scores(subject.net, score, data=data).items()}
    except JacprobeError as error:
        reasons["scores"] = str(error)
        return None


def _mask_report(subject: Subject, reasons: dict[str, str]) -> object | None:
    import jacprobe as jp
    from jacprobe.errors import JacprobeError

    try:
        return jp.mask_report(subject.net, inputs=subject.images[:1])
    except JacprobeError as error:
        reasons["masks"] = str(error)
        return None


def _command(context: typer.Context) -> str:
    """Return the command line as it was given, of absolute paths only the names: pages are passed on."""
    import shlex

    words = ["jacprobe", context.info_name]
    for parameter in context.command.params:
        value = context.params[parameter.name]
        if context.get_parameter_source(parameter.name).name != "COMMANDLINE":
            continue
        option_ = [] if parameter.param_type_name == "argument" else [parameter.opts[0]]
        value = shared_name(value) if parameter.name == "data" else value
        values = value if isinstance(value, list | tuple) else [value]
        words += [*option_, *(() if value is True else map(_word, values))]
    return shlex.join(words)


def _word(value: object) -> str:
    return shared_name(str(value)) if isinstance(value, Path) else str(value)
