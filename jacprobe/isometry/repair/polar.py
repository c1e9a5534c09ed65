"""The polar factor, the isometry nearest to a matrix, in turns with a mask."""

from __future__ import annotations

import torch
from torch import Tensor

from jacprobe.isometry.repair.problem import Problem

_SAFE_VALUE = 0.5  # least singular value from which a descent was never seen to end at 0
_SAFE_EXCESS = 0.8  # a squared residual under 1 has no singular value at 0, and a descent only lowers it


def polar_factor(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Return the isometries nearest to matrices `(..., long, short)` and the squared singular values, increasing.

    By the eigenvectors of the Gram matrix. A singular value under 1e-7 of the largest is lifted only in part, and one
    that is 0 not at all.

    Examples
    --------
    >>> factor, squares = polar_factor(torch.tensor([[3.0, 0.0], [0.0, -2.0]], dtype=torch.float64))
    >>> factor.round().tolist(), [round(float(value), 9) for value in squares]
    ([[1.0, 0.0], [0.0, -1.0]], [4.0, 9.0])
    """
    squares, vectors = torch.linalg.eigh(matrices.mH @ matrices)
    lifted = squares.clamp_min(1e-300).maximum(squares[..., -1:] * 1e-14)
    return matrices @ ((vectors * lifted.rsqrt()[..., None, :]) @ vectors.mH), squares


def newton_schulz(matrices: Tensor, *, num_steps: int = 40) -> Tensor:
    """Return the polar factors by products alone, which accelerators do best.

    Each step takes every singular value s to ``s (3 - s^2) / 2``. Values that would need more than `num_steps` steps,
    those under about 1e-6 of the largest, are lifted only in part.

    References
    ----------
    Higham, Functions of Matrices, 2008, section 8.3.

    Examples
    --------
    >>> newton_schulz(torch.tensor([[3.0, 0.0], [0.0, -2.0]], dtype=torch.float64)).round().tolist()
    [[1.0, 0.0], [0.0, -1.0]]
    """
    gram = matrices.mH @ matrices
    bound = gram.abs().sum(-1).amax(-1).clamp_min(1e-300).sqrt()[..., None, None]  # at least the largest value
    factor, identity = matrices / bound, torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    for _ in range(num_steps):
        gram = factor.mH @ factor
        if float((gram - identity).abs().amax()) < 1e-6:
            break
        factor = factor @ (1.5 * identity - 0.5 * gram)
    return factor


def polar_rounds(kept: Tensor, problem: Problem, *, max_rounds: int) -> tuple[Tensor, Tensor]:
    """Lift small singular values by rounds of a polar factor and the mask, until a descent will not end at 0.

    Descents from sparse square matrices get stuck with singular values at 0 that the mask does not ask for; these
    rounds, which may raise the residual, leave such places. On the CPU the factors come from eigenvectors, on an
    accelerator from products.

    Returns
    -------
    tuple of Tensor
        The kept weights, and the number of rounds of each block `(num_blocks,)`.
    """
    kept, rounds = kept.clone(), torch.zeros(len(kept), dtype=torch.int64)
    active, part = torch.arange(len(kept)), problem
    for _ in range(max_rounds):
        matrices = part.lift.forward(part.dense(kept[active]))
        if matrices.is_cuda:
            factor = newton_schulz(matrices)
            is_safe = part.excess(part.residual(part.matrices(kept[active]))) < _SAFE_EXCESS
        else:
            factor, squares = polar_factor(matrices)
            excess = (squares - 1).square().flatten(1).sum(1) / part.lift.num - part.floor.square()
            is_safe = (excess < _SAFE_EXCESS) | (squares.flatten(1).amin(1) > _SAFE_VALUE**2)
        going = ~is_safe.cpu()
        if not going.any():
            break
        lifted = part.kept(part.lift.adjoint(factor))[going.to(kept.device)]
        if not going.all():
            active = active[going]
            part = problem.part(active)
        kept[active] = lifted
        rounds[active] += 1
    return kept, rounds
