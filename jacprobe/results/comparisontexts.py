"""A comparison of spectra in short texts that look no more certain than its numbers are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from jacprobe.errors import UnknownNameError
from jacprobe.results.deltas import delta
from jacprobe.results.glance import moment_texts, text_row
from jacprobe.results.spectrum import Spectrum
from jacprobe.results.spectrum_set import SpectrumSet

COLUMNS = ("mean", "Δ mean", "std", "min", "max", "cond", "within", "LDI", "zeros", "mean square", "Δ mean square",
           "label")
_VERDICTS = {True: "yes", False: "no", None: "?"}
_INPUT_FACTS = ("data", "split", "seed", "num_inputs", "input_shape")

Key = tuple[str, str]


def comparison_texts(results: Mapping[str, SpectrumSet], keys: Sequence[Key], columns: Sequence[str] | None
                     ) -> pd.DataFrame:
    """Return the table of ``Comparison.texts``, which explains it."""
    wanted = _checked(columns)
    found = {name: {(s.segment, s.kind): s for s in result} for name, result in results.items()}
    base = next(iter(found.values()))
    epsilon = next(iter(results.values())).epsilon
    facts = {"segment": [segment for segment, _ in keys], "kind": [kind for _, kind in keys],
             "shape": [_shapes([spectra[key] for spectra in found.values() if key in spectra]) for key in keys]}
    if set(facts["kind"]) <= {"layer", "end_to_end"}:
        del facts["kind"]
    groups = {"": pd.DataFrame(facts, dtype=object)}
    is_exact = all(s.label == "exact" for result in results.values() for s in result if s.is_known)
    for name, spectra in found.items():
        other = None if spectra is base else base
        rows = [_cells(spectra.get(key), (other or {}).get(key), epsilon) for key in keys]
        group = pd.DataFrame(rows, columns=list(COLUMNS), dtype=object)
        kept = [c for c in wanted if not set(group[c]) <= _blank(c)]
        group = group[[c for c in kept if not (c == "label" and is_exact)]]
        groups[name] = group.rename(columns={"within": f"within {epsilon:g}"})
    return pd.concat(groups, axis=1)


def _checked(columns: Sequence[str] | None) -> Sequence[str]:
    wanted = COLUMNS if columns is None else (columns,) if isinstance(columns, str) else columns
    for column in wanted:
        if column not in COLUMNS:
            raise UnknownNameError("columns", column, COLUMNS)
    return wanted


def _blank(column: str) -> set[str]:
    return {"", "0.0 %"} if column == "zeros" else {""}


def _cells(spectrum: Spectrum | None, base: Spectrum | None, epsilon: float) -> dict[str, str]:
    if spectrum is None:
        return {**dict.fromkeys(COLUMNS, ""), "mean": "absent"}
    texts = {**text_row(spectrum, epsilon), **moment_texts(spectrum)}
    deltas = {f"Δ {name.replace('_', ' ')}": "" if base is None else str(delta(spectrum, base, name, epsilon))
              for name in ("mean", "mean_square")}
    if spectrum.moments is None or (base is not None and base.moments is None):
        deltas["Δ mean square"] = ""
    judged = spectrum.is_known and spectrum.kind == "layer"
    return {**{name: texts[name] for name in COLUMNS if name in texts}, **deltas,
            "within": texts[f"within {epsilon:g}"], "LDI": _VERDICTS[spectrum.is_isometric(epsilon)] if judged else "",
            "label": spectrum.label if spectrum.is_known else ""}


def _shapes(spectra: Sequence[Spectrum]) -> str:
    """Return the shape of the Jacobian in every model that knows it, once where all agree."""
    shapes = [f"{s.out_dim}x{s.in_dim}" for s in spectra if s.out_dim is not None]
    return " / ".join(dict.fromkeys(shapes))


def absences(results: Mapping[str, SpectrumSet], keys: Sequence[Key]) -> list[str]:
    """Say which segments are not in every model, in one line per set of models that have them."""
    found = {name: {(s.segment, s.kind) for s in result} for name, result in results.items()}
    owners: dict[tuple[str, ...], list[str]] = {}
    for key in keys:
        having = tuple(name for name, spectra in found.items() if key in spectra)
        owners.setdefault(having, []).append(key[0] if key[1] in ("layer", "end_to_end") else f"{key[0]} ({key[1]})")
    return [f"Only {' and '.join(having)} {'has' if len(having) == 1 else 'have'} {', '.join(names)}."
            for having, names in owners.items() if len(having) < len(results)]


def unlike_inputs(results: Mapping[str, SpectrumSet]) -> list[str]:
    """Say where the models saw other inputs than the first, as far as their provenance tells."""
    (first, base), *others = results.items()
    lines = []
    for name, result in others:
        ours, theirs = base.provenance, result.provenance
        unlike = [fact for fact in _INPUT_FACTS if fact in ours and fact in theirs and ours[fact] != theirs[fact]]
        texts = [f"{fact.replace('_', ' ')} {theirs[fact]} where {first} has {ours[fact]}" for fact in unlike]
        lines += [f"{name} was probed on other inputs: {', '.join(texts)}."] * bool(texts)
    return lines
