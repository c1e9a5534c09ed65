"""Where the numbers of a page come from, as names and texts."""

from __future__ import annotations

import json
from collections.abc import Mapping


def fact_rows(facts: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return facts as names and texts, those within others behind a dot; what is None is left out.

    Examples
    --------
    >>> fact_rows({"sha256": "ab12", "isometry": {"method": "polar-cg", "gain": 1}, "seed_of_probes": 0, "seed": None})
    [('sha256', 'ab12'), ('isometry.method', 'polar-cg'), ('isometry.gain', '1'), ('seed of probes', '0')]
    """
    rows = []
    for name, value in facts.items():
        shown = str(name).replace("_", " ")
        if isinstance(value, Mapping):
            rows += [(f"{shown}.{inner}", text) for inner, text in fact_rows(value)]
        elif value is not None:
            rows.append((shown, value if isinstance(value, str) else _text(value)))
    return rows


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.10g}"
    return json.dumps(value, default=str, ensure_ascii=False)
