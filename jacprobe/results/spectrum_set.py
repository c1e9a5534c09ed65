"""Spectra of one model on one set of inputs."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from jacprobe.atomic import atomic_path
from jacprobe.errors import ArgumentError, DataError, UnknownNameError
from jacprobe.results.files import READERS, WRITERS, Stored, damaged
from jacprobe.results.glance import moment_texts, text_row
from jacprobe.results.packing import pack, unpack
from jacprobe.results.spectrum import KINDS, Spectrum
from jacprobe.results.tables import COUNTS, bounds_frame, nodes_frame, plain, summary_row, values_frame

_NOTHING = Spectrum("", "layer", None, None, None, None, 0)  # for the columns of an empty table


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
    theory
        What ``jacprobe.theory.Prediction`` needs to say which spectra to expect, as plain values; None where it was not
        asked for.
    """

    spectra: tuple[Spectrum, ...]
    epsilon: float = 0.1
    model: dict = dataclasses.field(default_factory=dict)
    provenance: dict = dataclasses.field(default_factory=dict)
    theory: dict | None = None

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

        One layer that certainly breaks it suffices for False; ``Spectrum.is_isometric`` says what bounds and estimates
        can tell.

        Raises
        ------
        ArgumentError
            There is no layer, or none breaks it and one of them leaves it open.
        """
        layers = [s for s in self.spectra if s.kind == "layer"]
        verdicts = {s.segment: s.is_isometric(self.epsilon) for s in layers}
        if False in verdicts.values():
            return False
        unsure = [s for s in layers if verdicts[s.segment] is None]
        if unsure or not layers:
            what = "there is no layer. Probe kind='layers'"
            if unsure:
                lack = "is only " + unsure[0].label if unsure[0].is_known else "has none"
                what = f"{unsure[0].segment!r} {lack}. Probe it with method='exact' or more memory"
            raise ArgumentError(f"`is_isometric` must know the spectrum of every layer; {what}.")
        return True

    def select(self, *kinds: str) -> SpectrumSet:
        """Return the set of only these kinds: "layer", "module", "end_to_end", "cumulative", "pair"."""
        for kind in kinds:
            if kind not in KINDS:
                raise UnknownNameError("kinds", kind, KINDS)
        return dataclasses.replace(self, spectra=tuple(s for s in self.spectra if s.kind in kinds))

    def summary(self) -> pd.DataFrame:
        """Return one row per segment; a number that is not known is missing.

        Statistics are over all values of all inputs, structural zeros included; where the label is "estimated" they
        are estimates, `max` of a density the largest node, at most the largest value.

        ===========================================  =================================================================
        segment, kind, out_dim, in_dim, num_inputs   what was probed
        mean, std, min, max, cond                    cond: the global ratio max / min
        ldi                                          share of values within `epsilon` of 1
        zeros                                        structural zeros, summed over inputs
        method, label, floor, seconds, reason        how it was done; label: exact, bounded, estimated or none
        source, target, modules                      where it lies
        q05, q25, median, q75, q95                   quantiles
        cond_per_input                               median over inputs
        under_floor                                  values that are not resolved
        cond_is_infinite                             tells an infinite cond from an unknown one: JSON has null for both
        X_low, X_high                                ends of the interval of X: mean, min, max, ldi
        confidence                                   probability of these intervals where it is not the floor's
        X_standard_error                             of an estimated X; standard_error is that of the mean. No bound
        mean_square to log_det_nonzero               scalars, see ``Spectrum``; log_det is -inf where `zeros` is not 0
        gradient_ratio to cosine_out                 scalars, see ``Spectrum``
        relative_floor                               bound on the error of every logarithm, in place of the floor
        num_values                                   how many of the largest values are known or bounded one by one
        num_probes, num_steps, seed                  of an estimate
        note                                         why the method was chosen
        ===========================================  =================================================================
        """
        columns = list(summary_row(_NOTHING, self.epsilon))
        table = pd.DataFrame([summary_row(s, self.epsilon) for s in self.spectra], columns=columns)
        return table.astype({**dict.fromkeys(COUNTS, "Int64"), "cond_is_infinite": "boolean"})

    def frame(self) -> pd.DataFrame:
        """Return one row per known singular value: segment, kind, input, index (0 = largest), value, zero (structural).

        What is only bounded or estimated has none; see ``bounds_frame`` and ``nodes_frame``.
        """
        return self._concatenated(values_frame)

    def bounds_frame(self) -> pd.DataFrame:
        """Return one row per interval of a singular value: segment, kind, input, index, lower, upper."""
        return self._concatenated(bounds_frame)

    def nodes_frame(self) -> pd.DataFrame:
        """Return one row per node of an estimated density: segment, kind, input, probe, node, weight.

        The weights of a probe sum to 1; structural zeros are not among its nodes.
        """
        return self._concatenated(nodes_frame)

    def _concatenated(self, frame: Callable[[Spectrum], pd.DataFrame]) -> pd.DataFrame:
        frames = [part for part in map(frame, self.spectra) if len(part)]
        return pd.concat(frames or [frame(_NOTHING)], ignore_index=True)

    def table(self) -> pd.DataFrame:
        """Return the summary as short texts, for people; the columns of `summary` that matter at a glance.

        Only numbers of exact rows stand alone. Elsewhere "a ± b" is an estimate with its standard error, "~" one
        without; "a to b", ">=" and "<=" are bounds, rounded outwards; and nothing stands for what is not known.
        """
        table = pd.DataFrame([text_row(s, self.epsilon) for s in self.spectra])
        if any(s.moments is not None for s in self.spectra):
            table = table.join(pd.DataFrame([moment_texts(s) for s in self.spectra]))
            table["label"] = table.pop("label")  # to the end
        return table

    def to_dict(self) -> dict:
        """Return ``{"model", "segments", "provenance"}`` of plain JSON values; the segments are the summary's rows.

        NaN and infinity become None: `cond` is infinite where `cond_is_infinite`, and `log_det` where `zeros` is not 0.
        """
        rows = [{key: plain(value) for key, value in summary_row(s, self.epsilon).items()} for s in self.spectra]
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
        packed = [pack(spectrum) for spectrum in self.spectra]
        facts = {"epsilon": self.epsilon, "model": self.model, "provenance": self.provenance,
                 "spectra": [facts for facts, _ in packed]}
        if self.theory is not None:
            facts["theory"] = self.theory
        arrays = {(name, i): array for i, (_, arrays) in enumerate(packed) for name, array in arrays.items()}
        return Stored(facts, arrays)

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
        spectra = [unpack(facts, {name: array for (name, position), array in stored.arrays.items() if position == i})
                   for i, facts in enumerate(stored.facts["spectra"])]
        facts = stored.facts
        return cls(tuple(spectra), facts["epsilon"], facts["model"], facts["provenance"], facts.get("theory"))

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
