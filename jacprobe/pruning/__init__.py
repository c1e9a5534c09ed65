"""Model and data in, scores and masks out."""

from jacprobe.pruning.prune import prune

__all__ = ["prune"]
