"""Arguments of a monitor, checked, and those facts about it that the records of one file have in common."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from numbers import Integral, Real

import numpy as np
from torch import Tensor

from jacprobe.errors import ArgumentError
from jacprobe.probe.checks import check_count, check_inputs
from jacprobe.results import Spectrum


def checked_steps(name: str, steps: int, cure: str) -> int:
    """Return a number of training steps as a plain integer, also where it comes from NumPy."""
    if isinstance(steps, bool) or not isinstance(steps, Integral) or steps < 0:
        raise ArgumentError(f"`{name}` must be a number of steps; got {steps!r}. {cure}")
    return int(steps)


def check_share(share: float | None) -> float | None:
    if share is None:
        return None
    if isinstance(share, bool) or not isinstance(share, Real) or not 0 < share < math.inf:
        raise ArgumentError(f"`max_share` must be a positive number; got {share!r}. Pass None for no limit.")
    return float(share)


def first_inputs(inputs: Tensor | np.ndarray, num_inputs: int | None) -> Tensor:
    """Return the first `num_inputs`, or all where it is None."""
    if num_inputs is not None:
        check_count("num_inputs", num_inputs)
    return check_inputs(inputs)[:num_inputs].clone()  # the caller may reuse the memory of a batch


def settings_of(
    spectra: Mapping[str, Spectrum], inputs: Tensor, provenance: Mapping[str, object], **given: object
) -> dict[str, object]:
    """Return what must be the same for two runs to have comparable records, and the provenance, which may differ."""
    numbers = inputs.double().cpu().numpy()
    return {
        **given,
        "segments": {name: f"{s.out_dim}x{s.in_dim}" for name, s in spectra.items()},
        "inputs": f"{list(numbers.shape)} sha256 {hashlib.sha256(numbers.tobytes()).hexdigest()[:16]}",
        "method": provenance["method"],
        "seed": provenance["seed_of_probes"],
        "work": provenance["work"],
        "dtype": provenance["dtype"],
        "provenance": dict(provenance),
    }
