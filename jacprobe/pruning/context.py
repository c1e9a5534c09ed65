"""What a score may use besides the model: data, the masks of the round, randomness."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from jacprobe.masks import Masks

BATCH_NORMS = ("paper", "eval", "train")


@dataclass(frozen=True)
class Scoring:
    """The circumstances in which weights are scored.

    Attributes
    ----------
    data
        (inputs, labels), or an iterable of such batches; None where the score needs none.
    masks
        Weights that are removed while scoring, in a schedule of several rounds; None for none.
    generator
        Source of all randomness.
    batch_norm
        "paper": inference mode at initial statistics (mean 0, variance 1, weight 1, bias 0); "eval": with the stored
        statistics; "train": with those of each batch, the stored ones never updated.
    progress
        Whether to show progress on stderr; None for only on a terminal.
    """

    data: object = None
    masks: Masks | None = None
    generator: torch.Generator = field(default_factory=lambda: torch.Generator().manual_seed(0))
    batch_norm: str = "paper"
    progress: bool | None = None
