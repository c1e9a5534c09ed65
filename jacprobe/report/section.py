"""What a report tells of one model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import pandas as pd
from torch import Tensor

from jacprobe.errors import ArgumentError, DtypeError
from jacprobe.masks import Masks
from jacprobe.results import SpectrumSet


class MaskFacts(Protocol):
    """What masks leave of a network, as ``jacprobe.mask_report`` tells."""

    masks: Masks
    effective: Masks
    is_connected: bool
    flags: Sequence[object]
    table: pd.DataFrame
    summary: str


@dataclass(frozen=True, eq=False)
class Section:
    """What a report tells of one model.

    Attributes
    ----------
    result
        Its spectra.
    scores
        Of its weights, by parameter name, or None.
    score_label
        What the scores are, and on which data.
    mask_report
        What ``jacprobe.mask_report`` returns, or None.
    reasons
        Why "scores" or "masks" are not there.
    """

    result: SpectrumSet
    scores: Mapping[str, Tensor] | None = None
    score_label: str = "connection sensitivity (snip)"
    mask_report: MaskFacts | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_pruned(self) -> bool:
        """Whether masks remove anything."""
        return self.mask_report is not None and self.mask_report.masks.num_kept < self.mask_report.masks.num_prunable

    def judged(self, epsilon: float) -> Section:
        """Return the same with `epsilon` as the half-width of the band that counts as isometric."""
        return replace(self, result=replace(self.result, epsilon=epsilon))


def checked_sections(sections: object) -> dict[str, Section]:
    """Return sections by name, also where there are only spectra.

    Raises
    ------
    DtypeError
        `sections` is no mapping from names to Sections or SpectrumSets, or a `mask_report` is no such report.
    ArgumentError
        It, or one of its sets of spectra, is empty.
    """
    if not isinstance(sections, Mapping):
        raise DtypeError(f"`sections` must map names to Sections or SpectrumSets; got {type(sections).__name__}. Pass"
                         " {'model': jp.spectra(...)}.")
    if not sections:
        raise ArgumentError("`sections` must hold at least one model; got none. Probe one.")
    return {name: _checked(name, entry) for name, entry in sections.items()}


def _checked(name: object, entry: object) -> Section:
    section = Section(entry) if isinstance(entry, SpectrumSet) else entry
    if not isinstance(name, str) or not isinstance(section, Section) or not isinstance(section.result, SpectrumSet):
        got = type(getattr(section, "result", section)).__name__
        raise DtypeError(f"`sections` must map names to Sections or SpectrumSets; got {got} for {name!r}. Probe a model"
                         " first.")
    if not len(section.result):
        raise ArgumentError(f"`sections` must hold spectra; got an empty set for {name!r}. Probe its layers.")
    if section.mask_report is not None and not hasattr(section.mask_report, "effective"):
        raise DtypeError(f"`mask_report` must be what jacprobe.mask_report returns; got"
                         f" {type(section.mask_report).__name__} for {name!r}. Pass jp.mask_report(model, masks).")
    return section
