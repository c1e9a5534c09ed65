"""Where to compute: names of devices, checked."""

from __future__ import annotations

import torch

from jacprobe.errors import UnknownNameError


def check_device(device: str | torch.device | None, default: torch.device) -> torch.device:
    """Return a device that exists.

    Raises
    ------
    UnknownNameError
        The name is none, or the machine has no such device; the message lists the valid ones.
    """
    if device is None:
        return default
    valid = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        raise UnknownNameError("device", device, valid) from None
    names = {"cpu", "cuda" if len(valid) > 1 else "cpu", *valid}
    if torch.backends.mps.is_available():
        names.add("mps")
    if str(found) not in names:
        raise UnknownNameError("device", device, sorted(names))
    return found
