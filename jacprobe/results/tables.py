"""Rows of the tables of spectra: every value, and a glance at one spectrum."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from jacprobe.results.spectrum import Spectrum


def values_frame(spectrum: Spectrum) -> pd.DataFrame:
    values = torch.empty(0, 0, dtype=torch.float64) if spectrum.values is None else spectrum.values
    num_inputs, rank = values.shape
    zeros = torch.zeros(num_inputs, dtype=torch.int64) if spectrum.zeros is None else spectrum.zeros
    index = np.arange(rank)
    return pd.DataFrame({
        "segment": spectrum.segment,
        "kind": spectrum.kind,
        "input": np.repeat(np.arange(num_inputs), rank),
        "index": np.tile(index, num_inputs),
        "value": values.numpy().ravel(),
        "zero": (index >= rank - zeros.numpy()[:, None]).ravel(),
    })


def text_row(spectrum: Spectrum, epsilon: float) -> dict[str, str]:
    shape = "" if spectrum.out_dim is None else f"{spectrum.out_dim}x{spectrum.in_dim}"
    row = {"segment": spectrum.segment, "kind": spectrum.kind, "shape": shape}
    if spectrum.values is None:
        blank = dict.fromkeys(("mean", "std", "min", "max", "cond", f"within {epsilon:g}", "zeros"), "")
        return {**row, **blank, "floor": "", "label": spectrum.reason or ""}
    numbers = {"mean": f"{spectrum.mean:.3g}", "std": f"{spectrum.std:.3g}"}
    if spectrum.std <= spectrum.floor:
        numbers["std"] = f"< {spectrum.floor:.1e}"
    unresolved = spectrum.num_under_floor > 0 and spectrum.num_zeros == 0
    numbers["min"] = f"< {spectrum.floor:.1e}" if unresolved else f"{spectrum.min:.3g}"
    numbers["max"] = f"{spectrum.max:.3g}"
    numbers["cond"] = f"> {spectrum.cond:.1e}" if unresolved else f"{spectrum.cond:.3g}"
    numbers[f"within {epsilon:g}"] = f"{100 * spectrum.ldi(epsilon):.1f} %"
    numbers["zeros"] = f"{100 * spectrum.num_zeros / max(1, spectrum.values.numel()):.1f} %"
    return {**row, **numbers, "floor": f"{spectrum.floor:.1e}", "label": spectrum.label}
