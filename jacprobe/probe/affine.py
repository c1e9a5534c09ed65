"""Factors of the weighted modules that act affinely: what they do to a vector does not depend on the input."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from jacprobe.errors import JacprobeError
from jacprobe.linop import Convolution, LinearOperator, Matrix
from jacprobe.modelstate import AFFINE
from jacprobe.probe.graph import PathGraph
from jacprobe.probe.linear import is_linear
from jacprobe.probe.trace import Call

_UNITS = 256  # unit vectors at a time


class AffineFactors:
    """The factors of the affine modules of one model, each made once.

    Parameters
    ----------
    state
        Tensors of the model in working precision.
    max_bytes
        For the matrices of all modules together.
    """

    def __init__(self, state: dict[str, Tensor], max_bytes: float):
        self._state = state
        self._bytes_left = max_bytes
        self._found: dict[tuple, Matrix | Convolution | None] = {}

    def __call__(self, call: Call) -> Matrix | Convolution | None:
        """Return the Jacobian of an affine module, or None where it is none or does not fit the budget.

        A subclass or a hook may make something else of the module, for some inputs only: every call is looked at.
        """
        if not isinstance(call.module, AFFINE) or not _is_affine(call):
            return None
        key = (call.module_name, call.inputs[0].shape[1:], call.output.shape[1:])
        if key not in self._found:
            self._found[key] = self._factor(call)
        return self._found[key]

    def _factor(self, call: Call) -> Matrix | Convolution | None:
        prefix = f"{call.module_name}." if call.module_name else ""
        state = {name.removeprefix(prefix): t for name, t in self._state.items() if name.startswith(prefix)}
        state = {name: torch.zeros_like(t) if "bias" in name and t.is_floating_point() else t
                 for name, t in state.items()}
        taken, given = torch.Size(call.inputs[0].shape[1:]), torch.Size(call.output.shape[1:])
        copies = 1
        if isinstance(call.module, nn.Linear):  # acts on the last dimension, the same for every token
            copies = torch.Size(taken[:-1]).numel()
            taken, given = taken[-1:], given[-1:]
        num_bytes = 16.0 * given.numel() * taken.numel()  # and for what is made of it in float64
        seen: list[Tensor] = []

        def function(block: Tensor) -> Tensor:
            return torch.func.functional_call(call.module, state, (block,))

        like = next(t for t in state.values() if t.is_floating_point())
        handle = call.module.register_forward_hook(lambda module, args, result: seen.append(module.weight.detach()))
        try:
            with torch.no_grad():
                image = function(probe := _random(taken, like))
        finally:
            handle.remove()
        factor = _from_weight(call, seen[0], taken, given, copies, num_bytes <= self._bytes_left)
        if factor is None or not _same(factor, probe, image, copies):  # its forward makes something else of its weight
            fits = num_bytes <= self._bytes_left
            factor = Matrix(_matrix_of_map(function, taken, given, like), copies=copies) if fits else None
        if isinstance(factor, Matrix):
            self._bytes_left -= num_bytes
        shape = (call.output.dim, call.inputs[0].dim)  # another one where the call has arguments that change it
        return factor if factor is not None and factor.shape[1:] == shape else None


def _is_affine(call: Call) -> bool:
    """Whether a call runs the forward of torch and nothing after it, or only operations that are linear."""
    module = call.module
    methods = [getattr(module, name) for name in ("forward", "_conv_forward") if hasattr(module, name)]
    own = all(str(getattr(method, "__module__", "")).startswith("torch.nn.modules.") for method in methods)
    return (own and not module._forward_hooks) or is_linear(PathGraph(call.inputs[0].edge, call.output.edge))


def _from_weight(call: Call, weight: Tensor, taken: torch.Size, given: torch.Size, copies: int, fits: bool
                 ) -> Matrix | Convolution | None:
    """Return the factor by the weight in effect, masks and parametrisations applied."""
    if isinstance(call.module, nn.Linear):
        return Matrix(weight, copies=copies) if fits else None
    try:
        return Convolution.of_module(call.module, weight, tuple(taken), tuple(given))
    except JacprobeError:
        return None


def _random(taken: torch.Size, like: Tensor) -> Tensor:
    vectors = torch.randn(1, *taken, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return vectors.to(like)


def _same(factor: LinearOperator, probe: Tensor, image: Tensor, copies: int) -> bool:
    one = factor.one_copy if isinstance(factor, Matrix) else factor
    given = one.matmat(probe.reshape(1, -1, 1)).flatten()
    image = image.flatten()
    return given.shape == image.shape and bool((given - image).norm() <= _tolerance(probe) * image.norm())


def _tolerance(tensor: Tensor) -> float:
    return torch.finfo(tensor.dtype).eps ** 0.75


def _matrix_of_map(function: Callable, taken: torch.Size, given: torch.Size, like: Tensor) -> Tensor:
    """Return the (given, taken) matrix of a linear map on batches: products with 0 and 1 are exact in any precision."""
    by_rows = given.numel() < taken.numel()
    side = given if by_rows else taken
    parts = []
    for start in range(0, side.numel(), _UNITS):
        count = min(_UNITS, side.numel() - start)
        units = like.new_zeros(count, side.numel())
        units[range(count), range(start, start + count)] = 1
        units = units.reshape(count, *side)
        if by_rows:
            zeros = like.new_zeros(count, *taken).requires_grad_()
            (units,) = torch.autograd.grad(function(zeros), zeros, units)
        else:
            with torch.no_grad():
                units = function(units)
        parts.append(units.reshape(count, -1))
    return torch.cat(parts) if by_rows else torch.cat(parts).mT.contiguous()
