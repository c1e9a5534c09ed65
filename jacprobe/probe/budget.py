"""What fits: bytes and operations of an exact spectrum."""

from __future__ import annotations

import math

import psutil
import torch

SHARE_OF_FREE_MEMORY = 0.5
_COPIES_OF_A_MATRIX = 3  # the Jacobian, its float64 copy and the workspace of the decomposition


def memory_budget(memory: float | None, device: torch.device) -> float:
    """Return the bytes that may be used: `memory`, or half of what is free on `device`."""
    if memory is not None:
        return float(memory)
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    return SHARE_OF_FREE_MEMORY * free


def bytes_per_input(rows: int, columns: int) -> float:
    """Return the memory to form and decompose one rows x columns Jacobian."""
    return 8.0 * _COPIES_OF_A_MATRIX * rows * columns


def operations(rows: int, columns: int, num_inputs: int) -> float:
    """Return the floating-point operations of the singular values of `num_inputs` matrices (4mn^2 - 4n^3/3)."""
    m, n = max(rows, columns), min(rows, columns)
    return num_inputs * (4.0 * m * n**2 - 4.0 * n**3 / 3)


def refusal(rows: int, columns: int, num_inputs: int, *, memory: float, work: float) -> str | None:
    """Return why an exact spectrum is out of reach, with the numbers and the cure, or None."""
    needed = bytes_per_input(rows, columns)
    if needed > memory:
        return (f"an exact spectrum of {rows} x {columns} needs {needed / 2**30:.3g} GiB per input,"
                f" more than the budget of {memory / 2**30:.3g} GiB")
    total = operations(rows, columns, num_inputs)
    if total > work:
        fitting = math.floor(work / operations(rows, columns, 1))
        cure = f"; {fitting} input{'s' if fitting > 1 else ''} would fit" if fitting else ""
        return (f"exact spectra of {num_inputs} matrices of {rows} x {columns} need {total:.1e} operations,"
                f" more than the limit of {work:.1e}{cure}")
    return None
