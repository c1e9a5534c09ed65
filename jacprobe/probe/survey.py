"""A look at a few samples before the long work: what each segment costs, and what cannot be probed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from jacprobe.probe.checks import mixing_error
from jacprobe.probe.factors import Factorizer
from jacprobe.probe.operators import GraphJacobian
from jacprobe.probe.rounding import noise
from jacprobe.probe.segments import Segment
from jacprobe.probe.solve import solve_size
from jacprobe.probe.trace import Site, Trace

NUM_SAMPLES = 4


@dataclass(frozen=True)
class Plan:
    """A segment with what the survey found: shape of its Jacobian and of what is solved, and how; or why not."""

    segment: Segment
    out_dim: int | None = None
    in_dim: int | None = None
    solved: tuple[int, int] = (0, 0)
    method: str = "autograd"
    reason: str | None = None


def plan(segment: Segment, trace: Trace, fewer: Trace, factorizer: Factorizer, refusal: Callable) -> Plan:
    """Survey one segment on the traces of ``NUM_SAMPLES`` samples and of `fewer` samples.

    `refusal` says of a number of rows and columns why it does not fit the budget.

    Raises
    ------
    ModelError
        The whole model mixes samples.
    """
    source, target = trace.site(segment.source), trace.site(segment.target)
    reason = unfit(source, fewer) or unfit(target, fewer)
    if reason:
        return Plan(segment, reason=reason)
    rank = min(target.dim, source.dim)
    if refusal(rank, rank, shared=True):  # no structure could help: spare the look at it
        return Plan(segment, target.dim, source.dim, reason=refusal(target.dim, source.dim, shared=False))
    if mixes(GraphJacobian(source, target, source.shape[0])):
        if (segment.source, segment.target) == ("input", "output"):
            raise mixing_error()
        reason = f"samples mix between {segment.source!r} and {segment.target!r}"
        return Plan(segment, target.dim, source.dim, reason=reason)
    operator, method = factorizer.operator(source, target)
    solved = solve_size(operator)
    reason = refusal(*solved, shared=operator.shape[0] == 1)
    return Plan(segment, target.dim, source.dim, solved, method, reason)


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
    columns = noise(jacobian, jacobian.dtype)
    on_first, on_others = columns.clone(), columns.clone()
    on_first[1:] = 0
    on_others[0] = 0
    reached = [*jacobian.rmatmat(on_first)[1:], jacobian.rmatmat(on_others)[0]]
    return any(bool((pulled.nan_to_num(nan=0.0) != 0).any()) for pulled in reached)


def stack_samples(inputs: Tensor) -> Tensor:
    """Return ``NUM_SAMPLES`` samples, evenly spread, repeating from the start where there are fewer."""
    if inputs.shape[0] < NUM_SAMPLES:
        return inputs[torch.arange(NUM_SAMPLES) % inputs.shape[0]]
    return inputs[torch.linspace(0, inputs.shape[0] - 1, NUM_SAMPLES).long()]
