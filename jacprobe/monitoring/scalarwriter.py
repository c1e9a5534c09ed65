"""Records for TensorBoard."""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from jacprobe.errors import ArgumentError, DtypeError, OutputError
from jacprobe.monitoring.statistics import Record
from jacprobe.results import Spectrum

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class ScalarWriter:
    """Scalars named ``statistic/segment``, and a text that says what label each segment has.

    Parameters
    ----------
    target
        The folder of a run, or a ``SummaryWriter``, which stays open.
    """

    def __init__(self, target: str | os.PathLike | SummaryWriter):
        self._is_own = _is_folder(target)
        self._writer = _opened(target) if self._is_own else target

    def describe(self, spectra: Mapping[str, Spectrum]) -> None:
        """Write the table of segments, methods and labels."""
        rows = [f"| `{name}` | {s.method} | {s.label} | {s.reason or s.note} |" for name, s in spectra.items()]
        self._writer.add_text("jacprobe", "\n".join(["| segment | method | label | |", "|---|---|---|---|", *rows]))

    def append(self, records: Sequence[Record]) -> None:
        """Write one record; what is not known is left out."""
        for record in records:
            if not math.isnan(record.value):
                self._writer.add_scalar(f"{record.statistic}/{record.segment}", record.value, record.step)
        if self._is_own:
            self._writer.flush()

    def close(self) -> None:
        """Close what was opened here."""
        if self._is_own:
            self._writer.close()


def check_target(target: str | os.PathLike | SummaryWriter) -> None:
    """Check that scalars can be written to `target`.

    Raises
    ------
    DtypeError
        It is neither a folder nor a writer.
    ArgumentError
        It is a folder and the package tensorboard is missing.
    """
    if not _is_folder(target):
        if not (hasattr(target, "add_scalar") and hasattr(target, "add_text")):
            raise DtypeError(f"`tensorboard` must be a folder or a SummaryWriter; got {type(target).__name__}. Pass"
                             " 'runs/mine', for example.")
    elif importlib.util.find_spec("tensorboard") is None:
        raise ArgumentError("`tensorboard` must be left out where the package tensorboard is missing. Install it:"
                            " pip install tensorboard.")


def _is_folder(target: object) -> bool:
    return isinstance(target, (str, os.PathLike))


def _opened(folder: str | os.PathLike) -> SummaryWriter:
    from torch.utils.tensorboard import SummaryWriter

    try:
        return SummaryWriter(os.fspath(folder))
    except OSError as error:
        raise OutputError(f"`{folder}` must be a folder that can be written; got {error.strerror}. Choose"
                          " another.") from error
