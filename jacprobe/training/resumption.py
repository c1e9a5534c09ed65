"""The file from which an interrupted training goes on, and what it must agree with."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from jacprobe.atomic import atomic_path, check_output
from jacprobe.errors import ArgumentError, CheckpointError
from jacprobe.training.data import Labelled
from jacprobe.training.settings import Training

_FORMAT = "jacprobe training 1"


class Resumption:
    """A file that holds the state of one training.

    Parameters
    ----------
    path
        Of the file; it may not exist yet.
    facts
        What the training is of: `facts_of`.

    Raises
    ------
    OutputError
        No file can be written there.
    """

    def __init__(self, path: str | os.PathLike, facts: Mapping[str, object]):
        self._path, self._facts = check_output(path, overwrite=True), dict(facts)

    def contents(self) -> dict[str, object] | None:
        """Return what was written last, tensors on the CPU; None if there is no file.

        Raises
        ------
        CheckpointError
            The file cannot be read, or is something else.
        ArgumentError
            It belongs to another training; the message names the first difference.
        """
        if not self._path.exists():
            return None
        try:
            found = torch.load(self._path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds at a file that is cut off, or no file of its own
            reason = (str(error).splitlines() or [""])[0].rstrip(".")[:100] or type(error).__name__
            raise self._unusable(reason) from error
        if not isinstance(found, dict) or "format" not in found:
            raise self._unusable("it holds something else")
        if found["format"] != _FORMAT:
            raise self._unusable(f"its format is {found['format']!r}")
        self._check(found["facts"])
        return found["contents"]

    def _unusable(self, reason: str) -> CheckpointError:
        return CheckpointError(f"`{self._path}` must be a whole checkpoint of a training; {reason}. Remove it, or name"
                               " another file.")

    def _check(self, facts: Mapping[str, object]) -> None:
        for name, value in self._facts.items():
            if facts.get(name) != value:
                shown = f"{name} is {facts.get(name)!r} there and {value!r} here"
                if name in _DIGESTS:
                    shown = f"{_DIGESTS[name]} differ" if value and facts.get(name) else f"one has no {name} data"
                raise ArgumentError(f"`checkpoint` must be of this training; in {self._path}, {shown}. Remove the file,"
                                    " or name another.")

    def write(self, contents: Mapping[str, object]) -> None:
        """Write the state, whole or not at all, over what was there.

        Raises
        ------
        OutputError
            It cannot be written.
        """
        memory = io.BytesIO()  # torch's own writer turns a full disk into a RuntimeError
        torch.save({"format": _FORMAT, "facts": self._facts, "contents": dict(contents)}, memory)
        with atomic_path(self._path, overwrite=True) as temporary:
            temporary.write_bytes(memory.getbuffer())


_DIGESTS = {"model": "the model's weights, masks or modules", "data": "the training data",
            "validation": "the validation data", "test": "the test data"}


def facts_of(model: nn.Module, samples: Mapping[str, Labelled | None], training: Training,
             device: torch.device) -> dict[str, object]:
    """Return what must be the same for a training to go on bit by bit: settings, device, model and data.

    Parameters
    ----------
    samples
        "data", "validation" and "test", None where there are none.
    """
    modules = [f"{name}:{type(module).__qualname__}" for name, module in model.named_modules()]
    flags = [f"{name}:{parameter.requires_grad}" for name, parameter in model.named_parameters()]
    return {
        **training.to_settings(),
        "device": device.type,
        "model": _digest(model.state_dict(), [*modules, *flags]),
        **{name: None if found is None else _digest(found._asdict()) for name, found in samples.items()},
    }


def _digest(tensors: Mapping[str, object], texts: list[str] | tuple = ()) -> str:
    found = hashlib.sha256("\n".join(texts).encode())
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):  # what a module keeps as extra state
            found.update(f"{name} {tensor!r}".encode())
            continue
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        found.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()
