"""Tensors of initial weights and repairs are made on the CPU, whatever device the user has set as the default."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def cpu_by_default() -> AbstractContextManager:
    """Return a context in which new tensors are on the CPU, as the generator and the places of kept weights are.

    Where they are anyway it costs nothing: the context of torch looks at every call.
    """
    return nullcontext() if torch.get_default_device().type == "cpu" else torch.device("cpu")
