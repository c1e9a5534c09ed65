"""The table of all benchmarks for the README, from the JSON files in ``results/``.

    python -m tests.benchmarks.table            # shows it
    python -m tests.benchmarks.table --write    # puts it between the two marks in README.md
"""

import json
import sys
from itertools import groupby
from pathlib import Path

from .duel import RESULTS

README = Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- benchmarks: python -m tests.benchmarks.table --write -->", "<!-- end of benchmarks -->"


def rows(folder=RESULTS):
    """What stands in the JSON files, those of one machine behind each other."""
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    return sorted((row for row in found if not row["small"]), key=_setting)


def table(found):
    """Markdown: a paragraph on the machine and a table for each; "" where there are no rows."""
    parts = []
    for setting, group in groupby(found, key=_setting):
        lines = [f"Measured on {setting}. A ratio is the peer's time over jacprobe's, the median of alternating runs.",
                 "",
                 "| work | peer | ratio | wanted | accuracy | |", "|---|---|---|---|---|---|"]
        lines += [_line(row) for row in group]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def block(text):
    """Return what stands between the marks of a README, "" where it has none."""
    return text.partition(BEGIN)[2].partition(END)[0].strip("\n")


def written(text, found):
    """Return the text of a README with the table between its marks.

    Raises
    ------
    SystemExit
        It has no marks.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"README.md must have the two lines\n{BEGIN}\n{END}\nwhere the table shall stand. Add them.")
    return f"{before}{begin}\n\n{table(found)}\n{end}{after}"


def _setting(row):
    machine, versions = row["machine"], row["versions"]
    threads = machine["threads"]
    chip = machine.get("gpu") or f"{machine['cpu']}, {threads} {'thread' if threads == 1 else 'threads'}"
    return (f"{chip} ({machine['system']}), torch {versions['torch']}, NumPy {versions['numpy']},"
            f" SciPy {versions['scipy']}, Python {versions['python']}")


def _line(row):
    errors = "; ".join(f"{name} {error['value']:.1e} (≤ {error['limit']:.0e})" for name, error in row["errors"].items())
    data = f", {row['data']}" if row["data"] not in ("", "random") else ""
    target = f"≥ {row['target']:.2f}" if row["target"] else ""
    cells = [row["claim"] + data, row["peer"], f"{row['ratio']:.2f}", target, errors,
             "reached" if row["holds"] else "missed"]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def main(arguments):
    if arguments == ["--write"]:
        README.write_text(written(README.read_text(encoding="utf-8"), rows()), encoding="utf-8")
    else:
        print(table(rows()), end="")


if __name__ == "__main__":
    main(sys.argv[1:])
