"""Where a number comes from: versions of what computed it."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from jacprobe.errors import ArgumentError


def environment() -> dict[str, str]:
    """Return the versions that decide a result, by name; no user name, path or host.

    Examples
    --------
    >>> sorted(environment())
    ['jacprobe', 'machine', 'numpy', 'python', 'torch']
    """
    from jacprobe import __version__

    return {
        "jacprobe": __version__,
        "torch": version("torch"),
        "numpy": version("numpy"),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }


def plain_facts(name: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of `facts`, the argument called `name`, as JSON would give it back.

    Raises
    ------
    ArgumentError
        JSON cannot hold it.

    Examples
    --------
    >>> plain_facts("provenance", {"scales": (0.1, 2)})
    {'scales': [0.1, 2]}
    """
    try:
        return json.loads(json.dumps(dict(facts), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"`{name}` must hold what JSON can hold; {error}. Use numbers and strings.") from error
