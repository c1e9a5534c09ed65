"""Make or restore isometry: initial weights; repair on a fixed mask; measure how far weights are from it."""

from jacprobe.isometry.initialize import initialize
from jacprobe.isometry.isometrize import isometrize
from jacprobe.isometry.orthogonality import orthogonality_score
from jacprobe.isometry.repairresult import Repair

__all__ = ["Repair", "initialize", "isometrize", "orthogonality_score"]
