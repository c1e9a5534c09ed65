"""Make or restore isometry: initial weights."""

from jacprobe.isometry.initialize import initialize

__all__ = ["initialize"]
