"""Descents over the kept weights: conjugate gradients far from a solution, Gauss-Newton steps near it."""

from __future__ import annotations

import torch
from torch import Tensor

from jacprobe.isometry.repair.linesearch import quartic_minimum
from jacprobe.isometry.repair.problem import Problem

_REFRESH = 25  # steps after which the residual is computed anew, against rounding


def _wide(values: Tensor) -> Tensor:
    return values[:, None]


def _like(values: Tensor, stack: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (stack.ndim - 1))


def line_step(kept: Tensor, direction: Tensor, matrices: Tensor, residual: Tensor, problem: Problem
              ) -> tuple[Tensor, Tensor, Tensor]:
    """Return the weights, their matrices and the residual at the least value along a direction."""
    length = direction.norm(dim=1)
    direction = direction / _wide(torch.where(length > 0, length, 1.0))
    step = problem.matrices(direction)
    linear, square = problem.image(matrices, step), problem.product(step, step)
    place = quartic_minimum(problem.quartic(kept, direction, residual, linear, square)).to(kept.dtype)
    shift = _like(place, residual)
    return (kept + _wide(place) * direction, matrices + _like(place, matrices) * step,
            residual + shift * linear + shift.square() * square)


def conjugate_gradients(kept: Tensor, problem: Problem, *, num_steps: int) -> tuple[Tensor, Tensor]:
    """Descend by nonlinear conjugate gradients (Polak, Ribiere, restarted), with exact line searches.

    Returns
    -------
    tuple of Tensor
        The weights, and the length of their last gradient `(num_blocks,)`.

    References
    ----------
    Nocedal and Wright, Numerical Optimization, 2006, section 5.2.
    """
    matrices = problem.matrices(kept)
    residual = problem.residual(matrices)
    gradient = problem.gradient(kept, matrices, residual)
    direction = -gradient
    for step in range(1, num_steps + 1):
        kept, matrices, residual = line_step(kept, direction, matrices, residual, problem)
        if step % _REFRESH == 0:
            matrices = problem.matrices(kept)
            residual = problem.residual(matrices)
        fresh = problem.gradient(kept, matrices, residual)
        squares = (gradient * gradient).sum(1)
        beta = ((fresh * (fresh - gradient)).sum(1) / squares.clamp_min(torch.finfo(kept.dtype).tiny)).clamp_min(0)
        direction = _wide(beta) * direction - fresh
        uphill = (direction * fresh).sum(1) >= 0
        direction = torch.where(_wide(uphill), -fresh, direction)
        gradient = fresh
    return kept, gradient.norm(dim=1)


def gauss_newton_step(kept: Tensor, problem: Problem, *, max_steps: int, forcing: Tensor) -> tuple[Tensor, int]:
    """Return the weights after one Gauss-Newton step with an exact line search, and the inner steps it took.

    The linear least-squares problem ``|A + M' L(D) + L(D)' M|`` is solved by conjugate gradients from D = 0, so that
    where many D solve it, it is the shortest: near a solution, freedom that is not needed is not used. Without
    penalties only.

    Parameters
    ----------
    forcing
        Share of the gradient `(num_blocks,)` at which the inner iteration stops.

    References
    ----------
    Dembo, Eisenstat and Steihaug 1982 (inexact Newton methods); Bjorck 1996, algorithm 7.4.1 (CGLS).
    """
    matrices = problem.matrices(kept)
    residual = problem.residual(matrices)
    left, slope = -residual, -problem.slope(matrices, residual)
    direction, step = torch.zeros_like(kept), slope
    square = (slope * slope).sum(1)
    goal = forcing.square() * square
    inner = 0
    while inner < max_steps and bool((going := square > goal).any()):
        image = problem.image(matrices, problem.matrices(step))
        size = problem.dot(image, image)
        length = torch.where(going & (size > 0), square / size.clamp_min(torch.finfo(kept.dtype).tiny), 0.0)
        direction = torch.addcmul(direction, _wide(length), step)
        left = torch.addcmul(left, _like(length, image).to(left.dtype), image, value=-1)
        slope, last = problem.slope(matrices, left), square
        square = (slope * slope).sum(1)
        step = torch.addcmul(slope, _wide(square / last.clamp_min(torch.finfo(kept.dtype).tiny)), step)
        inner += 1
    return line_step(kept, direction, matrices, residual, problem)[0], inner
