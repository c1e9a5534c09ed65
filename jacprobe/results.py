"""Spectra as values: one segment's singular values, a set of them, and their tables."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from jacprobe.atomic import atomic_path
from jacprobe.errors import ArgumentError, DataError, UnknownNameError

KINDS = ("layer", "module", "end_to_end", "cumulative", "pair")
QUANTILES = {"q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95}


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Singular values of one segment's Jacobian, one row per input.

    Attributes
    ----------
    segment, kind, source, target
        Its name, what it is (one of ``KINDS``), and the sites between which it lies.
    out_dim, in_dim
        Shape of the Jacobian; None where the segment was never reached.
    num_inputs
        Number of inputs asked for.
    values
        float64 (num_inputs, rank), rank = min(out_dim, in_dim), each row decreasing; None where `reason` says why.
    zeros
        int64 (num_inputs,): how many values of each row are zero by structure, that is by masks, inactive units and
        widths. They are the last values of the row, and exactly 0.
    method, label
        What ran, and what the numbers are: "exact" (error at most `floor`) or "none".
    floor
        Bound on the absolute error of every value: working precision, measured against float64, and solver.
    seconds
        Wall time spent on this segment.
    modules
        Weighted modules that the segment holds.
    reason
        Why there is no spectrum, else None.
    """

    segment: str
    kind: str
    source: str | None
    target: str | None
    out_dim: int | None
    in_dim: int | None
    num_inputs: int
    values: Tensor | None = None
    zeros: Tensor | None = None
    method: str = "none"
    label: str = "none"
    floor: float = math.nan
    seconds: float = 0.0
    modules: tuple[str, ...] = ()
    reason: str | None = None

    @property
    def mean(self) -> float:
        """Mean over all singular values of all inputs, structural zeros included (the paper's mean JSV)."""
        return self._statistic(lambda values: values.mean())

    @property
    def std(self) -> float:
        """Population standard deviation over the same values."""
        return self._statistic(lambda values: values.std(correction=0))

    @property
    def min(self) -> float:
        """Smallest value over all inputs."""
        return self._statistic(torch.min)

    @property
    def max(self) -> float:
        """Largest value over all inputs."""
        return self._statistic(torch.max)

    @property
    def cond(self) -> float:
        """Condition number of the paper's Table 1: global `max` / global `min`; infinite where `min` is 0.

        Where values lie under `floor` it is only a lower bound, ``max / floor``.
        """
        if self.values is None or self.max == 0:
            return math.nan
        return self.max / self.min if self.min > 0 else math.inf

    @property
    def cond_per_input(self) -> Tensor | None:
        """(num_inputs,) largest over smallest value of each input by itself."""
        return None if self.values is None else self.values[:, 0] / self.values[:, -1]

    @property
    def num_zeros(self) -> int:
        """Number of structural zeros, summed over inputs."""
        return 0 if self.zeros is None else int(self.zeros.sum())

    @property
    def num_under_floor(self) -> int:
        """Number of values at or under `floor` that are not structural zeros: their size is not resolved."""
        return 0 if self.values is None else int((self.values <= self.floor).sum()) - self.num_zeros

    def quantile(self, q: float) -> float:
        """Return the `q` quantile, 0 <= q <= 1, over all values of all inputs."""
        return math.nan if self.values is None else float(np.quantile(self.values.numpy(), q))

    def ldi(self, epsilon: float) -> float:
        """Return the share of values with ``|value - 1| <= epsilon``.

        Layerwise dynamical isometry (Lee et al. 2020, Definition 1) holds where it is 1 for every layer.
        """
        return self._statistic(lambda values: ((values - 1).abs() <= epsilon).double().mean())

    def _statistic(self, function) -> float:
        return math.nan if self.values is None else float(function(self.values))

    def row(self, epsilon: float) -> dict[str, object]:
        """Return the summary row; see ``SpectrumSet.summary``."""
        known = self.values is not None
        return {
            "segment": self.segment,
            "kind": self.kind,
            "out_dim": self.out_dim,
            "in_dim": self.in_dim,
            "num_inputs": self.num_inputs,
            "mean": self.mean,
            "std": self.std,
            "min": self.min,
            "max": self.max,
            "cond": self.cond,
            "ldi": self.ldi(epsilon),
            "zeros": self.num_zeros if known else None,
            "method": self.method,
            "label": self.label,
            "floor": self.floor,
            "seconds": self.seconds,
            "reason": self.reason,
            "source": self.source,
            "target": self.target,
            "modules": "+".join(self.modules),
            **{name: self.quantile(q) for name, q in QUANTILES.items()},
            "cond_per_input": float(self.cond_per_input.median()) if known else math.nan,
            "under_floor": self.num_under_floor if known else None,
        }

    def __repr__(self) -> str:
        shape = "unreached" if self.out_dim is None else f"{self.out_dim}x{self.in_dim}"
        facts = self.reason or f"{self.num_inputs} inputs, mean {self.mean:.4g}, std {self.std:.4g}, {self.label}"
        return f"Spectrum({self.segment}, {self.kind}, {shape}: {facts})"


