"""Spectra of one model on one set of inputs."""

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

from jacprobe.atomic import atomic_path
from jacprobe.errors import ArgumentError, DataError, UnknownNameError
from jacprobe.results.files import READERS, WRITERS, Stored, damaged
from jacprobe.results.spectrum import KINDS, Spectrum
from jacprobe.results.tables import text_row, values_frame

_FACTS = [field.name for field in dataclasses.fields(Spectrum) if field.name not in ("values", "zeros")]


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

    def __contains__(self, segment: object) -> bool:
        """Whether there is a spectrum of this name."""
        return any(spectrum.segment == segment for spectrum in self.spectra)

    @property
    def layers(self) -> list[str]:
        """Names of the layers, in forward order."""
        return [s.segment for s in self.spectra if s.kind == "layer"]

    @property
    def end_to_end(self) -> Spectrum:
        """The spectrum from input to output."""
        found = [spectrum for spectrum in self.spectra if spectrum.kind == "end_to_end"]
        return found[0] if found else self["end_to_end"]  # which says what there is

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
        frames = [values_frame(s) for s in self.spectra if s.values is not None]
        return pd.concat(frames or [values_frame(Spectrum("", "layer", None, None, None, None, 0))], ignore_index=True)

    def table(self) -> pd.DataFrame:
        """Return the summary as short texts, for people; the columns of `summary` that matter at a glance."""
        return pd.DataFrame([text_row(s, self.epsilon) for s in self.spectra])

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
        write = WRITERS[_suffix(path, WRITERS)]
        with atomic_path(path, overwrite=overwrite) as temporary:
            write(self._stored(), temporary)
        return Path(path)

    def _stored(self) -> Stored:
        known = {i: spectrum for i, spectrum in enumerate(self.spectra) if spectrum.values is not None}
        values = {i: spectrum.values.numpy() for i, spectrum in known.items()}
        zeros = {i: spectrum.zeros.numpy() for i, spectrum in known.items()}
        spectra = [{name: getattr(spectrum, name) for name in _FACTS} for spectrum in self.spectra]
        facts = {"epsilon": self.epsilon, "model": self.model, "provenance": self.provenance, "spectra": spectra}
        return Stored(facts, values, zeros)

    @classmethod
    def load(cls, path: str | os.PathLike) -> SpectrumSet:
        """Read what `save` wrote, bit for bit.

        Raises
        ------
        DataError
            The file is missing, damaged, or not written by `save`.
        """
        read = READERS[_suffix(path, READERS)]
        if not Path(path).is_file():
            raise DataError(f"`{path}` must be a file; there is none. Check the path.")
        stored = read(Path(path))
        try:
            return cls._restored(stored)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise damaged(path, error) from error

    @classmethod
    def _restored(cls, stored: Stored) -> SpectrumSet:
        spectra = []
        for i, fields in enumerate(stored.facts["spectra"]):
            fields = {**fields, "modules": tuple(fields["modules"])}
            if fields["reason"] is None:
                fields["values"] = torch.from_numpy(np.array(stored.values[i], dtype=np.float64))
                fields["zeros"] = torch.from_numpy(np.array(stored.zeros[i], dtype=np.int64))
            spectra.append(Spectrum(**fields))
        return cls(tuple(spectra), stored.facts["epsilon"], stored.facts["model"], stored.facts["provenance"])

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


def _plain(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
