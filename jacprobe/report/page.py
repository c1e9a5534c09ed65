"""One self-contained HTML page on one or several models."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from jacprobe.atomic import atomic_path
from jacprobe.errors import ArgumentError
from jacprobe.provenance import environment
from jacprobe.report.facts import fact_rows
from jacprobe.report.findings import findings, next_steps
from jacprobe.report.layertable import comparison_table, layer_table
from jacprobe.report.pictures import comparison_picture, mask_pictures, score_picture, spectra_pictures
from jacprobe.report.section import Section, checked_sections
from jacprobe.report.weighttables import mask_table, score_table
from jacprobe.results import Comparison, SpectrumSet, compare
from jacprobe.results.matching import common_epsilon
from jacprobe.results.sentences import accuracy_note, remarks

MOST = 10  # models that one figure shows
_SUFFIXES = (".html", ".htm")


def report_page(
    sections: Mapping[str, Section | SpectrumSet],
    *,
    title: str = "Signal propagation",
    facts: Mapping[str, object] | None = None,
    epsilon: float | None = None,
) -> str:
    """Return an HTML page on one or several models.

    The page loads nothing from anywhere: pictures, style and script stand in it, and it forbids its browser to fetch
    more. It says what was found and what to do next; of each model it has the table and the pictures of its spectra,
    and where they are given those of its scores and masks; of several models also how they compare. Every number is
    labelled exact, bounded or estimated. Without JavaScript only the sorting of tables is missing.

    Parameters
    ----------
    sections
        At most ten models by name: their spectra, or ``Section`` values that have scores and masks too.
    title
        Heading of the page.
    facts
        For its provenance, such as the command.
    epsilon
        Half-width of the band around 1 that counts as isometric; that of the sets if None.

    Raises
    ------
    DtypeError
        `sections` is no mapping from names to Sections or SpectrumSets.
    ArgumentError
        It is empty, has more than ten models or an empty set of spectra, or several sets share no layer or differ in
        `epsilon`, and none is given; or `epsilon` is no positive number.
    NonFiniteError
        Values or scores are NaN or infinite.

    Examples
    --------
    >>> import torch
    >>> from jacprobe.results import Spectrum
    >>> values = torch.tensor([[1.05, 1.0]], dtype=torch.float64)
    >>> layer = Spectrum("fc", "layer", "input", "fc", 2, 2, 1, values=values, label="exact", floor=1e-7)
    >>> page = report_page({"<b>net</b>": SpectrumSet((layer,))})
    >>> "yes, in all 1 layers." in page, "<b>net</b>" in page, "&lt;b&gt;net&lt;/b&gt;" in page
    (True, False, True)
    """
    entries = checked_sections(sections)
    if len(entries) > MOST:
        raise ArgumentError(f"`sections` must hold at most {MOST} models; got {len(entries)}. Make several reports.")
    results = {name: entry.result for name, entry in entries.items()}
    comparison = compare(results, epsilon=epsilon) if len(entries) > 1 else None
    entries = {name: entry.judged(common_epsilon(epsilon, results)) for name, entry in entries.items()}
    style, script = _part("page.css"), _part("sort.js")
    return _environment().get_template("page.html").render(
        title=title, style=style, script=script, style_hash=_hash(style), script_hash=_hash(script),
        models=[_model(name, entry) for name, entry in entries.items()],
        comparison=None if comparison is None else _comparison(comparison),
        facts_=fact_rows({**(facts or {}), "software": environment()}))


def write_report(
    sections: Mapping[str, Section | SpectrumSet],
    path: str | os.PathLike,
    *,
    title: str = "Signal propagation",
    facts: Mapping[str, object] | None = None,
    epsilon: float | None = None,
    overwrite: bool = False,
) -> Path:
    """Write ``report_page`` to `path`, whole or not at all, and return the path.

    Raises
    ------
    ArgumentError
        `path` does not end in .html; or as ``report_page``, which has other errors too.
    OutputError
        The file exists (and `overwrite` is False) or cannot be written.
    """
    if Path(path).suffix.lower() not in _SUFFIXES:
        raise ArgumentError(f"`path` must end in {' or '.join(_SUFFIXES)}; got {str(path)!r}. Rename it.")
    with atomic_path(path, overwrite=overwrite) as temporary:
        page = report_page(sections, title=title, facts=facts, epsilon=epsilon)
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace")  # names of files may be no text
    return Path(path)


def _model(name: str, section: Section) -> dict[str, object]:
    """Return what the template shows of one model."""
    result, report, scores = section.result, section.mask_report, section.scores
    return {
        "name": name,
        "findings": findings(section),
        "steps": next_steps(section),
        "layers": layer_table(result),
        "notes": [*remarks(result), *accuracy_note(result).splitlines()],
        "pictures": spectra_pictures(section),
        "scores": None if scores is None else score_table(scores, section.score_label),
        "score_picture": None if scores is None else score_picture(scores, section.score_label),
        "masks": None if report is None else mask_table(report),
        "mask_notes": [] if report is None else report.summary.splitlines(),
        "mask_pictures": mask_pictures(report.masks) if section.is_pruned else [],
        "reasons": section.reasons,
        "facts": fact_rows({**result.model, **result.provenance, "epsilon": result.epsilon}),
    }


def _comparison(comparison: Comparison) -> dict[str, object]:
    notes = [*comparison.remarks, *accuracy_note(*comparison.sets).splitlines()]
    return {"table": comparison_table(comparison), "picture": comparison_picture(comparison), "notes": notes,
            "verdicts": comparison.verdicts}


@cache
def _environment() -> Environment:
    """Return the templates, in which every text is escaped."""
    return Environment(loader=PackageLoader("jacprobe.report"), autoescape=True, undefined=StrictUndefined,
                       trim_blocks=True, lstrip_blocks=True)


def _part(name: str) -> str:
    """Return a part of the page as it stands in its file."""
    source, _, _ = _environment().loader.get_source(_environment(), name)
    return source


def _hash(text: str) -> str:
    """Return what the page's content security policy calls the only style and the only script that it lets run."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
