"""Which inputs share one Jacobian and its probes, so that their estimates are one and the same."""

from __future__ import annotations

import torch
from torch import Tensor


def multiplicity(*estimates: Tensor) -> Tensor:
    """Return how many inputs share the probes of each, itself included, float64 (num_inputs,).

    A matrix that serves a run of inputs is probed once, and all of them have the same numbers. Different probes tell
    themselves apart by rounding alone, but where they leave nothing to chance.

    Parameters
    ----------
    estimates
        (num_inputs, ...) each: what the probes found.
    """
    num_inputs = len(estimates[0])
    if num_inputs == 0:
        return torch.zeros(0, dtype=torch.float64, device="cpu")
    changed = torch.zeros(num_inputs - 1, dtype=torch.bool, device="cpu")
    for part in estimates:
        rows = part.reshape(num_inputs, -1)
        changed |= ((rows[1:] != rows[:-1]) & ~(rows[1:].isnan() & rows[:-1].isnan())).any(1)
    groups = torch.nn.functional.pad(changed.long().cumsum(0), (1, 0))
    return torch.bincount(groups)[groups].double()
