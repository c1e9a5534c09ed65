"""The layer table of a page, and the comparison of several models."""

from __future__ import annotations

import math
from collections.abc import Mapping

from jacprobe.report.table import PLACE, Cell, Column, Table, numbered
from jacprobe.results import Comparison, Spectrum, SpectrumSet

_SHOWN = ("mean", "Δ mean", "cond", "within", "LDI", "zeros", "mean square", "Δ mean square", "label")
_TEXTS = ("segment", "kind", "shape", "label")
_NUMBERS = {"mean square": "mean_square", "rel. variance": "relative_variance", "Δ mean": "delta_mean",
            "Δ mean square": "delta_mean_square"}


def layer_table(result: SpectrumSet) -> Table:
    """Return a row per segment: the texts of ``SpectrumSet.table``, with the label of its numbers in full."""
    texts, numbers = result.table(), result.summary().to_dict("records")
    del texts["label"], texts["floor"]
    texts.insert(1, "label", [label_text(spectrum) for spectrum in result])  # has the floor, and is seen first
    if set(texts["kind"]) <= {"layer", "end_to_end"}:
        del texts["kind"]
    texts = texts.loc[:, [name == "label" or any(texts[name]) for name in texts]]
    columns = [Column(_heading(name), name not in _TEXTS or name == "shape") for name in texts]
    rows = []
    for spectrum, row, entry in zip(result, numbers, texts.to_dict("records"), strict=True):
        cells = [Cell.of(text, _number(row, spectrum, name)) for name, text in entry.items()]
        cells[1] = cells[1]._replace(state=spectrum.label)
        rows.append(cells)
    return Table("Jacobian singular values over all inputs, a row per layer", [PLACE, *columns], numbered(rows))


def comparison_table(comparison: Comparison) -> Table:
    """Return a row per segment and a group of columns per model, with differences from the first."""
    texts = comparison.texts(_SHOWN)
    found = {name: {(s.segment, s.kind): s for s in result} for name, result in comparison.results.items()}
    numbers = {(row["model"], row["segment"], row["kind"]): row for row in comparison.frame().to_dict("records")}
    columns = [Column(_heading(name), group != "" or name == "shape", group) for group, name in texts]
    rows = []
    for (segment, kind), entry in zip(comparison.segments, texts.itertuples(index=False), strict=True):
        cells = []
        for (group, name), text in zip(texts.columns, entry, strict=True):
            model = group or comparison.names[0]
            number = _number(numbers[model, segment, kind], found[model].get((segment, kind)), name)
            cells.append(Cell.of(text, None if name in ("label", "kind") else number))
        rows.append(cells)
    columns = [column._replace(is_number=False) if column.heading == "label" else column for column in columns]
    caption = f"Models side by side; Δ is the difference from {comparison.names[0]}"
    return Table(caption, [PLACE, *columns], numbered(rows))


def label_text(spectrum: Spectrum) -> str:
    """Return the label of a spectrum with what it rests on.

    Examples
    --------
    >>> import torch
    >>> values = torch.tensor([[2.0, 1.0]], dtype=torch.float64)
    >>> label_text(Spectrum("fc", "layer", "input", "fc", 2, 2, 1, values=values, label="exact", floor=1e-7))
    'exact, floor 1.0e-07'
    """
    if not spectrum.is_known:
        return f"none: {spectrum.reason or 'not probed'}"
    parts = [spectrum.label]
    if not math.isnan(spectrum.relative_floor):
        parts.append(f"relative floor {spectrum.relative_floor:.1e}")
    elif not math.isnan(spectrum.floor):
        parts.append(f"floor {spectrum.floor:.1e}")
    if 0 < spectrum.num_values < spectrum.dim:
        parts.append(f"the largest {spectrum.num_values} of {spectrum.dim}")
    if spectrum.confidence < 1:
        parts.append(f"with probability {100 * spectrum.confidence:g} %")
    estimate = spectrum.moments if spectrum.density is None else spectrum.density
    if estimate is not None:
        steps = [f"k = {spectrum.density.num_steps} steps"] if spectrum.density is not None else []
        parts += [*steps, f"n_v = {estimate.num_probes} probes", f"seed {estimate.seed}"]
    return ", ".join(parts)


def _heading(name: str) -> str:
    return name.replace("within ", "within ±")


def _number(row: Mapping[str, object], spectrum: Spectrum | None, name: str) -> float | None:
    """Return what a cell is sorted by: the number, the middle of its interval, or None for a text."""
    if name in ("segment", "kind", "label"):
        return None
    if name == "shape":
        return math.nan if spectrum is None or spectrum.out_dim is None else spectrum.out_dim * spectrum.in_dim
    if name == "zeros":
        known = spectrum is not None and spectrum.has_counted_zeros
        return spectrum.num_zeros / max(1, spectrum.num_inputs * spectrum.dim) if known else math.nan
    if name == "LDI":
        return {True: 1.0, False: 0.0}.get(row["isometric"], math.nan)
    key = "ldi" if name.startswith("within") else _NUMBERS.get(name, name)
    number = float(row[key])
    return (row.get(f"{key}_low", math.nan) + row.get(f"{key}_high", math.nan)) / 2 if math.isnan(number) else number
