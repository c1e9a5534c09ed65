"""The verdict on a model in words: isometry, zeros, concentration, connection, and what to do next."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from jacprobe.plotting import sensitivity_data
from jacprobe.report.section import MaskFacts, Section
from jacprobe.results import Spectrum, SpectrumSet
from jacprobe.results.comparison import isometry_verdict
from jacprobe.results.glance import text_row
from jacprobe.results.sentences import verdict

_PYTHON = 'jp.initialize(model, "orthogonal", seed=0)'


class Finding(NamedTuple):
    """One thing that was found; `state` is "good", "bad", "open" where it is not known, or "note"."""

    subject: str
    state: str
    text: str


class Step(NamedTuple):
    """What to do next, and the command or the line of Python that does it, "" where there is none."""

    text: str
    command: str = ""


def findings(section: Section) -> list[Finding]:
    """Return what there is to say about a model, the weightiest first."""
    found = [_isometry(section.result), *_scale(section.result), _zeros(section.result)]
    if section.mask_report is not None:
        found += [*_connection(section.mask_report), *_allocation(section)]
    if section.scores is not None:
        found += _concentration(section)
    return found


def _isometry(result: SpectrumSet) -> Finding:
    state = {True: "good", False: "bad", None: "open"}[isometry_verdict(result)]
    _, _, text = verdict(result).partition(": ")
    return Finding("Isometry", state, f"Every singular value of every layer within {result.epsilon:g} of 1: {text}")


def _scale(result: SpectrumSet) -> list[Finding]:
    """Say by how much layers, and all of them together, stretch a small change of their input."""
    layers = [s for s in result if s.kind == "layer" and not math.isnan(s.mean)]
    parts = []
    if layers:
        ends = [min(layers, key=lambda s: s.mean), max(layers, key=lambda s: s.mean)]
        parts.append(" to ".join(dict.fromkeys(f"{_mean(s, result)} in {s.segment}" for s in ends)))
    whole = [s for s in result if s.kind == "end_to_end" and not math.isnan(s.mean)]
    parts += [f"{_mean(s, result)} from input to output" for s in whole]
    return [Finding("Scale", "note", f"Mean singular value: {'; '.join(parts)}.")] if parts else []


def _mean(spectrum: Spectrum, result: SpectrumSet) -> str:
    return f"{text_row(spectrum, result.epsilon)['mean']} ({spectrum.label})"


def _zeros(result: SpectrumSet) -> Finding:
    counted = [s for s in result if s.is_known and s.has_counted_zeros]
    shares = {s: s.num_zeros / max(1, s.num_inputs * s.dim) for s in counted}
    cut = [s.segment for s, share in shares.items() if share == 1]
    layers = {s: share for s, share in shares.items() if s.kind == "layer"}
    if cut:
        return Finding("Zeros", "bad", f"Every singular value of {', '.join(cut)} is zero by structure: no signal"
                                       " passes (exact).")
    if any(layers.values()):
        return Finding("Zeros", "bad", _most_zeros("layers", layers))
    if any(shares.values()):  # narrow layers make them from input to output, without any fault
        return Finding("Zeros", "note", _most_zeros("segments", shares))
    if not counted:
        return Finding("Zeros", "open", "Structural zeros were not counted.")
    return Finding("Zeros", "good", f"No singular value of the {len(counted)} segments counted is zero by structure"
                                    " (exact).")


def _most_zeros(name: str, shares: Mapping[Spectrum, float]) -> str:
    worst = max(shares, key=shares.get)
    return (f"{sum(map(bool, shares.values()))} of {len(shares)} {name} have singular values that are zero by"
            f" structure, most in {worst.segment} ({100 * shares[worst]:.1f} % of its values; exact).")


def _connection(report: MaskFacts) -> list[Finding]:
    kept, effective = report.masks.num_kept, report.effective.num_kept
    text = f"{effective:,} of {kept:,} kept weights lie on a path from the input to the output (exact)."
    first = Finding("Connection", "good" if report.is_connected else "bad",
                    f"The network is {'' if report.is_connected else 'dis'}connected: {text}")
    others = [str(flag) for flag in report.flags if flag.kind != "disconnected"]
    return [first, *(Finding("Masks", "bad", f"{text[:1].upper()}{text[1:]} (exact).") for text in others)]


def _allocation(section: Section) -> list[Finding]:
    """Say where masks keep least and most."""
    if not section.is_pruned:
        return [Finding("Sparsity", "note", "No weight is removed.")]
    masks = section.mask_report.masks
    density = {name: 1 - share for name, share in masks.layer_sparsity().items()}
    least, most = min(density, key=density.get), max(density, key=density.get)
    return [Finding("Sparsity", "note", f"{100 * masks.sparsity:.4g} % of the weights are removed; kept are"
                                        f" {100 * density[least]:.3g} % of {least} up to {100 * density[most]:.3g} % of"
                                        f" {most} (exact).")]


def _concentration(section: Section) -> list[Finding]:
    """Say which parameter has more of the scores than of the weights, by the largest factor."""
    table = sensitivity_data(section.scores)
    if not table["share"].sum():
        return [Finding("Concentration", "bad", f"All scores are zero: {section.score_label}.")]
    weights = table["num_weights"] / table["num_weights"].sum()
    row = (table["share"] / weights).idxmax()
    shares = f"{100 * weights[row]:.3g} % of the weights and {100 * table['share'][row]:.3g} % of all scores"
    return [Finding("Concentration", "note", f"{table['parameter'][row]} has {shares}: {section.score_label} (exact for"
                                             " these inputs, up to rounding).")]


def next_steps(section: Section) -> list[Step]:
    """Return what to do next."""
    holds, report = isometry_verdict(section.result), section.mask_report
    steps = []
    if report is not None and not report.is_connected:
        steps.append(Step("Prune the dense model again so that paths remain: with --min-kept, a lower --sparsity, or"
                          " --method synflow."))
    elif holds is False and section.is_pruned:
        steps += _repair(section.result)
    elif holds is False:
        steps.append(Step("Where it is not trained yet, orthogonal weights bring it nearest; what is left then is of"
                          " its activations, saturated or dead. In Python:", _PYTHON))
    if holds is None:
        steps.append(Step("Probe the layers that leave the verdict open with --method exact or more --memory."))
    elif holds:
        steps.append(Step("Nothing needs repair: train it."))
    if section.scores is None:
        steps.append(Step("To see how sensitive its weights are, report on the model file with data that has labels:"
                          " --data digits."))
    return steps


def _repair(result: SpectrumSet) -> list[Step]:
    file = str(result.model.get("file", "model.pt"))
    repaired = f"{Path(file).stem}-repaired{Path(file).suffix}"
    data = result.provenance.get("data")
    option = f" --data {shlex.quote(str(data))}" if data not in (None, "random") else ""
    names = shlex.quote(file), shlex.quote(repaired)
    return [Step("Give the kept weights new values near isometry:",
                 f"jacprobe isometrize {names[0]} --output {names[1]}"),
            Step("Then see what that changed:", f"jacprobe compare {names[0]} {names[1]}{option}")]
