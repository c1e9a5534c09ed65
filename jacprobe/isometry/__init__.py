"""Make or restore isometry: initial weights; measure how far weights are from it."""

from jacprobe.isometry.initialize import initialize
from jacprobe.isometry.orthogonality import orthogonality_score

__all__ = ["initialize", "orthogonality_score"]
