"""Patterns of dependence: what of a tensor depends on the input, and the arguments of one operation as such.

Every tensor is replaced by its pattern, 1 where it may be other than 0 and 0 elsewhere, and every operation by one
that is linear with weights 0 or 1 (or positive), so that neither forward nor backward anything can cancel. An entry of
an output is then positive exactly where a path leads to it, and so is a gradient. Patterns are set back to 0 and 1
behind every operation, in both directions, so that no depth under- or overflows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, fx
from torch.utils._pytree import tree_flatten

from jacprobe.pruning.operations import SUMS, operation_name


@dataclass(frozen=True)
class Flow:
    """A pattern that stands for a tensor: of a signal, which depends on the input, or of coefficients from `sources`.

    A plain tensor or number in its place is a constant. The `level` of a signal, where one is known, is 0 where its
    value is zero whatever the input, -inf where that is minus infinity, and 1 elsewhere.
    """

    pattern: Tensor
    is_signal: bool
    sources: frozenset[str] = frozenset()
    level: Tensor | None = None

    @property
    def support(self) -> Tensor:
        """1 where the value of a signal may be other than 0."""
        ones = torch.ones_like(self.pattern)
        return ones if self.level is None else ones.masked_fill(self.level == 0, 0)


class _Gate(torch.autograd.Function):
    """Set values over a threshold to 1 and others to 0, forward, backward, or both (None leaves as it is)."""

    @staticmethod
    def forward(ctx, pattern: Tensor, ahead: float | None, back: float | None) -> Tensor:
        ctx.back = back
        return pattern.clone() if ahead is None else (pattern > ahead).to(pattern.dtype)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple:
        return (gradient if ctx.back is None else (gradient > ctx.back).to(gradient.dtype)), None, None


class Call:
    """One operation of the graph with the patterns of its arguments.

    Parameters
    ----------
    node
        The operation.
    values
        Value of every earlier node: a Flow, a constant, or a tuple of these.
    alive
        Whether constants count as sources of a path.
    """

    def __init__(self, node: fx.Node, values: dict[fx.Node, object], *, alive: bool):
        self.node, self.op, self.values, self.alive = node, node.target, values, alive
        self.name = operation_name(node)
        self.threshold = 0.5 if self.name in SUMS else 0.0  # sums of whole numbers; fast kernels may be off by some eps
        self.args = fx.node.map_arg(node.args, lambda n: self._entered(values[n]))
        self.kwargs = fx.node.map_arg(node.kwargs, lambda n: self._entered(values[n]))
        self.macs: dict[str, int] = {}

    def _entered(self, value: object) -> object:
        if isinstance(value, Flow):
            return replace(value, pattern=_Gate.apply(value.pattern, None, self.threshold))
        return value

    @property
    def flows(self) -> list[Flow]:
        leaves, _ = tree_flatten((self.args, self.kwargs))
        return [leaf for leaf in leaves if isinstance(leaf, Flow)]

    @property
    def is_signal(self) -> bool:
        return any(flow.is_signal for flow in self.flows)

    @property
    def shape(self) -> torch.Size:
        """Shape of the (first) output."""
        outputs = self.node.meta["val"]
        return (outputs[0] if isinstance(outputs, (tuple, list)) else outputs).shape

    @property
    def has_moving_places(self) -> bool:
        """Whether indices behind the first argument depend on the input."""
        nodes = [leaf for leaf in tree_flatten(self.node.args[1:])[0] if isinstance(leaf, fx.Node)]
        return any(isinstance(self.values[node], Flow) and not node.meta["val"].is_floating_point() for node in nodes)

    @property
    def device(self) -> torch.device:
        outputs = self.node.meta["val"]
        return (outputs[0] if isinstance(outputs, (tuple, list)) else outputs).device

    def argument(self, position: int, default: object = None) -> object:
        """Return a positional argument, which the graph leaves out where it has the operation's `default`."""
        return self.args[position] if len(self.args) > position else default

    def result(self, pattern: Tensor, level: Tensor | None = None) -> Flow:
        """Return the output with that pattern, which holds nothing where its `level` fixes the value."""
        pattern = pattern if level is None else pattern * (level == 1)
        sources = frozenset().union(*(flow.sources for flow in self.flows))
        sources = frozenset() if self.is_signal else sources
        return Flow(_Gate.apply(pattern, self.threshold, 0.0), self.is_signal, sources, level)

    def factor(self, value: object) -> Tensor | float:
        """Pattern of what multiplies."""
        if isinstance(value, Flow):
            return value.pattern
        return (value != 0).to(self.flows[0].pattern.dtype) if isinstance(value, Tensor) else float(value != 0)

    def summand(self, value: object) -> Tensor:
        """Pattern of what adds: in a signal, a constant is no part of it unless constants are alive."""
        pattern = torch.as_tensor(self.factor(value), device=self.flows[0].pattern.device)
        is_part = not self.is_signal or self.alive or (isinstance(value, Flow) and value.is_signal)
        return pattern if is_part else torch.zeros_like(pattern)

    def total(self, values: list[object]) -> Tensor:
        """Sum of what adds, broadcast to the shape of the output; parameters that shift a signal get its gradient."""
        values = [value for value in values if isinstance(value, (Flow, Tensor))]
        total = torch.zeros(self.shape, dtype=self.flows[0].pattern.dtype, device=self.flows[0].pattern.device)
        for value in values:
            total = total + self.summand(value)
        for value in values:
            if isinstance(value, Flow) and not value.is_signal:
                total = self.shifted(total, value.pattern)
        return total

    def shifted(self, total: Tensor, bias: Tensor) -> Tensor:
        """Add a bias: it counts where a signal arrives, for a bias on its own is a constant."""
        if not self.is_signal or self.alive:
            return total + bias
        return total + bias * (total > self.threshold).to(total.dtype).detach()

    def use(self, weight: object, count: int) -> None:
        """Note that each entry of `weight` multiplies `count` times."""
        for source in weight.sources if isinstance(weight, Flow) else ():
            num_kept = int(weight.pattern.detach().double().sum())
            self.macs[source] = self.macs.get(source, 0) + count * num_kept
