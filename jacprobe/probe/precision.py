"""Working precision: what the model runs in, and how far that is from float64."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from jacprobe.errors import ArgumentError, UnknownNameError

ACCURACIES = ("fast", "standard", "reference", "relative")
_DTYPES = {"float32": torch.float32, "float64": torch.float64}


def working_dtype(model_dtype: torch.dtype, accuracy: str, dtype: str | torch.dtype | None) -> torch.dtype:
    """Return the dtype in which the model runs.

    Its own, float32 for half precision and for "fast", float64 for "reference" and "relative".

    Raises
    ------
    UnknownNameError
        `accuracy` or `dtype` is none of the known ones.
    ArgumentError
        `dtype` contradicts `accuracy`.
    """
    if accuracy not in ACCURACIES:
        raise UnknownNameError("accuracy", accuracy, ACCURACIES)
    wanted = None
    if dtype is not None:
        name = _name(dtype)
        if name not in _DTYPES:
            raise UnknownNameError("dtype", name, _DTYPES)
        wanted = _DTYPES[name]
    needed = {"fast": torch.float32, "reference": torch.float64, "relative": torch.float64}.get(accuracy)
    if needed is not None:
        if wanted not in (None, needed):
            raise ArgumentError(f"`dtype` must be {_name(needed)} with accuracy {accuracy!r}; got {_name(wanted)}."
                                " Leave one of them out.")
        return needed
    return wanted or (model_dtype if model_dtype == torch.float64 else torch.float32)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


@contextlib.contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Switch TF32, reduced-precision products and autocast off for the block, and restore them."""
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in _SWITCHES]
    try:
        for owner, name, exact in _SWITCHES:
            setattr(owner, name, exact)
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        for owner, name, value in before:  # a parent before its children, which it would overwrite
            setattr(owner, name, value)


def _switches() -> list[tuple[object, str, object]]:
    """Return where the precision of float32 products is set: owner, attribute, exact value.

    Since torch 2.9 a tree of ``fp32_precision``; reading the old flags fails once anybody has used the new ones.
    """
    b = torch.backends
    if not hasattr(b, "fp32_precision"):
        return [(b.cuda.matmul, "allow_tf32", False), (b.cudnn, "allow_tf32", False)]
    owners = [b, b.cuda.matmul, b.cudnn, b.cudnn.conv, b.cudnn.rnn, b.mkldnn, b.mkldnn.matmul, b.mkldnn.conv,
              b.mkldnn.rnn]
    return [(owner, "fp32_precision", "ieee") for owner in owners]


_SWITCHES = _switches()
