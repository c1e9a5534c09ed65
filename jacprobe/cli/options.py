"""Options that several commands have: how they are read, and the library's messages in their words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import typer

from jacprobe.errors import JacprobeError

_SAME = ("data", "split", "input_shape", "device", "dtype", "accuracy", "epsilon", "work", "memory", "method",
         "num_values", "num_probes", "num_steps", "sparsity", "loss", "prunable", "allocation", "min_kept", "schedule",
         "num_rounds", "revival", "batch_norm", "masks", "objective", "gain", "strength", "tolerance", "max_steps",
         "rate", "probe_seed", "network", "measure", "seeds", "runs", "training", "only_found", "jobs", "backend",
         "address")
_OPTION = {**{name: f"--{name.replace('_', '-')}" for name in _SAME},
           "num": "--num-inputs", "root": "--data-root", "inputs": "--data", "segments": "--segment",
           "segment": "--segment", "sections": "FILES",
           "protected": "--protect", "arguments": "--argument", "results": "FILES", "changes": "--set",
           "folder": "--output", "score_loss": "--loss", "figure": "NAME", "table": "NAME"}


@contextmanager
def naming_options() -> Iterator[None]:
    """Put the option in place of a Python argument that a message of the library names.

    Examples
    --------
    >>> with naming_options():
    ...     raise JacprobeError("`num` must be at least 1; got 0.")
    Traceback (most recent call last):
    ...
    jacprobe.errors.JacprobeError: `--num-inputs` must be at least 1; got 0.
    """
    try:
        yield
    except JacprobeError as error:
        text = re.sub(r"(?<=`)(\w+)(?=`)", lambda match: _OPTION.get(match[1], match[1]), str(error))
        if text == str(error):
            raise
        raise JacprobeError(text) from error


def parsed_shape(text: str | None) -> tuple[int, ...] | None:
    """Return the shape that --input-shape names.

    Examples
    --------
    >>> parsed_shape("1,28,28")
    (1, 28, 28)
    """
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"--input-shape must be numbers such as 1,28,28; got {text!r}.") from None


def parsed_settings(texts: Sequence[str]) -> dict[str, object]:
    """Return the settings that NAME=VALUE texts name; values that are JSON are read as it, others are texts.

    Examples
    --------
    >>> parsed_settings(["repair_steps=3000", "init=vs-l", "evaluated=false"])
    {'repair_steps': 3000, 'init': 'vs-l', 'evaluated': False}
    """
    found: dict[str, object] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise typer.BadParameter(f"--set must be NAME=VALUE; got {text!r}.")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def check_output_option(option: str, path: Path | None, suffixes: Sequence[str], *, overwrite: bool) -> None:
    """Check, before long work, the suffix of an output and that it can be written."""
    from jacprobe.atomic import check_output

    if path is None:
        return
    if path.suffix.lower() not in suffixes:
        raise typer.BadParameter(f"{option} must end in {', '.join(suffixes)}; got {str(path)!r}.")
    check_output(path, overwrite=overwrite)
