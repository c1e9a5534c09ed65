"""torch's defaults for new tensors: those of the user for the model, float32 on the CPU for everything else."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Defaults:
    """What tensors are made with where nothing else is said."""

    dtype: torch.dtype
    device: torch.device

    @classmethod
    def current(cls) -> Defaults:
        return cls(torch.get_default_dtype(), torch.get_default_device())

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Use these in the block. A device that is the default already costs nothing; another slows every call."""
        before = self.current()
        torch.set_default_dtype(self.dtype)
        try:
            with self.device if self.device != before.device else contextlib.nullcontext():
                yield
        finally:
            torch.set_default_dtype(before.dtype)


PLAIN = Defaults(torch.float32, torch.device("cpu"))
