"""What is reported of a layer before and after: residual, zero singular values, concentration."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

SMALL = 0.05  # of the rms of a layer's kept weights
ZERO = 0.01  # of the gain


@dataclass(frozen=True)
class Measures:
    """Numbers of one layer, its weights divided by the gain.

    Attributes
    ----------
    score
        ``||V'V - I||_F`` on the outputs' side, block by block: the paper's orthogonality score of one layer.
    zeros
        Singular values under 1 %, of as many as the short side of a block has.
    small_share
        Share of the kept weights below 5 % of their root mean square.
    participation
        ``(sum w^2)^2 / (kept * sum w^4)``: 1 where all kept weights have the same size, 1 / 3 for Gaussian ones, and
        1 / kept where one has all.
    """

    score: float
    zeros: int
    small_share: float
    participation: float

    @classmethod
    def of(cls, blocks: Tensor, masks: Tensor) -> Measures:
        """Return the measures of float64 blocks `(num_blocks, fan_in, outputs)`."""
        fan_in, outputs = blocks.shape[1:]
        gram = blocks.mT @ blocks if outputs <= fan_in else blocks @ blocks.mT
        squares = torch.linalg.eigvalsh(gram)
        excess = max(outputs - fan_in, 0) * len(blocks)
        kept = blocks[masks].square()
        total, fourth = float(kept.sum()), float(kept.square().sum())
        return cls(
            score=math.sqrt(float((squares - 1).square().sum()) + excess),
            zeros=int((squares < ZERO**2).sum()),
            small_share=float((kept < SMALL**2 * total / len(kept)).double().mean()) if total else 1.0,
            participation=total**2 / (len(kept) * fourth) if fourth else 0.0,
        )
