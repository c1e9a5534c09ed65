"""What a function must be to serve as an activation, and where its slope jumps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from jacprobe.errors import ArgumentError, DtypeError
from jacprobe.theory.gaussian import Activation

_REACH = 1000.0  # kinks are searched for this far
_JUMP = 1e-7  # of the largest slope or value seen within 8: a smaller one is left to the quadrature
_ROUNDS = 80  # of bisection: intervals shrink to neighbouring floats


def check_elementwise(function: Callable[[Tensor], Tensor], name: str) -> None:
    """Check that a function maps a float64 tensor element by element, twice to the same, with a derivative.

    Raises
    ------
    DtypeError
        It returns no float64 tensor of the same shape, or fails.
    ArgumentError
        It mixes elements, is random, or cuts the derivative.
    """
    points = torch.linspace(-3.1, 2.9, 31, dtype=torch.float64, requires_grad=True)
    try:
        with torch.enable_grad():  # also where the caller has switched it off
            values, again, part = function(points), function(points), function(points[10:11])
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        reason = str(error).partition("\n")[0]
        raise DtypeError(f"`activation` must be a function of one float64 tensor; {name} fails on one: {reason}."
                         " Pass for example torch.tanh.") from error
    if not isinstance(values, Tensor) or values.dtype != torch.float64 or values.shape != points.shape:
        got = f"{values.dtype} of shape {tuple(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
        raise DtypeError(f"`activation` must return a float64 tensor of the shape it is given; {name} gives {got} for"
                         f" torch.float64 of shape {tuple(points.shape)}. Act on each element in its own precision.")
    if not torch.equal(values.nan_to_num(), again.nan_to_num()):
        raise ArgumentError(f"`activation` must give the same value twice; {name} does not. Leave its randomness out.")
    if part.shape != (1,) or not torch.allclose(part, values[10:11], rtol=1e-12, atol=1e-12, equal_nan=True):
        raise ArgumentError(f"`activation` must act on each element by itself; {name} mixes them. Pass an elementwise"
                            " function.")
    if not values.requires_grad and not torch.equal(values.nan_to_num(), values[:1].nan_to_num().expand(31)):
        raise ArgumentError(f"`activation` must be differentiable by autograd; {name} cuts the derivative. Write it"
                            " with operations of torch on the tensor it is given.")


def find_kinks(phi: Activation) -> tuple[float, ...]:
    """Return the points of [-1000, 1000] where the slope of `phi` jumps, increasing.

    Every interval of a grid is bisected towards its larger change of slope; where a change survives down to
    neighbouring numbers there is a kink. Of several kinks in one interval, 1/16 wide near 0, one is found.

    Raises
    ------
    ArgumentError
        The function itself jumps.
    NonFiniteError
        A value or slope within 8 of 0 is not finite.
    """
    # off the round numbers where kinks lie, so that none is a grid point
    near = np.arange(-8, 8, 1 / 16) + 0.0123
    far = 8.0123 * (_REACH / 8) ** np.linspace(0, 1, 400)
    size, slope = abs(phi.values(near)).max(), abs(phi.slopes(near)).max()
    grid = np.concatenate([-far[::-1], near, far])
    jumps = _jumps(lambda x: _evaluated(phi.function, x)[0], grid, size)
    if len(jumps):
        raise ArgumentError(f"`activation` must be continuous; {phi.name} jumps at x = {jumps[0]:.6g}, so its slope is"
                            " not a function. Pass a continuous function.")
    return tuple(float(x) for x in _jumps(lambda x: _evaluated(phi.function, x)[1], grid, slope))


def _jumps(function: Callable[[np.ndarray], np.ndarray], grid: np.ndarray, size: float) -> np.ndarray:
    """Return where a function changes by more than `_JUMP` of its `size`, there or nearby, between adjacent numbers."""
    lower, upper = grid[:-1], grid[1:]
    below, above = function(lower), function(upper)
    for _ in range(_ROUNDS):
        middle = (lower + upper) / 2
        between = function(middle)
        to_left = abs(between - below) >= abs(above - between)
        lower, upper = np.where(to_left, lower, middle), np.where(to_left, middle, upper)
        below, above = np.where(to_left, below, between), np.where(to_left, between, above)
    scale = np.maximum(size, np.maximum(abs(below), abs(above)))
    places = np.unique(upper[abs(above - below) > _JUMP * scale])
    places = places.round(14)  # a kink at 0 is approached through ever smaller numbers
    return np.unique(places + 0.0)


def _evaluated(function: Callable[[Tensor], Tensor], x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return values and slopes, NaN where they are not finite: far out a function may overflow, which is no jump."""
    with torch.enable_grad():
        points = torch.from_numpy(x.copy()).requires_grad_()
        values = function(points)
        slopes = torch.autograd.grad(values.sum(), points)[0] if values.requires_grad else torch.zeros_like(points)
    return tuple(torch.where(part.isfinite(), part, torch.nan).detach().numpy() for part in (values, slopes))
