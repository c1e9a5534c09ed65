"""Descents over the kept weights: conjugate gradients far from a solution, Gauss-Newton steps near it."""

from __future__ import annotations

import torch
from torch import Tensor

from jacprobe.isometry.repair.linesearch import quartic_minimum
from jacprobe.isometry.repair.problem import Problem, Tangent

_REFRESH = 25  # steps after which the residual is computed anew, against rounding
_LEAST_ROW = 0.1  # of the mean: at 0 entries that hardly move would rule, at 1 tall layers take twice the steps


def _wide(values: Tensor) -> Tensor:
    return values[:, None]


def _like(values: Tensor, stack: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (stack.ndim - 1))


def line_step(kept: Tensor, direction: Tensor, tangent: Tangent, residual: Tensor, problem: Problem
              ) -> tuple[Tensor, Tangent, Tensor]:
    """Return the weights, the tangent at their matrices and the residual at the least value along a direction."""
    length = direction.norm(dim=1)
    direction = direction / _wide(torch.where(length > 0, length, 1.0))
    step = problem.matrices(direction)
    linear, square = tangent.image(step), problem.gram(step)
    place = quartic_minimum(problem.quartic(kept, direction, residual, linear, square)).to(kept.dtype)
    shift = _like(place, residual)
    return (kept + _wide(place) * direction, problem.tangent(tangent.matrices + _like(place, step) * step),
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
    tangent = problem.tangent(problem.matrices(kept))
    residual = problem.residual(tangent.matrices)
    gradient = problem.gradient(kept, tangent, residual)
    direction = -gradient
    for step in range(1, num_steps + 1):
        kept, tangent, residual = line_step(kept, direction, tangent, residual, problem)
        if step % _REFRESH == 0:
            tangent = problem.tangent(problem.matrices(kept))
            residual = problem.residual(tangent.matrices)
        fresh = problem.gradient(kept, tangent, residual)
        squares = (gradient * gradient).sum(1)
        beta = ((fresh * (fresh - gradient)).sum(1) / squares.clamp_min(torch.finfo(kept.dtype).tiny)).clamp_min(0)
        direction = _wide(beta) * direction - fresh
        uphill = (direction * fresh).sum(1) >= 0
        direction = torch.where(_wide(uphill), -fresh, direction)
        gradient = fresh
    return kept, gradient.norm(dim=1)


def _evenness(tangent: Tangent, problem: Problem, residual: Tensor) -> Tensor:
    """Return weights of the entries of A with which all of them move about as fast.

    Columns that meet in few rows have an inner product that moves little, which is what makes steps many. Above a floor
    the least weighted sum of squares is another than the least one, so that there, and of frequencies, all are 1.
    """
    if problem.lift.num > 1:
        return torch.ones_like(residual)
    squares = tangent.row_squares()
    total, moving = (_like(term.flatten(1).sum(1), squares) for term in (squares, (squares > 0).to(squares)))
    mean = total / moving.clamp_min(1)
    return torch.where(_like(problem.floor > 0, squares), 1.0, mean / (squares + _LEAST_ROW * mean))


def gauss_newton_step(kept: Tensor, problem: Problem, *, max_steps: int, forcing: Tensor) -> tuple[Tensor, int]:
    """Return the weights after one Gauss-Newton step with an exact line search, and the inner steps it took.

    The linear least-squares problem ``|A + M' L(D) + L(D)' M|``, its entries weighted, is solved by conjugate gradients
    from D = 0, so that where many D solve it, it is the shortest: near a solution, freedom that is not needed is not
    used. Without penalties only.

    Parameters
    ----------
    forcing
        Share of the gradient `(num_blocks,)` at which the inner iteration stops.

    References
    ----------
    Dembo, Eisenstat and Steihaug 1982 (inexact Newton methods); Bjorck 1996, algorithm 7.4.1 (CGLS).
    """
    tangent = problem.tangent(problem.matrices(kept))
    residual = problem.residual(tangent.matrices)
    weights = _evenness(tangent, problem, residual)
    left, slope = -residual, -tangent.slope(weights * residual)
    direction, step = torch.zeros_like(kept), slope
    square = (slope * slope).sum(1)
    goal = forcing.square() * square
    inner = 0
    while inner < max_steps and bool((going := square > goal).any()):
        image = tangent.image(problem.matrices(step))
        size = problem.dot(image, weights * image)
        length = torch.where(going & (size > 0), square / size.clamp_min(torch.finfo(kept.dtype).tiny), 0.0)
        direction = torch.addcmul(direction, _wide(length), step)
        left = torch.addcmul(left, _like(length, image).to(left.dtype), image, value=-1)
        slope, last = tangent.slope(weights * left), square
        square = (slope * slope).sum(1)
        step = torch.addcmul(slope, _wide(square / last.clamp_min(torch.finfo(kept.dtype).tiny)), step)
        inner += 1
    return line_step(kept, direction, tangent, residual, problem)[0], inner
