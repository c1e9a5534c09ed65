"""The numbers of the figure of single inputs: how the singular values of each are distributed, and which is worst."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jacprobe.errors import UnknownNameError
from jacprobe.plotting.spectra.distribution import Distribution
from jacprobe.plotting.spectra.points import quantile
from jacprobe.plotting.spectra.segments import ManySpectra, check_panels
from jacprobe.results import Spectrum

# name -> whether a large one is bad
CRITERIA = {"deviation": True, "cond": True, "max": True, "std": True, "min": False, "ldi": False}
_QUANTILES = {"min": 0.0, "q25": 0.25, "median": 0.5, "q75": 0.75, "max": 1.0}


def inputs_data(
    results: ManySpectra,
    *,
    worst: str = "deviation",
    epsilon: float = 0.1,
    segments: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return the numbers that ``draw_inputs`` and ``plot_inputs`` draw: one row per set, segment and input.

    Parameters
    ----------
    results
        One Spectrum or SpectrumSet, or several by name.
    worst
        By what inputs are sorted, the worst first: "deviation", "cond", "max" or "std" (large is bad), "min" or "ldi"
        (small is bad). Equal ones, and those where it is not known, stay in their order.
    epsilon
        Half-width of the band around 1, for `ldi`.
    segments
        Which segments; all by default.

    Returns
    -------
    DataFrame
        Columns: set, segment, label, input (its index), position (0 is the worst); deviation, the root mean square of
        ``value - 1`` over all values, structural zeros included; cond, std and ldi, of the same; min, q25, median, q75,
        max of the values above the floor, or of the nodes of an estimate; low and high, the range of all values that
        are no structural zeros, where there are only bounds; zeros, the share of structural zeros. NaN where unknown.

    Raises
    ------
    DtypeError, ArgumentError, NonFiniteError
        `results` are no such values, empty or not finite; a name is unknown.

    Examples
    --------
    >>> import torch
    >>> values = torch.tensor([[1.0, 1.0], [3.0, 1.0]], dtype=torch.float64)
    >>> layer = Spectrum("fc1", "layer", "input", "fc1", 2, 2, 2, values=values, floor=1e-15)
    >>> inputs_data(layer)[["input", "position", "deviation", "cond"]].round(3)
       input  position  deviation  cond
    0      1         0      1.414   3.0
    1      0         1      0.000   1.0
    """
    check_criterion(worst)
    panels = check_panels(results, "results", segments)
    rows = [inputs_table(name, spectrum, worst, epsilon)
            for panel in panels for name, spectrum in panel.spectra.items()]
    return pd.concat([table for table in rows if len(table)] or rows[:1], ignore_index=True)


def check_criterion(worst: object) -> None:
    if worst not in CRITERIA:
        raise UnknownNameError("worst", worst, CRITERIA)


def inputs_table(name: str, spectrum: Spectrum, worst: str, epsilon: float) -> pd.DataFrame:
    """Return the rows of one spectrum, of the set `name`, in ``inputs_data``."""
    distribution = Distribution(spectrum)
    num_inputs = spectrum.num_inputs if spectrum.is_known else 0
    table = pd.DataFrame([_row(distribution, index, epsilon) for index in range(num_inputs)],
                         columns=["input", *_FACTS, *_QUANTILES, "low", "high", "zeros"])
    order = table[worst].rank(method="first", ascending=not CRITERIA[worst], na_option="bottom")
    table.insert(1, "position", order.astype(int) - 1)
    for column, value in (("label", spectrum.label), ("segment", spectrum.segment), ("set", name)):
        table.insert(0, column, value)
    return table.sort_values("position", ignore_index=True)


def _row(distribution: Distribution, index: int, epsilon: float) -> dict[str, float]:
    spectrum = distribution.spectrum
    row: dict[str, float] = {"input": index}
    zeros = spectrum.zeros if spectrum.density is None else spectrum.density.zeros
    if zeros is not None:
        row["zeros"] = float(zeros[index]) / spectrum.dim
    if distribution.is_bounded:
        known = spectrum.intervals()
        live = known.upper[index] > 0
        low = 0.0 if known.rest[index] or not live.any() else float(known.lower[index][live].min())
        return row | {"low": low, "high": float(known.upper[index].max())}
    if not (distribution.is_exact or distribution.is_estimated):
        return row
    values, masses = distribution.points_of(index)
    rest = max(0.0, 1 - masses.sum())  # zeros, and what is under the floor
    row |= {fact: float(of(values, masses, rest, epsilon)) for fact, of in _FACTS.items()}
    if distribution.is_exact:
        row["cond"] = float(spectrum.cond_per_input[index])
    if values.size:
        order = np.argsort(values)
        row |= {key: _quantile(values[order], masses[order], q) for key, q in _QUANTILES.items()}
    return row


def _deviation(values: NDArray, masses: NDArray, rest: float, epsilon: float) -> float:
    return np.sqrt(masses @ (values - 1) ** 2 + rest)


def _std(values: NDArray, masses: NDArray, rest: float, epsilon: float) -> float:
    mean = masses @ values
    return np.sqrt(masses @ (values - mean) ** 2 + rest * mean**2)


def _ldi(values: NDArray, masses: NDArray, rest: float, epsilon: float) -> float:
    return masses[np.abs(values - 1) <= epsilon].sum() + (rest if epsilon >= 1 else 0)


def _unknown(values: NDArray, masses: NDArray, rest: float, epsilon: float) -> float:
    return np.nan


_FACTS: dict[str, Callable[[NDArray, NDArray, float, float], float]] = {
    "deviation": _deviation, "cond": _unknown, "std": _std, "ldi": _ldi}


def _quantile(values: NDArray, masses: NDArray, share: float) -> float:
    """Return a quantile of increasing `values`: that of NumPy where all masses are equal, else a step."""
    if np.ptp(masses) <= 1e-12 * masses.max():
        return float(np.quantile(values, share))
    return quantile(values, masses, share)
