"""The paper's approximate isometry: plain gradient descent on unsquared norms."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_TICK = 100


def paper_sgd(blocks: Tensor, masks: Tensor, *, rate: float, num_steps: int,
              tick: Callable[[int], None] = lambda num: None) -> Tensor:
    """Return blocks after `num_steps` steps of descent on the sum of ``||(C V)'(C V) - I||_F`` of the outputs' side.

    The norm is not squared, so that its gradient has the same length however near the minimum is: at a constant rate
    the residual of a block comes to rest near twice the rate, and it also never leaves singular values at 0.

    Parameters
    ----------
    blocks
        `(num_blocks, fan_in, outputs)`, in the precision to descend in; the paper's is float32.
    masks
        Bool, of the same shape.
    tick
        Called with a number of steps done.

    References
    ----------
    Lee et al. 2020, equation 8; facts of their code: rate 0.1, 10,000 steps, no stopping rule, no data.

    Examples
    --------
    >>> half = torch.eye(2, dtype=torch.float64)[None] / 2
    >>> found = paper_sgd(half, half > 0, rate=0.1, num_steps=100)
    >>> float((found - torch.eye(2)).abs().max()) < 0.1, found[0, 0, 1].item()
    (True, 0.0)
    """
    kept = masks.to(blocks.dtype)
    weights = blocks * kept
    gram = weights.mT @ weights
    identity = torch.eye(gram.shape[-1], dtype=blocks.dtype, device=blocks.device).expand_as(gram).contiguous()
    step = torch.empty_like(weights)
    for done in range(1, num_steps + 1):
        torch.baddbmm(identity, weights.mT, weights, beta=-1, out=gram)
        length = torch.linalg.vector_norm(gram, dim=(1, 2), keepdim=True)
        gram *= -2 * rate / length.clamp_min(torch.finfo(blocks.dtype).tiny)  # 0 at a minimum, where there is no slope
        torch.bmm(weights, gram, out=step)
        weights.addcmul_(step, kept)
        if done % _TICK == 0:
            tick(_TICK)
    return weights
