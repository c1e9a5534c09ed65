"""What a figure or table of the paper came to here."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from jacprobe.atomic import atomic_path, check_output
from jacprobe.experiments.paper.item import Figure
from jacprobe.experiments.paper.verdicts import DIFFERS, MATCH, UNPUBLISHED


@dataclass(frozen=True, eq=False)
class PaperResult:
    """A figure or table of the paper, measured.

    Attributes
    ----------
    name, title
        "figure 2a", and what it shows.
    rows
        All that was measured, a row per measured thing and run, with the columns panel, curve, x and run.
    table
        A row per number: entry, measured (mean over runs), error (standard error of the mean), runs, published,
        tolerance, verdict.
    claims
        A row per statement of the paper: claim, holds (None where it was not measured), detail.
    settings
        What was computed: runs, quick, changed settings, device, seconds.
    failures
        A row per cell that failed, and per data set that could not be read, with its error.
    files
        What was written, if anything.
    """

    name: str
    title: str
    rows: pd.DataFrame
    table: pd.DataFrame
    claims: pd.DataFrame
    settings: Mapping[str, Any]
    failures: pd.DataFrame
    draw: Callable[[], Figure] = field(repr=False)
    files: tuple[Path, ...] = ()

    def __repr__(self) -> str:
        return f"PaperResult({self.name}: {self.verdict})"

    def _repr_html_(self) -> str:
        claims = "" if self.claims.empty else self.claims.to_html(index=False, border=0)
        return f"<p>{escape(repr(self))}</p>" + self.shown().to_html(index=False, border=0) + claims

    @property
    def verdict(self) -> str:
        """How much matches, in words.

        Examples
        --------
        >>> table = pd.DataFrame({"verdict": ["match", "match", "differs"]})
        >>> claims = pd.DataFrame({"holds": [True]})
        >>> PaperResult("table 9", "", table, table, claims, {}, table[:0], lambda: None).verdict
        '2 of 3 numbers match; 1 of 1 claims hold'
        """
        counts = self.table["verdict"].value_counts()
        compared = int(counts.get(MATCH, 0) + counts.get(DIFFERS, 0))
        parts = [f"{counts.get(MATCH, 0)} of {compared} numbers match"] if compared else []
        parts += [f"{num} {name}" for name, num in counts.items() if name not in (MATCH, DIFFERS, UNPUBLISHED)]
        known = self.claims["holds"].dropna() if len(self.claims) else self.claims
        parts += [f"{int(known.sum())} of {len(known)} claims hold"] if len(known) else []
        parts += [f"{len(self.failures)} failures"] if len(self.failures) else []
        return "; ".join(parts) or "nothing to compare"

    def figure(self) -> Figure:
        """Return the figure in the paper's style, with the published numbers beside the measured ones."""
        return self.draw()

    def shown(self) -> pd.DataFrame:
        """Return the table as texts: entry, measured ± standard error, runs, published, tolerance, verdict."""
        texts = [f"{_number(row.measured)}{'' if pd.isna(row.error) else f' ± {_number(row.error, 2)}'}"
                 for row in self.table.itertuples()]
        return pd.DataFrame({"entry": self.table["entry"], "measured": texts, "runs": self.table["runs"].astype(str),
                             "published": self.table["published"].map(_number), "tolerance": self.table["tolerance"],
                             "verdict": self.table["verdict"]})

    def write(self, folder: str | os.PathLike, *, overwrite: bool = False) -> PaperResult:
        """Write the figure (PDF, PNG), the table (Markdown, CSV) and all rows (parquet); return this with `files`.

        Raises
        ------
        OutputError
            A file exists and `overwrite` is False, or the folder cannot be written.
        """
        paths = output_paths(folder, self.name, quick=bool(self.settings.get("quick")))
        for path in paths:
            check_output(path, overwrite=overwrite)
        from jacprobe.plotting import style

        writers = {".md": lambda path: path.write_text(self.markdown(), encoding="utf-8"),
                   ".csv": lambda path: self.table.to_csv(path, index=False),
                   ".parquet": lambda path: self.rows.to_parquet(path, index=False)}
        with style("paper"):
            if (self.table["runs"] > 0).any():
                drawn = self.draw()
                writers |= dict.fromkeys((".pdf", ".png"), lambda path: drawn.savefig(path, dpi=200))
            written = [path for path in paths if path.suffix in writers]
            for path in written:
                with atomic_path(path, overwrite=overwrite) as temporary:
                    writers[path.suffix](temporary)
        return replace(self, files=tuple(written))

    def markdown(self) -> str:
        """Return the table, the claims and the settings as a page of Markdown."""
        lines = [f"# {self.name.capitalize()}: {self.title}", "", f"{self.verdict.capitalize()}.", "",
                 f"Computed with: {', '.join(f'{key} {value}' for key, value in self.settings.items())}.", ""]
        lines += _markdown_table(self.shown())
        if len(self.claims):
            words = self.claims.assign(holds=self.claims["holds"].map({True: "holds", False: "fails"}).fillna(
                "not measured"))
            lines += ["", "## What the paper says", "", *_markdown_table(words)]
        if len(self.failures):
            lines += ["", "## Failures", "", *(f"- {error}" for error in self.failures["error"])]
        return "\n".join(lines) + "\n"


def output_paths(folder: str | os.PathLike, name: str, *, quick: bool) -> list[Path]:
    """Return the files of a figure or table; those of the quick form have names of their own.

    Examples
    --------
    >>> [path.name for path in output_paths(".", "figure 2a", quick=True)][:2]
    ['figure-2a-quick.pdf', 'figure-2a-quick.png']
    """
    stem = name.replace(" ", "-") + ("-quick" if quick else "")
    return [Path(folder) / f"{stem}{suffix}" for suffix in (".pdf", ".png", ".md", ".csv", ".parquet")]


def _number(value: float, digits: int = 4) -> str:
    if pd.isna(value):
        return "-"
    return f"{int(value)}" if float(value).is_integer() and 1000 <= abs(value) < 1e9 else f"{value:.{digits}g}"


def _markdown_table(table: pd.DataFrame) -> list[str]:
    rows = [[str(cell).replace("|", "\\|") for cell in row] for row in table.itertuples(index=False)]
    return [f"| {' | '.join(row)} |" for row in [list(table.columns), ["---"] * table.shape[1], *rows]]
