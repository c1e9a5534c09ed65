"""A look at a few samples before the long work: segments, their cost and rounding error, and what cannot be probed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from jacprobe.errors import ModelError
from jacprobe.linop import LinearOperator, Product
from jacprobe.probe.checks import mixing_error
from jacprobe.probe.factors import Factorizer
from jacprobe.probe.operators import GraphJacobian
from jacprobe.probe.segments import Segment
from jacprobe.probe.solve import solve_size
from jacprobe.probe.trace import Site, Trace

NUM_SAMPLES = 4
_SAFETY = 4  # a few probes see the typical input, not the worst


@dataclass(frozen=True)
class Plan:
    """A segment with what the survey found.

    The shape of its Jacobian and of what is solved, and its rounding error (Frobenius norm): relative and absolute.
    """

    segment: Segment
    out_dim: int
    in_dim: int
    solved: tuple[int, int]
    structured: bool
    shared: bool
    rounding: float
    error: float
    reason: str | None = None


def plan(
    segment: Segment, trace: Trace, fewer: Trace, factorizer: Factorizer, traces: dict[torch.dtype, Trace]
) -> Plan:
    """Survey one segment on the traces of ``NUM_SAMPLES`` samples, one per precision, and one of `fewer` samples.

    Raises
    ------
    ModelError
        The whole model mixes samples.
    """
    source, target = trace.site(segment.source), trace.site(segment.target)
    reason = unfit(source, fewer) or unfit(target, fewer)
    if reason:
        return Plan(segment, 0, 0, (0, 0), False, False, 0.0, 0.0, reason)
    if mixes(GraphJacobian(source, target, source.shape[0])):
        if (segment.source, segment.target) == ("input", "output"):
            raise mixing_error()
        reason = f"samples mix between {segment.source!r} and {segment.target!r}"
        return Plan(segment, target.dim, source.dim, (0, 0), False, False, 0.0, 0.0, reason)
    operator = factorizer.operator(source, target)
    return Plan(
        segment,
        target.dim,
        source.dim,
        solve_size(operator),
        isinstance(operator, Product),
        operator.shape[0] == 1,
        *(_SAFETY * error for error in rounding(operator, segment, trace, traces)),
    )


def unfit(site: Site, fewer: Trace) -> str | None:
    """Return why `site` is not one real vector per sample, seen from a trace of another number of samples, or None."""
    other, samples = fewer.sites.get(site.name), fewer.site("input").shape[0]
    if other is None or other.shape != (samples, *site.shape[1:]) or site.shape == other.shape:
        return f"site {site.name!r} of shape {site.shape} does not have the batch dimension first"
    return f"site {site.name!r} holds complex numbers" if site.dtype.is_complex else None


def mixes(jacobian: GraphJacobian) -> bool:
    """Whether a cotangent on the first sample reaches the gradient of another, or the other way round.

    Exactly zero where it does not; NaN says that the derivative is not finite, not that samples mix.
    """
    on_first, on_others = _noise(jacobian.target, jacobian), _noise(jacobian.target, jacobian)
    on_first[1:] = 0
    on_others[0] = 0
    reached = [*jacobian.vjp(on_first)[1:], jacobian.vjp(on_others)[0]]
    return any(bool((pulled.nan_to_num(nan=0.0) != 0).any()) for pulled in reached)


def rounding(
    operator: LinearOperator, segment: Segment, trace: Trace, traces: dict[torch.dtype, Trace]
) -> tuple[float, float]:
    """Estimate the relative and the absolute error of the Jacobian in its working precision, in the Frobenius norm.

    A product of a random vector with the error matrix has its Frobenius norm on average; singular values err by no more
    than that (Weyl). The reference is the model in float64. Errors of a float64 model are those of float32 scaled by
    the ratio of the units. A model that does not run in float64 throughout gets an a-priori bound from the size of its
    graph.
    """
    working = operator.dtype
    eps = max(torch.finfo(dtype).eps for dtype in trace.dtypes)
    if torch.float64 not in traces:
        return eps * len(trace.graph.order) ** 0.5 * 16, 0.0

    def pulled(dtype: torch.dtype) -> Tensor:
        sites = [_same(traces[dtype], trace, name) for name in (segment.source, segment.target)]
        jacobian = GraphJacobian(*sites, sites[0].shape[0])
        return jacobian.rmatmat(_noise(sites[1], jacobian).flatten(1).unsqueeze(2)).double()

    exact = pulled(torch.float64)
    block = _noise(trace.site(segment.target), operator).flatten(1).unsqueeze(2)
    error = (operator.rmatmat(block).double() - exact).norm(dim=1)
    if working == torch.float64:
        error = error + (pulled(torch.float32) - exact).norm(dim=1) * (eps / torch.finfo(torch.float32).eps)
    relative = torch.where(error > 0, error / exact.norm(dim=1).clamp(min=torch.finfo(torch.float64).tiny), 0)
    return max(float(relative.max()), 2 * eps), float(error.max())


def _same(other: Trace, trace: Trace, name: str) -> Site:
    if name not in other.sites:
        raise ModelError(f"`model` must run alike in every precision; site {name!r} is missing in float64."
                         " Use accuracy='standard' in the model's own precision.")
    return other.site(name)


def _noise(site: Site, operator: LinearOperator) -> Tensor:
    """The same standard normal vectors for every precision; the first copy of the batch counts."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(site.shape, generator=generator, dtype=torch.float32)
    return noise.to(dtype=operator.dtype, device=operator.device)


def stack_samples(inputs: Tensor) -> Tensor:
    """Return ``NUM_SAMPLES`` samples, evenly spread, repeating from the start where there are fewer."""
    if inputs.shape[0] < NUM_SAMPLES:
        return inputs[torch.arange(NUM_SAMPLES) % inputs.shape[0]]
    return inputs[torch.linspace(0, inputs.shape[0] - 1, NUM_SAMPLES).long()]
