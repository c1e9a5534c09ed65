"""What the tables leave unsaid, in sentences: how certain the numbers are, and what follows from them."""

from __future__ import annotations

import math
from collections.abc import Iterable

from jacprobe.results.spectrum import BAND_CONFIDENCE, Spectrum
from jacprobe.results.spectrum_set import SpectrumSet

_NAMES = 4  # listed before "and 5 more"


def remarks(result: SpectrumSet) -> list[str]:
    """Say why segments have no spectrum, and why the others have theirs from their methods; one line per reason."""
    lines = [f"{spectrum.segment} has no spectrum: {spectrum.reason}." for spectrum in result if spectrum.reason]
    return lines + notes(result)


def notes(result: SpectrumSet) -> list[str]:
    """Say why segments have their spectra from their methods; one line per note."""
    segments: dict[str, list[str]] = {}
    for spectrum in result:
        segments.setdefault(spectrum.note, []).append(spectrum.segment)
    return [f"{_listed(names)}: {note.rstrip('.')}." for note, names in segments.items() if note]


def _listed(names: Iterable[str]) -> str:
    names = list(dict.fromkeys(names))
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return ", ".join(names[:_NAMES]) + more


def accuracy_note(*results: SpectrumSet) -> str:
    """Say how certain the values of these sets are, in one line per label."""
    known = [spectrum for result in results for spectrum in result if spectrum.is_known]
    if not known:
        return "No segment has a spectrum."
    exact, bounded, estimated = ([s for s in known if s.label == label] for label in ("exact", "bounded", "estimated"))
    start = "All values are exact" if len(exact) == len(known) else "Where it says exact"
    return "\n".join([*_exact(exact, start), *_bounded(bounded), *_estimated(estimated)])


def _exact(spectra: list[Spectrum], start: str) -> list[str]:
    relative = [s.relative_floor for s in spectra if not math.isnan(s.relative_floor)]
    floors = [s.floor for s in spectra if math.isnan(s.relative_floor)]
    parts = [f"none is off by more than the floor of its segment, at most {max(floors):.1e}"] if floors else []
    parts += [f"the relative error of small and large values alike is at most {max(relative):.1e}"] if relative else []
    return [f"{start}: {', and '.join(parts)}."] if parts else []


def _bounded(spectra: list[Spectrum]) -> list[str]:
    if not spectra:
        return []
    certainty = min(s.confidence for s in spectra)
    chance = "" if certainty == 1 else f", with probability {100 * certainty:g} %"
    return [f"Where it says bounded, the values lie in the ranges shown{chance}."]


def _estimated(spectra: list[Spectrum]) -> list[str]:
    if not spectra:
        return []
    estimates = [s.moments if s.density is None else s.density for s in spectra]
    probes, seeds = ({getattr(e, name) for e in estimates} for name in ("num_probes", "seed"))
    count = f"{min(probes)} to {max(probes)}" if len(probes) > 1 else f"{min(probes)}"
    line = (f"Where it says estimated, ± is one standard error over {count} random probes per input"
            f" (seed {', '.join(map(str, sorted(seeds)))}), and no bound.")
    if any(s.density is not None for s in spectra):
        line += (f" Shares in brackets hold with probability {100 * BAND_CONFIDENCE:g} %; of the smallest and the"
                 " largest value only a bound is known.")
    return [line]


def verdict(result: SpectrumSet) -> str:
    """Say in one line whether layerwise dynamical isometry holds, and where it fails most."""
    layers = [s for s in result.select("layer") if s.is_known]
    if not layers:
        return "Layerwise dynamical isometry: not judged, no layer was probed."
    verdicts = {s.segment: s.is_isometric(result.epsilon) for s in layers}
    holding, failing = list(verdicts.values()).count(True), [s for s in layers if verdicts[s.segment] is False]
    missing, unsure = len(result.layers) - len(layers), list(verdicts.values()).count(None)
    text = f"Layerwise dynamical isometry (every value within {result.epsilon:g} of 1)"
    if failing:
        apart = [f"{unsure} more are not decided"] * (unsure > 0) + [f"{missing} more have no spectrum"] * (missing > 0)
        judged = f"{len(layers) - unsure} layers" + (f" ({', '.join(apart)})" if apart else "")
        worst, share = _worst(failing, result.epsilon)
        sure = any(s.density is None and s.confidence == 1 for s in failing)
        answer = "no" if sure else f"no (with probability {100 * BAND_CONFIDENCE:g} %)"
        return f"{text}: {answer}, it holds in {holding} of {judged}; least in {worst} ({share} within)."
    if holding == len(result.layers):
        least = min(s.confidence for s in layers)
        chance = "" if least == 1 else f", in each with probability {100 * least:g} %"
        return f"{text}: yes, in all {holding} layers{chance}."
    rest = [f"{unsure} {'is' if unsure == 1 else 'are'} only bounded or estimated"] * (unsure > 0)
    rest += ["the rest have no spectrum"] * (missing > 0)
    return f"{text}: not known, it holds in {holding} of {len(result.layers)} layers, {', '.join(rest)}."


def _worst(spectra: list[Spectrum], epsilon: float) -> tuple[str, str]:
    """Return the segment with the least share within the band, and that share in words."""
    shares = [(s.ldi_interval(epsilon)[1] if math.isnan(s.ldi(epsilon)) else s.ldi(epsilon)) for s in spectra]
    worst = shares.index(min(shares))
    known = spectra[worst].is_complete and spectra[worst].bounds is None
    prefix = "" if known else "at most " if math.isnan(spectra[worst].ldi(epsilon)) else "about "
    return spectra[worst].segment, f"{prefix}{100 * shares[worst]:.1f} %"
