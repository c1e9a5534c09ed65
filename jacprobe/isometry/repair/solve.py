"""The default method: rescaled start, polar rounds, descent, revival, until the residual is at its floor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from jacprobe.isometry.repair.descent import conjugate_gradients, gauss_newton_step
from jacprobe.isometry.repair.polar import polar_rounds
from jacprobe.isometry.repair.problem import Problem
from jacprobe.isometry.repair.revival import SHARES, rescaled, towards_permutation

_MAX_ROUNDS = 60
_FLAT = 1e-9  # length of a gradient
_STALL = 0.05  # share of the excess that a chunk of steps must take away
_CHUNK = 30  # conjugate gradient steps between two looks
_NEAR = 0.1  # squared residual above the floor from which Gauss-Newton steps are tried
_SLOW = 0.005  # logarithm of the excess that goes with an inner step of a Gauss-Newton step that is not slow
_LARGE, _FAR = 1e6, 1e-3  # operations of a step and squared residual above the floor from which float32 will do
_STUCK = 0.5  # squared residual above the floor, at least 1 where a singular value is at 0 that need not be


@dataclass
class Solution:
    """Where each block of a problem stands.

    Attributes
    ----------
    kept
        float64 `(num_blocks, most_kept)`.
    steps
        Polar rounds, conjugate gradient steps and inner steps `(num_blocks,)`.
    excess
        Squared residual above that of the floor `(num_blocks,)`.
    reason
        Why each block stopped: "isometric already", "converged", "near" (under the tolerance for slow ones, and slow),
        "stationary" or "max_steps".
    """

    kept: Tensor
    steps: Tensor
    excess: Tensor
    reason: list[str]


def solve(given: Tensor, problem: Problem, *, tolerance: float, slow_tolerance: float, max_steps: int,
          tick: Callable[[int], None] = lambda num: None) -> Solution:
    """Bring blocks as near to isometry as their masks allow.

    Parameters
    ----------
    given
        float64 `(num_blocks, most_kept)`.
    tolerance
        Of the squared residual above its floor, its root.
    slow_tolerance
        The same for blocks of which a Gauss-Newton step takes little: solutions that concentrate on few weights are
        degenerate, and the last digits of them cost most.
    max_steps
        Most steps of a block.
    tick
        Called with the number of blocks that have stopped.
    """
    num = len(given)
    found = Solution(given.clone(), torch.zeros(num, dtype=torch.int64),
                     torch.full((num,), torch.inf, dtype=torch.float64), [""] * num)
    run = _Run(found, problem, (tolerance, slow_tolerance), max_steps, tick)
    run.settle(torch.arange(num), "isometric already")
    if problem.penalty is None and len(run.active):
        start = rescaled(given[run.active], problem.part(run.active))
        found.kept[run.active], rounds = polar_rounds(start, problem.part(run.active), max_rounds=_MAX_ROUNDS)
        found.steps[run.active] += rounds
        run.wait[run.active] = rounds == _MAX_ROUNDS
        run.settle(run.active, "converged")
    while len(run.active):
        run.advance()
    return found


class _Run:
    """The state of a solution on its way: which blocks are active, and what each has tried."""

    def __init__(self, found: Solution, problem: Problem, tolerances: tuple[float, float], max_steps: int,
                 tick: Callable[[int], None]):
        self.found, self.problem, self.max_steps, self.tick = found, problem, max_steps, tick
        self.tolerance, self.slow_tolerance = tolerances
        num = len(found.reason)
        self.active = torch.arange(num)
        self.excess = found.excess
        self.revived = [0] * num
        self.wait = torch.zeros(num, dtype=torch.bool)  # what was tried last gained little
        self.flat = torch.zeros(num, dtype=torch.bool)  # no slope is left

    def settle(self, index: Tensor, reason: str) -> Tensor:
        """Measure blocks, close those that are done, and return the excess of all of `index`."""
        part = self.problem.part(index)
        excess = part.excess(part.residual(part.matrices(self.found.kept[index]))).cpu()
        self.excess[index] = excess
        if self.problem.penalty is None:
            self.close(index[excess <= self.tolerance**2], reason)
        return excess

    def close(self, index: Tensor, reason: str) -> None:
        """Stop blocks, if they have not already."""
        closed = [i for i in index.tolist() if not self.found.reason[i]]
        for i in closed:
            self.found.reason[i] = reason
        self.active = torch.tensor([i for i in self.active.tolist() if not self.found.reason[i]], dtype=torch.int64)
        if closed:
            self.tick(len(closed))

    def advance(self) -> None:
        """Go on with all active blocks, near and far ones apart."""
        near = (self.excess[self.active] < _NEAR) & ~self.wait[self.active] & (self.problem.penalty is None)
        stuck = torch.tensor([self._is_stuck(i) for i in self.active.tolist()], dtype=torch.bool)
        groups = self.active[near], self.active[~near & ~stuck], self.active[stuck]
        for index, move in zip(groups, (self._polish, self._descend, self._revive), strict=True):
            if len(index):
                move(index)
        spent = self.active[self.found.steps[self.active] >= self.max_steps]
        self.close(spent, "max_steps")

    def _can_revive(self, i: int) -> bool:
        return self.problem.penalty is None and self.revived[i] < len(SHARES)

    def _is_stuck(self, i: int) -> bool:
        """Whether rounds or descents leave a block away from its floor: with a value at 0 that need not be, mostly."""
        return self._can_revive(i) and bool(self.wait[i]) and bool((self.excess[i] > _STUCK) | self.flat[i])

    def _start(self, index: Tensor) -> tuple[Problem, Tensor]:
        """Return blocks to go on with, large ones that are still far in float32."""
        part, kept = self.problem.part(index), self.found.kept[index]
        is_flat = part.lift.num == 1 and part.penalty is None
        if is_flat and part.work > _LARGE and bool((self.excess[index] > _FAR).all()):
            return part.single(), kept.float()
        return part, kept

    def _polish(self, index: Tensor) -> None:
        before = self.excess[index].clone()
        part, kept = self._start(index)
        forcing = before.sqrt().clamp(0.01, 0.3).to(kept)
        found, inner = gauss_newton_step(kept, part, max_steps=min(200, self.max_steps), forcing=forcing)
        self.found.kept[index] = found.double()
        self.found.steps[index] += inner
        after = self.settle(index, "converged")
        self.wait[index] = after > 0.25 * before
        gain = (before / after.clamp_min(1e-300)).log()
        self.close(index[(gain < _SLOW * inner) & (after <= self.slow_tolerance**2)], "near")

    def _descend(self, index: Tensor) -> None:
        before = self.excess[index].clone()
        part, kept = self._start(index)
        found, slope = conjugate_gradients(kept, part, num_steps=_CHUNK)
        self.found.kept[index] = found.double()
        self.found.steps[index] += _CHUNK
        after = self.settle(index, "converged")
        self.flat[index] = flat = slope.cpu() <= _FLAT
        self.wait[index] = flat | ((after > _STUCK) & (before - after < _STALL * after))
        done = [i for i in index[flat].tolist() if not self._can_revive(i)]
        self.close(torch.tensor(done, dtype=torch.int64), "stationary")

    def _revive(self, index: Tensor) -> None:
        for i in index.tolist():
            one = torch.tensor([i])
            self.found.kept[one] = towards_permutation(self.found.kept[one], self.problem.part(one),
                                                          SHARES[self.revived[i]])
            self.revived[i] += 1
        self.wait[index] = self.flat[index] = False
        self.settle(index, "converged")
