"""A segment as a product of structured factors, where the network between two sites is known well enough."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, Node

from jacprobe.linop import Convolution, Diagonal, LinearOperator, Matrix, Product, Sum
from jacprobe.probe.graph import PathGraph, edge_key
from jacprobe.probe.operators import GraphJacobian
from jacprobe.probe.pooling import average_pooling, max_pooling
from jacprobe.probe.trace import Call, Site, Trace

Key = tuple[Node, int]


class Factorizer:
    """Finds the structured product of segments of one trace; factors that segments share are made once.

    Weighted modules give matrices and convolutions, pooling gives selections and averages, the end of a residual block
    a sum of products, and what acts on each entry by itself, such as activations and batch norm in evaluation mode,
    the diagonal of its derivatives.
    """

    def __init__(self, trace: Trace, num_inputs: int, affine: Callable[[Call], Matrix | Convolution | None]):
        self._trace, self.num_inputs, self._affine = trace, num_inputs, affine
        self._calls = {}
        for call in trace.calls:
            if len(call.inputs) == 1 and call.output is not None:
                self._calls.setdefault(edge_key(call.inputs[0].edge), []).append(call)
        self._operations: dict[tuple[Key, Key], LinearOperator | None] = {}
        self._diagonals: dict[tuple[Key, Key], list[LinearOperator] | None] = {}

    def product(self, source: Site, target: Site) -> Product | None:
        """Return the product of factors from `source` to `target`, or None where a part is not understood.

        Whether it is the Jacobian of the real model is for ``agree`` to say.
        """
        graph = PathGraph(source.edge, target.edge)
        factors = self._chain(graph)
        if factors is None or len({factor.dtype for factor in factors}) > 1:
            return None
        return Product(factors or [self._identity(edge_key(source.edge))])

    def _chain(self, graph: PathGraph) -> list[LinearOperator] | None:
        """Factors between the ends of `graph`, the last acts first, without identities."""
        cuts = graph.cuts
        positions = {cut: i for i, cut in enumerate(cuts)}
        factors: list[LinearOperator] = []
        here = begin = 0  # from `begin` on, nothing but single operations
        while here < len(cuts) - 1:
            factor, following = self._module(cuts[here], positions)
            if factor is None:
                factor, following = self._operation(graph, cuts[here], cuts[here + 1]), here + 1
            if factor is None and _is_step(graph, cuts[here], cuts[here + 1]):
                here += 1
                continue
            before = self._elementwise(cuts[begin], cuts[here])
            if factor is None or before is None:
                return None
            factors = [factor, *before, *factors]
            here = begin = following
        rest = self._elementwise(cuts[begin], cuts[here]) if cuts else None
        return None if rest is None else [*rest, *factors]

    def _module(self, cut: Key, positions: dict[Key, int]) -> tuple[LinearOperator | None, int]:
        """The factor of an affine module that starts at `cut` and ends at another, and where."""
        for call in self._calls.get(cut, ()):
            end = positions.get(edge_key(call.output.edge), -1)
            factor = self._affine(call) if end > positions[cut] else None
            if factor is not None:
                return factor, end
        return None, -1

    def _operation(self, graph: PathGraph, begin: Key, end: Key) -> LinearOperator | None:
        """The factor of pooling, or of the sum that ends a block of branches; None where it is neither."""
        if (begin, end) not in self._operations:
            found = None
            if _is_step(graph, begin, end):
                found = max_pooling(end, _shape(begin), _shape(end), self.num_inputs)
                found = found or average_pooling(end, _shape(begin), _shape(end), _metadata(end).dtype, self._device)
            elif end[0].name().startswith(("AddBackward", "SubBackward")):
                found = self._sum(graph, begin, end)
            self._operations[begin, end] = found
        return self._operations[begin, end]

    def _sum(self, graph: PathGraph, begin: Key, end: Key) -> LinearOperator | None:
        node, terms = end[0], []
        for position, child in enumerate(node.next_functions):
            if child[0] not in graph.order:
                continue
            if _shape(child) != _shape(end):
                return None
            inner = PathGraph(GradientEdge(*begin), GradientEdge(*child))
            factors = self._chain(inner) if inner.cuts else None
            if factors is None:
                return None
            scale = getattr(node, "_saved_alpha", 1) if position else 1
            if position and node.name().startswith("SubBackward"):
                scale = -scale
            if scale != 1 or not factors:
                factors = [Diagonal(scale * self._identity(begin if not factors else child).entries), *factors]
            terms.append(Product(factors))
        return Sum(terms) if len(terms) > 1 else None

    def _elementwise(self, begin: Key, end: Key) -> list[LinearOperator] | None:
        """No factor for the identity, one diagonal for a part that acts on each entry by itself, None for another.

        The derivative of such a part is its vector-Jacobian product with ones, and any other product tells whether it
        is one.
        """
        if begin == end:
            return []
        if (begin, end) not in self._diagonals:
            self._diagonals[begin, end] = self._derivative(_site(begin), _site(end))
        return self._diagonals[begin, end]

    def _derivative(self, source: Site, target: Site) -> list[LinearOperator] | None:
        if source.dim != target.dim or source.shape[:1] != target.shape[:1]:
            return None
        jacobian = GraphJacobian(source, target, self.num_inputs)
        ones = torch.ones(target.shape, dtype=target.dtype, device=jacobian.device)
        marks = torch.linspace(1, 2, target.dim, dtype=target.dtype, device=jacobian.device).expand(len(ones), -1)
        entries, marked = (jacobian.vjp(c.reshape(target.shape)).reshape(-1, source.dim)[: self.num_inputs]
                           for c in (ones, marks))
        error = (marked - entries * marks[:1]).abs()
        if not bool((error <= 8 * torch.finfo(entries.dtype).eps * entries.abs()).all()):
            return None
        constant = bool((entries == entries[:1]).all())
        entries = entries[:1] if constant else entries
        return [] if constant and bool((entries == 1).all()) else [Diagonal(entries)]

    def _identity(self, key: Key) -> Diagonal:
        site = _site(key)
        return Diagonal(torch.ones(1, site.dim, dtype=site.dtype, device=self._device))

    @property
    def _device(self) -> torch.device:
        edge = self._trace.site("input").edge
        return edge.node._input_metadata[edge.output_nr].device


def agree(product: Product, generic: GraphJacobian) -> bool:
    """Compare with one random vector-Jacobian product of the real model: unequal maps differ there almost surely."""
    num_inputs, out_dim, in_dim = generic.shape
    generator = torch.Generator().manual_seed(0)
    block = torch.randn(num_inputs, out_dim, 1, generator=generator, dtype=torch.float64)
    block = block.to(dtype=generic.dtype, device=generic.device)
    expected = generic.rmatmat(block)
    error = (product.rmatmat(block) - expected).norm(dim=1)
    tolerance = torch.finfo(generic.dtype).eps * 16 * max(out_dim, in_dim) ** 0.5
    return bool((error <= tolerance * expected.norm(dim=1)).all())


def _is_step(graph: PathGraph, begin: Key, end: Key) -> bool:
    """Whether one operation leads from one cut to the next."""
    return graph.order[end[0]] == graph.order[begin[0]] + 1 and sum(
        child in graph.order for child, _ in end[0].next_functions) == 1


def _metadata(key: Key):
    node, output_nr = key
    return node._input_metadata[output_nr]


def _shape(key: Key) -> tuple[int, ...]:
    return tuple(_metadata(key).shape)


def _site(key: Key) -> Site:
    return Site("", GradientEdge(*key), _shape(key), _metadata(key).dtype)
