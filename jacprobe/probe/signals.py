"""What travels through the sites: how alike the activations of two inputs are, units that never vary, gradients."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from jacprobe.probe.segments import Segment
from jacprobe.probe.trace import Trace

_SMALL = 1e-12  # length from which on its square is safe in float32


class Signals:
    """Statistics of the activations and gradients at some sites, gathered chunk by chunk of inputs."""

    def __init__(self):
        self._directions: dict[str, Tensor] = {}  # sum over inputs of the unit vectors
        self._num_nonzero: dict[str, int] = {}  # inputs whose activations are not all zero, and have a direction
        self._first: dict[str, Tensor] = {}  # activation of the first input
        self._varies: dict[str, Tensor] = {}  # units that differ between inputs
        self._num_inputs = 0
        self._gradients: dict[str, float] = {}
        self._pending: dict[str, tuple[Tensor, int, Tensor]] = {}

    def watch(self, sites: Iterable[str], num_inputs: int) -> None:
        """Look at these sites during the next forward pass, at its first `num_inputs` samples."""
        self._watched, self._seen, self._pending = set(sites), num_inputs, {}

    def observe(self, name: str, tensor: Tensor) -> None:
        """Take note of the activation (batch, ...) of a site."""
        if name not in self._watched or name in self._pending or tensor.ndim < 2 or tensor.dtype.is_complex:
            return
        flat = tensor.detach()[: self._seen].flatten(1)
        first = self._first.setdefault(name, flat[0].clone())
        self._pending[name] = *_directions(flat), (flat != first).any(0)

    def keep(self) -> None:
        """Count what was observed since ``watch``: the chunk is whole."""
        for name, (direction, num_nonzero, varies) in self._pending.items():
            self._directions[name] = self._directions.get(name, 0) + direction
            self._num_nonzero[name] = self._num_nonzero.get(name, 0) + num_nonzero
            self._varies[name] = self._varies.get(name, False) | varies
        self._num_inputs += self._seen
        self._pending = {}

    def pull(self, traced: Trace, sites: Iterable[str]) -> None:
        """Send one random gradient per input back from the output, and note its size at the sites."""
        output = traced.site("output")
        edges = {name: traced.site(name).edge for name in sites}
        generator = torch.Generator().manual_seed(0)
        cotangent = torch.randn(output.shape, generator=generator, dtype=torch.float64)
        device = output.edge.node._input_metadata[output.edge.output_nr].device
        cotangent = cotangent.to(dtype=output.dtype, device=device)
        upstream = {name: edge for name, edge in edges.items() if not _same(edge, output.edge)}
        pulled = torch.autograd.grad([output.edge], list(upstream.values()), [cotangent], retain_graph=True,
                                     allow_unused=True) if upstream else ()
        found = dict(zip(upstream, pulled, strict=True)) | dict.fromkeys(edges.keys() - upstream.keys(), cotangent)
        self._gradients = {name: float(g.double().norm()) for name, g in found.items() if g is not None}

    def fields(self, segment: Segment) -> dict[str, float]:
        """Return gradient_ratio, dead_units, cosine_in and cosine_out of a segment, NaN where unknown."""
        before, after = (self._gradients.get(name, math.nan) for name in (segment.source, segment.target))
        varies = self._varies.get(segment.target)
        known = varies is not None and self._num_inputs > 1
        return {
            "gradient_ratio": before / after if after > 0 else math.nan,
            "dead_units": 1 - float(varies.double().mean()) if known else math.nan,
            "cosine_in": self._cosine(segment.source),
            "cosine_out": self._cosine(segment.target),
        }

    def _cosine(self, name: str) -> float:
        """Mean over all pairs of inputs; the square of the sum of n unit vectors is n plus twice the sum over pairs.

        Inputs whose activations are all zero have no direction and are in no pair.
        """
        n = self._num_nonzero.get(name, 0)
        if n < 2:
            return math.nan
        return (float(self._directions[name].square().sum()) - n) / (n * (n - 1))


def _directions(rows: Tensor) -> tuple[Tensor, int]:
    """Return the sum of the unit vectors along the rows, float64, and the number of rows that are not zero."""
    lengths = torch.linalg.vector_norm(rows, dim=1)
    if not bool(((lengths > _SMALL) & (lengths < 1 / _SMALL)).all()):  # squares may leave the range of float32
        rows = rows.double()
        rows = rows / rows.abs().amax(1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
        lengths = torch.linalg.vector_norm(rows, dim=1)
    inverse = torch.where(lengths == 0, 0, 1 / lengths)
    return (inverse @ rows).double(), int((lengths > 0).sum())


def _same(one: GradientEdge, other: GradientEdge) -> bool:
    return one.node is other.node and one.output_nr == other.output_nr
