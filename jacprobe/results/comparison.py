"""Spectra of several models beside each other, segment by segment."""

from __future__ import annotations

import dataclasses
import html
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from jacprobe.results.comparisontexts import absences, comparison_texts, unlike_inputs
from jacprobe.results.deltas import delta_row
from jacprobe.results.matching import check_matching, common_epsilon
from jacprobe.results.order import merged_order
from jacprobe.results.spectrum import Spectrum
from jacprobe.results.spectrum_set import SpectrumSet
from jacprobe.results.tables import COUNTS, plain, summary_row

_SHOWN = ("kind", "out_dim", "in_dim", "num_inputs", "mean", "std", "min", "max", "cond", "ldi", "isometric", "zeros",
          "label", "floor", "reason")
_DELTAS = ("delta_mean", "delta_std", "delta_min", "delta_max", "delta_ldi", "delta_label")
_REPR = ("mean", "Δ mean", "cond", "within", "LDI", "zeros", "mean square", "Δ mean square", "label")
_WORDS = {True: "holds", False: "does not hold", None: "is not known"}


@dataclass(frozen=True, eq=False)
class Comparison:
    """Spectra of several models, matched by name, and how far each is from the first.

    Attributes
    ----------
    names
        Of the models; the first is the one that the others are compared with.
    sets
        Their spectra, all with the same `epsilon`.
    """

    names: tuple[str, ...]
    sets: tuple[SpectrumSet, ...]

    @property
    def results(self) -> dict[str, SpectrumSet]:
        """The spectra by name, as the plotting functions take them."""
        return dict(zip(self.names, self.sets, strict=True))

    @property
    def epsilon(self) -> float:
        """Half-width of the band around 1 that counts as isometric."""
        return self.sets[0].epsilon

    @property
    def segments(self) -> list[tuple[str, str]]:
        """Name and kind of every segment that any model has, in forward order."""
        return merged_order([(s.segment, s.kind) for s in result] for result in self.sets)

    @property
    def verdicts(self) -> dict[str, bool | None]:
        """Whether layerwise dynamical isometry holds in each model; None where its layers leave that open."""
        return {name: isometry_verdict(result) for name, result in self.results.items()}

    @property
    def table(self) -> pd.DataFrame:
        """A row per segment, a group of columns per model: ``table["pruned"]["mean"]``.

        The columns of a group are the main ones of ``SpectrumSet.summary``; ``isometric``, whether every value lies
        within `epsilon` of 1 (layerwise dynamical isometry holds where every layer is), missing where that is not
        known; and, but for the first model, ``delta_mean, delta_std, delta_min, delta_max, delta_ldi``, the statistic
        minus that of the first model, and ``delta_label``, the less certain of the two labels. A number that is not
        known is missing; ``reason`` says why a model has no spectrum of a segment. ``frame`` has the errors of all
        numbers.
        """
        rows = self.frame()
        keys = pd.MultiIndex.from_tuples(self.segments, names=["segment", "kind"])
        groups = {}
        for name in self.names:
            group = rows[rows["model"] == name].drop(columns="segment").set_axis(keys.get_level_values(0))
            groups[name] = group[[*_SHOWN, *(_DELTAS if name != self.names[0] else ())]]
        return pd.concat(groups, axis=1, names=["model", "statistic"])

    def frame(self) -> pd.DataFrame:
        """Return one row per segment and model, also where the model lacks the segment: then ``reason`` says so.

        Columns: ``model``; those of ``SpectrumSet.summary``; ``isometric``; and for mean, std, min, max, ldi and
        mean_square (here X) ``delta_X``, the difference from the first model, ``delta_X_low`` and ``delta_X_high``,
        the ends of an interval in which it lies, which holds with probability ``delta_confidence`` where that is not
        missing, ``delta_X_standard_error``, a bound on the standard error where something is estimated, and
        ``delta_label``. The differences of the first model are missing.
        """
        table = pd.DataFrame([{"model": name, **row} for _, rows in self._rows() for name, row in rows.items()])
        return table.astype({**dict.fromkeys(COUNTS, "Int64"),
                             **dict.fromkeys(["cond_is_infinite", "isometric"], "boolean")})

    def texts(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the table as short texts, for people: groups of columns per model, and "" for what all share.

        Parameters
        ----------
        columns
            Of ``mean, Δ mean, std, min, max, cond, within, LDI, zeros, mean square, Δ mean square, label``; all by
            default. What no row of a model fills is left out, and the labels where everything is exact.

        Raises
        ------
        UnknownNameError
            There is no such column.

        Notes
        -----
        Only numbers of exact rows stand alone, see ``SpectrumSet.table``; Δ is the difference from the first model,
        "<" where it is within the floors, and LDI whether every value of the layer is within `epsilon` of 1, "?" where
        that is not known. A layer that a model lacks is "absent" from it.
        """
        return comparison_texts(self.results, self.segments, columns)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the table leaves unsaid, in lines: what a model lacks and why, and inputs that were not the same."""
        reasons = [f"{name}: {s.segment} has no spectrum: {s.reason}." for name, result in self.results.items()
                   for s in result if s.reason]
        return (*absences(self.results, self.segments), *reasons, *unlike_inputs(self.results))

    def to_dict(self) -> dict:
        """Return plain JSON values: ``names, epsilon, models, segments, remarks``.

        ``models`` holds, by name, the facts and the provenance of each and ``isometric``, its verdict; ``segments`` a
        ``segment``, a ``kind`` and by name the rows of ``frame``, with None for what is not known.
        """
        models = {name: {"model": result.model, "provenance": {**result.provenance, "epsilon": self.epsilon},
                         "isometric": isometry_verdict(result)} for name, result in self.results.items()}
        segments = [{"segment": segment, "kind": kind,
                     "models": {name: {key: plain(value) for key, value in row.items()} for name, row in rows.items()}}
                    for (segment, kind), rows in self._rows()]
        return {"names": list(self.names), "epsilon": self.epsilon, "models": models, "segments": segments,
                "remarks": list(self.remarks)}

    def to_json(self) -> str:
        """Return ``to_dict`` as one strict JSON document."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    def _rows(self) -> list[tuple[tuple[str, str], dict[str, dict[str, object]]]]:
        """Return the rows of every segment by model."""
        found = {name: {(s.segment, s.kind): s for s in result} for name, result in self.results.items()}
        rows = []
        for segment, kind in self.segments:
            spectra = {name: spectra.get((segment, kind), _absent(segment, kind, name))
                       for name, spectra in found.items()}
            base = spectra[self.names[0]]
            rows.append(((segment, kind), {name: self._row(spectrum, base, is_first=name == self.names[0])
                                           for name, spectrum in spectra.items()}))
        return rows

    def _row(self, spectrum: Spectrum, base: Spectrum, *, is_first: bool) -> dict[str, object]:
        row = {**summary_row(spectrum, self.epsilon), "isometric": spectrum.is_isometric(self.epsilon)}
        deltas = delta_row(spectrum, base, self.epsilon)
        return {**row, **(dict.fromkeys(deltas, math.nan) | {"delta_label": None} if is_first else deltas)}

    def _lines(self) -> list[str]:
        verdicts = [f"{name}: layerwise dynamical isometry {_WORDS[v]}." for name, v in self.verdicts.items()]
        return [*self.remarks, *verdicts]

    def __repr__(self) -> str:
        head = f"Comparison of {', '.join(self.names)}; Δ from {self.names[0]}, epsilon {self.epsilon:g}"
        return "\n".join([head, self.texts(_REPR).to_string(index=False), *self._lines()])

    def _repr_html_(self) -> str:
        notes = "".join(f"<li>{html.escape(line)}</li>" for line in self._lines())
        head = html.escape(f"Δ from {self.names[0]}, ε = {self.epsilon:g}")
        return f"<p>{head}</p>{self.texts().to_html(index=False, border=0)}<ul>{notes}</ul>"


def compare(results: Mapping[str, SpectrumSet], *, epsilon: float | None = None) -> Comparison:
    """Compare the spectra of several models, segment by segment.

    Parameters
    ----------
    results
        At least two sets by name, such as ``{"dense": ..., "pruned": ...}``; the first is the one that the others are
        compared with. Segments are matched by name and kind; their shapes may differ.
    epsilon
        Half-width of the band around 1 that counts as isometric; that of the sets if None.

    Returns
    -------
    Comparison
        With `table`, `verdicts`, `remarks` and `to_json`; ``jp.plot_comparison(comparison.results)`` draws it.

    Raises
    ------
    DtypeError
        `results` is no mapping from texts to SpectrumSets.
    ArgumentError
        There are fewer than two sets, or one is empty or shares no layer with the first; `epsilon` is no positive
        number, or the sets differ in it and none is given.
    NonFiniteError
        A set holds NaN or infinite values.

    References
    ----------
    Lee et al. 2020 (arXiv 1906.06307), section 4: dense and pruned networks compared by their singular values.

    Examples
    --------
    >>> import torch
    >>> def result(*values):
    ...     rows = torch.tensor([values], dtype=torch.float64)
    ...     fc = Spectrum("fc", "layer", "input", "fc", 2, 2, 1, values=rows, label="exact", floor=1e-7)
    ...     return SpectrumSet((fc,))
    >>> comparison = compare({"dense": result(1.0, 1.0), "pruned": result(0.75, 0.5)})
    >>> comparison.verdicts
    {'dense': True, 'pruned': False}
    >>> float(comparison.table.loc["fc", ("pruned", "delta_mean")])
    -0.375
    """
    check_matching(results)
    epsilon = common_epsilon(epsilon, results)
    return Comparison(tuple(results), tuple(dataclasses.replace(r, epsilon=epsilon) for r in results.values()))


def _absent(segment: str, kind: str, name: str) -> Spectrum:
    return Spectrum(segment, kind, None, None, None, None, 0, reason=f"{name} has no {kind.replace('_', ' ')} of this"
                                                                     " name")


def isometry_verdict(result: SpectrumSet) -> bool | None:
    """Return whether every layer is isometric; None where the layers leave that open, or there are none."""
    verdicts = [s.is_isometric(result.epsilon) for s in result if s.kind == "layer"]
    if False in verdicts:
        return False
    return True if verdicts and None not in verdicts else None
