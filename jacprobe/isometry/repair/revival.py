"""A way out of singular values that are stuck at 0: towards a signed permutation that the mask allows."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from jacprobe.isometry.repair.lifts import Frequencies
from jacprobe.isometry.repair.problem import Problem
from jacprobe.isometry.repair.support import matching

SHARES = (0.6, 0.9, 1.0)  # of the permutation; at 1 the residual is the floor


def towards_permutation(kept: Tensor, problem: Problem, share: float) -> Tensor:
    """Return ``(1 - share) V + share P`` with P the heaviest largest signed permutation on the mask of each block.

    A permutation as large as the structural rank allows has that many singular values 1 and the others 0, so that its
    residual is the floor; close to it a descent loses none of them. Of a convolution each output channel of P takes one
    tap of one input channel, a shift.
    """
    masks = problem.dense(problem.is_kept) > 0
    permutations = [_permutation(block, mask, problem) for block, mask in zip(problem.dense(kept), masks, strict=True)]
    return (1 - share) * kept + share * problem.kept(torch.stack(permutations))


def _permutation(block: Tensor, mask: Tensor, problem: Problem) -> Tensor:
    found = torch.zeros_like(block)
    if isinstance(problem.lift, Frequencies):
        sizes, is_kept, taps = problem.lift.pick(block, mask)
        inputs, columns = (side.to(block.device) for side in matching(sizes, is_kept))
        rows = taps[inputs, columns]
    else:
        rows, columns = (side.to(block.device) for side in matching(block, mask))
    found[rows, columns] = torch.where(block[rows, columns] < 0, -1.0, 1.0).double()
    return found


def rescaled(kept: Tensor, problem: Problem) -> Tensor:
    """Return the weights with the Frobenius norm of an isometry, ``sqrt(short)``, block by block.

    A block whose kept weights are all 0 becomes a permutation.
    """
    norms = kept.norm(dim=1)
    scaled = kept * (math.sqrt(problem.short) / torch.where(norms > 0, norms, 1.0))[:, None]
    empty = (norms == 0).nonzero()[:, 0]
    if len(empty):
        scaled[empty] = towards_permutation(kept[empty], problem.part(empty), 1.0)
    return scaled
