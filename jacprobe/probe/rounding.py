"""How far a Jacobian in working precision is from the one of the same model in float64, measured on some inputs."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from jacprobe.errors import ModelError
from jacprobe.linop import LinearOperator
from jacprobe.probe.operators import GraphJacobian
from jacprobe.probe.trace import Trace

_COLUMNS = 2
_TELLING = 0.01  # of the largest norm: the relative error of a Jacobian that vanishes says nothing about the others
_SAFETY = 6  # norms of random products scatter: even an error of rank one is underrated in one case of forty


class Rounding(NamedTuple):
    """Bound on the Frobenius norm of the error of a Jacobian: relative to that of the Jacobian, or absolute."""

    relative: float
    absolute: float

    def floor(self, norm: float) -> float:
        """Return the bound for Jacobians of Frobenius norm up to `norm`; no singular value errs by more (Weyl).

        Where the norm is not known, NaN, the bound is that of the measured inputs.
        """
        return self.absolute if math.isnan(norm) else max(self.relative * norm, self.absolute)


def rounding_of(operator: LinearOperator, generic: GraphJacobian, trace: Trace, other: Trace | None) -> Rounding:
    """Measure the error of a Jacobian on some inputs.

    Products of random vectors with the error matrix have its Frobenius norm in the root mean square. The reference is
    the model in float64. Errors of a float64 model are those of float32 scaled by the ratio of the units. A model that
    does not run in both throughout gets an a-priori bound from the size of its graph.

    Parameters
    ----------
    operator, generic, trace
        The Jacobian as it is used, the same from the graph alone, and the trace of both.
    other
        Trace of the same inputs in the other precision: float64, or float32 where the model is in float64.
    """
    unit = max(torch.finfo(dtype).eps for dtype in trace.dtypes)
    if other is None:
        relative = _SAFETY * unit * len(trace.graph.order) ** 0.5 * 16
        return Rounding(relative, relative * float(_norms(_pulled(generic, generic)).max()))
    error, exact = _errors(operator, generic, _same_sites(generic, other))
    least = max(torch.finfo(torch.float64).tiny, _TELLING * float(exact.max()))
    relative = torch.where(error > 0, error / exact.clamp(min=least), 0).clamp(min=2 * unit)
    resolved = exact > 0
    return Rounding(_SAFETY * float(torch.where(resolved, relative, 2 * unit).max()), _SAFETY * float(error.max()))


def noise(jacobian: GraphJacobian, dtype: torch.dtype) -> Tensor:
    """Return random columns, (num_inputs, out_dim, 2), the same in every precision.

    Normal of variance 1/2, so that a product with a matrix has its Frobenius norm in the root mean square.
    """
    num_inputs, out_dim, _ = jacobian.shape
    generator = torch.Generator().manual_seed(0)
    columns = torch.randn(num_inputs, out_dim, _COLUMNS, generator=generator, dtype=torch.float32) / _COLUMNS**0.5
    return columns.to(dtype=dtype, device=jacobian.device)


def _errors(operator: LinearOperator, generic: GraphJacobian, other: GraphJacobian) -> tuple[Tensor, Tensor]:
    """Return the norms of the error's and of the exact products with random vectors, (num_inputs,) each, on the CPU."""

    computed = _pulled(operator, generic)
    if other.dtype == torch.float64:
        exact = _pulled(other, generic)
        error = _norms(computed - exact)
    else:
        exact = _pulled(generic, generic)
        ratio = torch.finfo(operator.dtype).eps / torch.finfo(other.dtype).eps
        error = _norms(computed - exact) + ratio * _norms(_pulled(other, generic) - exact)
    return error, _norms(exact)


def _pulled(jacobian: LinearOperator, generic: GraphJacobian) -> Tensor:
    """Products of the transpose with random columns that are those of `generic`, float64 (num_inputs, in_dim, 2)."""
    return jacobian.rmatmat(noise(generic, jacobian.dtype)).double()


def _norms(products: Tensor) -> Tensor:
    return products.norm(dim=(1, 2)).cpu()


def _same_sites(generic: GraphJacobian, other: Trace) -> GraphJacobian:
    for site in (generic.source, generic.target):
        if site.name not in other.sites:
            raise ModelError(f"`model` must run alike in every precision; site {site.name!r} is missing in another."
                             " Remove what its forward decides by dtype.")
    return GraphJacobian(other.site(generic.source.name), other.site(generic.target.name), generic.shape[0])
