"""Errors of jacprobe, each also a builtin, in the one form: what must hold; what was got; what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class JacprobeError(Exception):
    """Root of every error that jacprobe raises on purpose; its text is one line."""


class ArgumentError(JacprobeError, ValueError):
    """An argument has a value outside its domain."""


class ShapeError(ArgumentError):
    """A tensor has the wrong shape."""


class DtypeError(JacprobeError, TypeError):
    """A tensor or an object is of the wrong type."""


class NonFiniteError(ArgumentError):
    """A tensor holds NaN or infinite values."""


class UnknownNameError(ArgumentError):
    """A name is not in its registry; the message lists the valid ones."""

    def __init__(self, what: str, name: object, valid: Iterable[str], cure: str = ""):
        super().__init__(what, name, list(valid), cure)  # pickle rebuilds an exception from these

    def __str__(self) -> str:
        what, name, names, cure = self.args
        folded = {name.lower(): name for name in reversed(names)}
        close = difflib.get_close_matches(str(name).lower(), folded, n=1)
        guess = f" Did you mean {folded[close[0]]!r}?" if close else ""
        shown = ", ".join(names[:50]) + (f" and {len(names) - 50} more" if len(names) > 50 else "")
        return f"`{what}` must be one of {shown}; got {name!r}.{guess}{' ' + cure if cure else ''}"


class ModelError(JacprobeError, ValueError):
    """A model breaks what probing or scoring needs, such as independent samples."""


class CheckpointError(JacprobeError, OSError):
    """A model file cannot be read."""


class UntrustedFileError(CheckpointError):
    """A model file could run code and was refused."""


class DataError(JacprobeError, OSError):
    """A data set or an array file cannot be read."""


class OutputError(JacprobeError, OSError):
    """A result cannot be written where it was asked for."""


class BudgetError(MemoryError, JacprobeError):  # in this order other processes can make it anew
    """A computation does not fit the memory or work budget."""


class ClusterError(JacprobeError, ConnectionError):
    """The workers of a sweep cannot be reached, or what leads to them is not installed."""


class JacprobeWarning(UserWarning):
    """Root of every warning that jacprobe raises on purpose: a result stands, with a doubt the caller must know."""
