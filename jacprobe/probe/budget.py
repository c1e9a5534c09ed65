"""The memory that may be used."""

from __future__ import annotations

import re
from numbers import Real

import psutil
import torch

from jacprobe.errors import ArgumentError

_SHARE_OF_FREE_MEMORY = 0.5
_UNITS = {"": 1, "B": 1, **{f"{prefix}B": 1000**i for i, prefix in enumerate("kMGT", start=1)},
          **{f"{prefix}iB": 1024**i for i, prefix in enumerate("KMGT", start=1)}}
_CURE = 'It is a number of bytes or a text such as "2GiB"; leave it out for half of the free memory.'


def memory_budget(memory: float | str | None, device: torch.device) -> float:
    """Return the bytes that may be used: `memory`, or half of what is free on `device`.

    Raises
    ------
    ArgumentError
        `memory` is no positive number of bytes, nor a text such as "2GiB" or "500 MB".
    """
    if memory is None:
        free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
        return _SHARE_OF_FREE_MEMORY * free
    size = _parsed(memory) if isinstance(memory, str) else memory
    if isinstance(size, bool) or not isinstance(size, Real) or not size > 0:
        raise ArgumentError(f"`memory` must be a positive number; got {memory!r}. {_CURE}")
    return float(size)


def _parsed(text: str) -> float | None:
    found = re.fullmatch(r"\s*([0-9.]+(?:[eE][+-]?\d+)?)\s*([A-Za-z]*)\s*", text)
    units = {name.lower(): size for name, size in _UNITS.items()}
    if found is None or found[2].lower() not in units:
        return None
    try:
        return float(found[1]) * units[found[2].lower()]
    except ValueError:
        return None
