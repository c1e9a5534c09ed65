"""Error messages of the library in the words of the command line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from jacprobe.errors import JacprobeError

_SAME = ("data", "split", "input_shape", "device", "dtype", "accuracy", "epsilon", "work", "memory", "method",
         "num_values", "num_probes", "num_steps")
_OPTION = {**{name: f"--{name.replace('_', '-')}" for name in _SAME},
           "num": "--num-inputs", "root": "--data-root", "inputs": "--data", "segments": "--segment"}


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
