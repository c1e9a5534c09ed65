"""Spectra by segment, for figures with a panel each: what is accepted, and in which order it stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jacprobe.errors import ArgumentError, DtypeError, UnknownNameError
from jacprobe.plotting.arguments import check_color, check_finite, check_num_sets
from jacprobe.plotting.artists.hues import PALETTE
from jacprobe.results import Spectrum, SpectrumSet
from jacprobe.results.order import merged_order

END_TO_END = "end to end"
OneSpectrum = Spectrum | Mapping[str, Spectrum]
_Key = tuple[str, str, int]  # segment, kind, and which of that name
ManySpectra = SpectrumSet | Mapping[str, SpectrumSet] | OneSpectrum


class Panel(NamedTuple):
    """The spectra of one segment by the name of their set; a set alone is named ""."""

    title: str
    segment: str
    spectra: dict[str, Spectrum]


def check_spectra(spectra: object, name: str) -> dict[str, Spectrum]:
    """Return `spectra`, called `name` in messages, as checked spectra of one segment by name."""
    if isinstance(spectra, SpectrumSet):
        raise DtypeError(f"`{name}` must be one Spectrum or several by name; got a SpectrumSet. Take one of its"
                         " spectra, such as result['fc1'], or plot the set with the plot_ function of this name.")
    named = dict(spectra) if isinstance(spectra, Mapping) else {"": spectra}
    if not named:
        raise ArgumentError(f"`{name}` must hold at least one Spectrum; got an empty mapping. Probe a model first.")
    check_num_sets(len(named), name)
    for key, spectrum in named.items():
        where = f" for {key!r}" if isinstance(spectra, Mapping) else ""
        if not isinstance(spectrum, Spectrum):
            raise DtypeError(f"`{name}` must hold Spectrum values; got {type(spectrum).__name__}{where}."
                             " Probe a model first.")
        check_finite(spectrum, name)
    return {str(key): spectrum for key, spectrum in named.items()}


def check_panels(results: object, name: str, segments: Sequence[str] | None = None) -> list[Panel]:
    """Return a panel per segment of `results`, called `name` in messages, in forward order.

    One Spectrum, or several by name, are one panel; sets have one per segment and kind, matched by name.
    """
    named = dict(results) if isinstance(results, Mapping) else {"": results}
    if not any(isinstance(result, SpectrumSet) for result in named.values()):
        spectra = check_spectra(results, name)
        titles = {_title(spectrum) for spectrum in spectra.values()}
        return [Panel(titles.pop() if len(titles) == 1 else "", next(iter(spectra.values())).segment, spectra)]
    found: list[dict[_Key, Spectrum]] = []
    for key, result in named.items():
        if not isinstance(result, SpectrumSet):
            raise DtypeError(f"`{name}` must hold SpectrumSets throughout; got {type(result).__name__} for {key!r}."
                             " Give sets only, or spectra only.")
        counts = Counter()
        found.append({})
        for spectrum in result:  # a name that occurs twice has two panels
            place = (spectrum.segment, spectrum.kind)
            found[-1][*place, counts[place]] = spectrum
            counts[place] += 1
    order = merged_order(found)
    if not order:
        raise ArgumentError(f"`{name}` must hold a spectrum; got an empty set. Probe a model first.")
    panels = []
    for key in _chosen(order, segments):
        segment, kind, _ = key
        spectra = {str(set_): one[key] for set_, one in zip(named, found, strict=True) if key in one}
        check_spectra(spectra, name)
        title = _title(next(iter(spectra.values())))
        twice = len({other for name, other, _ in order if name == segment}) > 1
        panels.append(Panel(f"{title} ({kind})" if twice else title, segment, spectra))
    return panels


def sets_of(results: ManySpectra) -> dict[str, SpectrumSet]:
    """Return `results` as sets by name; spectra that stand alone have the default epsilon."""
    named = results if isinstance(results, Mapping) else {"": results}
    return {str(key): SpectrumSet((result,)) if isinstance(result, Spectrum) else result
            for key, result in named.items()}


def one_panel(spectra: OneSpectrum) -> Panel:
    """Return the panel without a title that a draw_ function draws."""
    named = check_spectra(spectra, "spectra")
    return Panel("", next(iter(named.values())).segment, named)


def colors_by_set(panels: Sequence[Panel], color: object = None) -> dict[str, object]:
    """Return a color per set, or `color` for the only one."""
    names = merged_order(panel.spectra for panel in panels)
    if check_color(color) is None:
        return dict(zip(names, PALETTE, strict=False))
    if len(names) > 1:
        raise ArgumentError(f"`color` must be left out for several spectra; got {color!r} for {len(names)}."
                            " Draw them one by one, or with the colors they have.")
    return {names[0]: color}


def _title(spectrum: Spectrum) -> str:
    """Return the name of a segment; the layers of ``nn.Sequential`` have bare numbers, which need more words."""
    name = END_TO_END if spectrum.kind == "end_to_end" else spectrum.segment
    if not name.replace(".", "").isdigit():
        return name
    size = f": {spectrum.in_dim}→{spectrum.out_dim}" if spectrum.is_known else ""
    return f"{spectrum.kind} {name}{size}"


def _chosen(order: list[_Key], segments: Sequence[str] | None) -> list[_Key]:
    if segments is None:
        return order
    if isinstance(segments, str) or not segments:
        raise ArgumentError(f"`segments` must name at least one segment; got {segments!r}. Give a list of names.")
    names = list(dict.fromkeys(segment for segment, _, _ in order))
    for segment in segments:
        if segment not in names:
            raise UnknownNameError("segments", segment, names)
    return [key for key in order if key[0] in segments]