@dataclass(frozen=True, eq=False)
class SpectrumSet:
    """Spectra of one model on one set of inputs, in forward order.

    Attributes
    ----------
    spectra
        The spectra.
    epsilon
        Half-width of the band around 1 that counts as isometric.
    model, provenance
        Facts about the model and about how the numbers came about, as plain values.
    """

    spectra: tuple[Spectrum, ...]
    epsilon: float = 0.1
    model: dict = dataclasses.field(default_factory=dict)
    provenance: dict = dataclasses.field(default_factory=dict)

    def __iter__(self) -> Iterator[Spectrum]:
        return iter(self.spectra)

    def __len__(self) -> int:
        return len(self.spectra)

    def __getitem__(self, segment: str) -> Spectrum:
        """Return the spectrum named `segment`; where a layer and another kind share the name, the layer."""
        matches = sorted((s for s in self.spectra if s.segment == segment), key=lambda s: KINDS.index(s.kind))
        if not matches:
            raise UnknownNameError("segment", segment, dict.fromkeys(s.segment for s in self.spectra))
        return matches[0]

    @property
    def layers(self) -> list[str]:
        """Names of the layers, in forward order."""
        return [s.segment for s in self.spectra if s.kind == "layer"]

    @property
    def end_to_end(self) -> Spectrum:
        """The spectrum from input to output."""
        return self["end_to_end"]

    @property
    def is_isometric(self) -> bool:
        """Whether layerwise dynamical isometry holds: every value of every layer within `epsilon` of 1.

        Raises
        ------
        ArgumentError
            There is no layer, or one of them has no spectrum.
        """
        layers = [s for s in self.spectra if s.kind == "layer"]
        missing = [s.segment for s in layers if s.values is None]
        if missing or not layers:
            what = f"{missing[0]!r} has none" if missing else "there is no layer"
            raise ArgumentError(f"`is_isometric` must know the spectrum of every layer; {what}. Probe kind='layers'.")
        return all(s.ldi(self.epsilon) == 1 for s in layers)

    def select(self, *kinds: str) -> SpectrumSet:
        """Return the set of only these kinds: "layer", "module", "end_to_end", "cumulative", "pair"."""
        for kind in kinds:
            if kind not in KINDS:
                raise UnknownNameError("kinds", kind, KINDS)
        return dataclasses.replace(self, spectra=tuple(s for s in self.spectra if s.kind in kinds))

    def summary(self) -> pd.DataFrame:
        """Return one row per segment.

        Columns: segment, kind, out_dim, in_dim, num_inputs; mean, std, min, max over all values of all inputs; cond
        (their global ratio); ldi (share within `epsilon` of 1); zeros (structural, summed over inputs); method,
        label, floor, seconds, reason; source, target, modules; quantiles q05 to q95; cond_per_input (median);
        under_floor (values that are not resolved).
        """
        columns = list(Spectrum("", "layer", None, None, None, None, 0).row(self.epsilon))
        table = pd.DataFrame([s.row(self.epsilon) for s in self.spectra], columns=columns)
        counts = dict.fromkeys(("out_dim", "in_dim", "num_inputs", "zeros", "under_floor"), "Int64")
        return table.astype(counts)

    def frame(self) -> pd.DataFrame:
        """Return one row per singular value: segment, kind, input, index (0 = largest), value, zero (structural)."""
        frames = [_values_frame(s) for s in self.spectra if s.values is not None]
        return pd.concat(frames or [_values_frame(Spectrum("", "layer", None, None, None, None, 0))], ignore_index=True)

    def table(self) -> pd.DataFrame:
        """Return the summary as short texts, for people; the columns of `summary` that matter at a glance."""
        return pd.DataFrame([_text_row(s, self.epsilon) for s in self.spectra])

    def to_dict(self) -> dict:
        """Return ``{"model", "segments", "provenance"}`` of plain JSON values; NaN and infinity become None."""
        rows = [{key: _plain(value) for key, value in s.row(self.epsilon).items()} for s in self.spectra]
        return {"model": self.model, "segments": rows, "provenance": {**self.provenance, "epsilon": self.epsilon}}

    def to_json(self) -> str:
        """Return ``to_dict`` as one strict JSON document."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    def save(self, path: str | os.PathLike, *, overwrite: bool = False) -> Path:
        """Write everything to `path`, ending in ``.npz`` or ``.parquet``, whole or not at all.

        Raises
        ------
        ArgumentError
            The name ends otherwise.
        OutputError
            The file exists (and `overwrite` is False) or cannot be written.
        """
        from jacprobe._resultfiles import WRITERS

        suffix = _suffix(path, WRITERS)
        with atomic_path(path, overwrite=overwrite) as temporary:
            WRITERS[suffix](self, temporary)
        return Path(path)

    @classmethod
    def load(cls, path: str | os.PathLike) -> SpectrumSet:
        """Read what `save` wrote, bit for bit.

        Raises
        ------
        DataError
            The file is missing, damaged, or not written by `save`.
        """
        from jacprobe._resultfiles import READERS

        suffix = _suffix(path, READERS)
        if not Path(path).is_file():
            raise DataError(f"`{path}` must be a file; there is none. Check the path.")
        return READERS[suffix](Path(path))

    def __repr__(self) -> str:
        table = self.table().to_string(index=False) if len(self) else "(no segments)"
        return f"SpectrumSet of {len(self)} segments, epsilon {self.epsilon:g}\n{table}"

    def _repr_html_(self) -> str:
        return f"<p>{len(self)} segments, ε = {self.epsilon:g}</p>" + self.table().to_html(index=False, border=0)


def _suffix(path: str | os.PathLike, formats: dict) -> str:
    suffix = Path(path).suffix.lower()
    if suffix not in formats:
        raise ArgumentError(f"`path` must end in {' or '.join(formats)}; got {str(path)!r}. Rename it.")
    return suffix


def _values_frame(spectrum: Spectrum) -> pd.DataFrame:
    values = torch.empty(0, 0, dtype=torch.float64) if spectrum.values is None else spectrum.values
    num_inputs, rank = values.shape
    zeros = torch.zeros(num_inputs, dtype=torch.int64) if spectrum.zeros is None else spectrum.zeros
    index = np.arange(rank)
    return pd.DataFrame({
        "segment": pd.Categorical([spectrum.segment] * values.numel()).astype(str),
        "kind": spectrum.kind,
        "input": np.repeat(np.arange(num_inputs), rank),
        "index": np.tile(index, num_inputs),
        "value": values.numpy().ravel(),
        "zero": (index >= rank - zeros.numpy()[:, None]).ravel(),
    })


def _text_row(spectrum: Spectrum, epsilon: float) -> dict[str, str]:
    shape = "" if spectrum.out_dim is None else f"{spectrum.out_dim}x{spectrum.in_dim}"
    row = {"segment": spectrum.segment, "kind": spectrum.kind, "shape": shape}
    if spectrum.values is None:
        blank = dict.fromkeys(("mean", "std", "min", "max", "cond", f"within {epsilon:g}", "zeros"), "")
        return {**row, **blank, "label": spectrum.reason or ""}
    numbers = {name: f"{getattr(spectrum, name):.3g}" for name in ("mean", "std")}
    small = f"< {spectrum.floor:.1e}" if spectrum.num_under_floor and spectrum.min <= spectrum.floor else ""
    numbers["min"] = small or f"{spectrum.min:.3g}"
    numbers["max"] = f"{spectrum.max:.3g}"
    numbers["cond"] = f"> {spectrum.max / spectrum.floor:.1e}" if small and not spectrum.num_zeros \
        else f"{spectrum.cond:.3g}"
    numbers[f"within {epsilon:g}"] = f"{100 * spectrum.ldi(epsilon):.1f} %"
    numbers["zeros"] = f"{100 * spectrum.num_zeros / max(1, spectrum.values.numel()):.1f} %"
    return {**row, **numbers, "label": spectrum.label}


def _plain(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
