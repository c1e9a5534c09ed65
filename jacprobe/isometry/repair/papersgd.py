"""The paper's approximate isometry: plain gradient descent on unsquared norms, Frobenius or spectral."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_TICK = 100
_BASIS = 8  # vectors that follow the ends of the spectrum
_FIRST = 50  # rounds that find them, one a step afterwards


def paper_sgd(blocks: Tensor, masks: Tensor, *, rate: float, num_steps: int, norm: str = "frobenius",
              tick: Callable[[int], None] = lambda num: None) -> Tensor:
    """Return blocks after `num_steps` steps of descent on the sum of ``||(C V)'(C V) - I||`` of the outputs' side.

    The norm is not squared, so that its gradient has the same length however near the minimum is: at a constant rate
    the residual of a block comes to rest near twice the rate, and it also never leaves singular values at 0.

    Parameters
    ----------
    blocks
        `(num_blocks, fan_in, outputs)`, in the precision to descend in; the paper's is float32.
    masks
        Bool, of the same shape.
    norm
        "frobenius" (AIF) or "spectral" (AIS), whose slope is that of the eigenvalue of largest magnitude alone.
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
    slope = {"frobenius": _frobenius, "spectral": _spectral}[norm](weights)
    for done in range(1, num_steps + 1):
        weights.addcmul_(slope(), kept, value=-rate)
        if done % _TICK == 0:
            tick(_TICK)
    return weights


def _frobenius(weights: Tensor) -> Callable[[], Tensor]:
    """Return what gives the slope of the Frobenius norm at `weights`, which change between calls."""
    gram = weights.mT @ weights
    identity = torch.eye(gram.shape[-1], dtype=weights.dtype, device=weights.device).expand_as(gram).contiguous()
    found = torch.empty_like(weights)

    def slope() -> Tensor:
        torch.baddbmm(identity, weights.mT, weights, beta=-1, out=gram)
        length = torch.linalg.vector_norm(gram, dim=(1, 2), keepdim=True)
        gram.mul_(2 / length.clamp_min(torch.finfo(weights.dtype).tiny))  # 0 at a minimum, where there is no slope
        return torch.bmm(weights, gram, out=found)

    return slope


def _spectral(weights: Tensor) -> Callable[[], Tensor]:
    """Return what gives the slope of the spectral norm: one round of subspace iteration a step, from the last basis.

    The two ends of the spectrum lie near each other in magnitude, which Ritz vectors keep apart and a power iteration
    would not.
    """
    num_blocks, _, outputs = weights.shape
    generator = torch.Generator().manual_seed(0)
    basis = torch.randn(num_blocks, outputs, min(_BASIS, outputs), generator=generator).to(weights)
    ritz = weights.new_zeros(num_blocks, basis.shape[-1])

    def image() -> Tensor:
        return torch.baddbmm(basis, weights.mT, weights @ basis, beta=-1)

    def refine() -> None:
        nonlocal basis, ritz
        basis = torch.linalg.qr(image()).Q
        ritz, vectors = torch.linalg.eigh(basis.mT @ image())
        basis = basis @ vectors

    def slope() -> Tensor:
        refine()
        end = ritz.abs().argmax(1).view(-1, 1, 1)
        vector = basis.gather(2, end.expand(-1, outputs, 1))
        return (2 * ritz.unsqueeze(1).gather(2, end).sign()) * (weights @ vector) @ vector.mT

    for _ in range(_FIRST):
        refine()
    return slope
