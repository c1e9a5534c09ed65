"""A look at a few samples before the long work: what each segment is, what it costs, and what cannot be probed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from jacprobe.linop import Product
from jacprobe.probe.checks import mixing_error
from jacprobe.probe.factors import Factorizer, agree
from jacprobe.probe.operators import GraphJacobian
from jacprobe.probe.rounding import noise
from jacprobe.probe.segments import Segment
from jacprobe.probe.trace import Site, Trace

NUM_SAMPLES = 3


@dataclass(frozen=True)
class Survey:
    """What a look at a few samples told of one segment.

    Attributes
    ----------
    out_dim, in_dim
        Shape of the Jacobian; None where its sites are no vectors.
    product
        The structured product of the samples, where there is one that agrees with the model.
    shared
        Whether the Jacobian is the same for every input by construction, not only for the samples.
    disagrees
        Whether a structured product was found that is not the model's Jacobian.
    operations
        Floating-point operations of one backward pass of one sample through the segment.
    generic
        The Jacobian of the samples by autograd.
    reason
        Why there can be no Jacobian per input, else None.
    """

    segment: Segment
    out_dim: int | None = None
    in_dim: int | None = None
    product: Product | None = None
    shared: bool = False
    disagrees: bool = False
    operations: float = 0.0
    generic: GraphJacobian | None = None
    reason: str | None = None

    @property
    def itemsize(self) -> int:
        return self.generic.dtype.itemsize

    @property
    def multiplies(self) -> bool:
        """Whether products with the Jacobian itself are possible, not only with its transpose."""
        return self.product is not None or self.generic.is_differentiable_twice


def survey(segment: Segment, trace: Trace, fewer: Trace, factorizer: Factorizer) -> Survey:
    """Look at one segment on the traces of ``NUM_SAMPLES`` samples and of `fewer` samples.

    Raises
    ------
    ModelError
        The whole model mixes samples.
    """
    source, target = trace.site(segment.source), trace.site(segment.target)
    reason = unfit(source, fewer) or unfit(target, fewer)
    if reason:
        return Survey(segment, reason=reason)
    generic = GraphJacobian(source, target, source.shape[0])
    with OperationCount() as counter:
        mixed = mixes(generic)
    if mixed:
        if (segment.source, segment.target) == ("input", "output"):
            raise mixing_error()
        reason = f"samples mix between {segment.source!r} and {segment.target!r}"
        return Survey(segment, target.dim, source.dim, reason=reason)
    product = factorizer.product(source, target)
    agrees = product is not None and agree(product, generic)
    shared = agrees and product.shape[0] == 1 and factorizer.is_shared(source, target)
    operations = counter.total / (2 * source.shape[0])
    return Survey(segment, target.dim, source.dim, product if agrees else None, shared,
                  product is not None and not agrees, operations, generic)


class OperationCount(TorchDispatchMode):
    """Count by the formulas of torch; its own counter loads the compiler and takes longer than small networks do."""

    total = 0

    @classmethod
    def _should_skip_dynamo(cls):
        return False

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        found = function(*args, **kwargs)
        formula = flop_registry.get(getattr(function, "_overloadpacket", None))  # higher-order operators have none
        if formula is not None:
            self.total += formula(*args, **kwargs, out_val=found)
        return found


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
    columns = noise(jacobian, jacobian.dtype)[:, :, :1]
    on_first, on_others = columns.clone(), columns.clone()
    on_first[1:] = 0
    on_others[0] = 0
    reached = [*jacobian.rmatmat(on_first)[1:], jacobian.rmatmat(on_others)[0]]
    return any(bool((pulled.nan_to_num(nan=0.0) != 0).any()) for pulled in reached)


def stack_samples(inputs: Tensor, count: int = NUM_SAMPLES) -> Tensor:
    """Return `count` samples, evenly spread, repeating from the start where there are fewer."""
    if inputs.shape[0] < count:
        return inputs[torch.arange(count) % inputs.shape[0]]
    return inputs[torch.linspace(0, inputs.shape[0] - 1, count).long()]
