"""Where a number comes from: versions of what computed it."""

from __future__ import annotations

import platform
from importlib.metadata import version


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
