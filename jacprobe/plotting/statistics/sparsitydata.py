"""One statistic against sparsity, from results or from a table, averaged over repeated runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from numbers import Real

import numpy as np
import pandas as pd

from jacprobe.errors import ArgumentError, DtypeError, UnknownNameError
from jacprobe.plotting.arguments import check_finite
from jacprobe.plotting.statistics.statistic import statistic_of
from jacprobe.plotting.statistics.tables import averaged, check_columns, check_numbers
from jacprobe.results import Spectrum, SpectrumSet

Runs = SpectrumSet | Sequence[SpectrumSet]
SparsityResults = pd.DataFrame | Mapping[float, Runs] | Mapping[str, Mapping[float, Runs]]


def sparsity_table(data: SparsityResults, *, statistic: str, segment: str | None) -> pd.DataFrame:
    """Return one row per method and sparsity, as ``sparsity_data`` says."""
    if isinstance(data, pd.DataFrame):
        return _from_frame(data, statistic)
    if not isinstance(data, Mapping):
        got = type(data).__name__
        raise DtypeError(f"`data` must be a mapping from sparsity to SpectrumSet, or a DataFrame; got {got}.")
    if not data:
        raise ArgumentError("`data` must hold at least one sparsity; got an empty mapping. Probe a pruned model first.")
    methods = data if all(isinstance(value, Mapping) for value in data.values()) else {"": data}
    rows = [row for method, runs in methods.items() for row in _rows(str(method), runs, statistic, segment)]
    if not rows:
        raise ArgumentError("`data` must hold at least one sparsity; got only empty mappings. Probe a model first.")
    return averaged(pd.DataFrame(rows), ["method", "sparsity", "segment"])


def _rows(method: str, runs: Mapping[float, Runs], statistic: str, segment: str | None) -> Iterator[dict[str, object]]:
    for sparsity, results in runs.items():
        for result in [results] if isinstance(results, SpectrumSet) else list(_sequence(results, sparsity)):
            spectrum = spectrum_of(result, segment)
            check_finite(spectrum, "data")
            known = statistic_of(replace(result, spectra=(spectrum,)).summary(), statistic).iloc[0].to_dict()
            yield {"method": method, "sparsity": check_sparsity(sparsity), "segment": spectrum.segment, **known,
                   "label": spectrum.label, "reason": spectrum.reason}


def _sequence(results: object, sparsity: object) -> Sequence[SpectrumSet]:
    sets = list(results) if isinstance(results, Sequence) and not isinstance(results, str) else [results]
    wrong = [type(result).__name__ for result in sets if not isinstance(result, SpectrumSet)]
    if wrong or not sets:
        got = wrong[0] if wrong else "nothing"
        raise DtypeError(f"`data` must hold SpectrumSets; got {got} for {sparsity!r}. Probe a model first.")
    return sets


def spectrum_of(result: SpectrumSet, segment: str | None) -> Spectrum:
    """Return the spectrum named `segment`, or that from end to end, or the only one."""
    if segment is not None:
        return result[segment]
    found = [spectrum for spectrum in result if spectrum.kind == "end_to_end"]
    if not found and len(result) != 1:
        raise UnknownNameError("segment", segment, [s.segment for s in result], "There is no end-to-end spectrum.")
    return found[0] if found else result.spectra[0]


def check_sparsity(sparsity: object) -> float:
    """Return a sparsity as a float after checking that it lies in [0, 1]."""
    if isinstance(sparsity, bool) or not isinstance(sparsity, Real) or not 0 <= sparsity <= 1:
        raise ArgumentError(f"`sparsity` must lie in [0, 1]; got {sparsity!r}. It is the share removed: 0.9 for 90 %.")
    return float(sparsity)


def _from_frame(frame: pd.DataFrame, statistic: str) -> pd.DataFrame:
    check_columns(frame, {"sparsity": "sparsity", "statistic": statistic}, "data")
    for sparsity in frame["sparsity"]:
        check_sparsity(sparsity)
    check_numbers(frame, statistic, "data", infinite=True)
    table = pd.DataFrame({
        "method": frame["method"].astype(str) if "method" in frame else "",
        "sparsity": frame["sparsity"].astype(float),
        "segment": frame["segment"].astype(str) if "segment" in frame else "",
        "value": frame[statistic].astype(float), "low": np.nan, "high": np.nan, "state": "exact",
        "label": frame.get("label", "exact"), "reason": None,
    })
    table["state"] = table["state"].mask(table["label"] == "estimated", "estimated")
    if table["segment"].nunique() > 1:
        names = table["segment"].unique()
        raise ArgumentError(f"`data` must be about one segment; got {len(names)}, such as {names[0]!r}. Select one.")
    return averaged(table, ["method", "sparsity", "segment"])
