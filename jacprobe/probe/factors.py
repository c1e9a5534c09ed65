"""A segment as a product of structured factors, where the network between two sites is known well enough."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, Node

from jacprobe.linop import Convolution, Diagonal, LinearOperator, Matrix, Product, Selection, Sum
from jacprobe.probe.graph import PathGraph, edge_key
from jacprobe.probe.linear import is_linear, is_reshape
from jacprobe.probe.operators import GraphJacobian
from jacprobe.probe.pooling import average_pooling, max_pooling
from jacprobe.probe.trace import Call, Site, Trace

Key = tuple[Node, int]

_NOISE = 8  # units of rounding, next to the largest entry of a diagonal, in entries whose terms cancel
_SLICE = 2**18  # entries that are compared at a time, so that they stay in the cache
_SUMS = ("AddBackward0", "SubBackward0")  # exactly: a Function of the user's may begin like them


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
        self._simple: dict[tuple[Key, Key], list[LinearOperator] | None] = {}

    def product(self, source: Site, target: Site) -> Product | None:
        """Return the product of factors from `source` to `target`, or None where a part is not understood.

        Every part is read from the graph or tried out on every input; that the modules are what they seem to be is for
        ``agree`` to say, once for all inputs.
        """
        graph = PathGraph(source.edge, target.edge)
        factors = self._chain(graph)
        if factors is None or len({factor.dtype for factor in factors}) > 1:
            return None
        return Product(factors or [self._identity(edge_key(source.edge))])

    def is_shared(self, source: Site, target: Site) -> bool:
        """Whether no input can have another Jacobian: modules and operations that are linear by construction alone."""
        graph = PathGraph(source.edge, target.edge)
        positions = {cut: i for i, cut in enumerate(graph.cuts)}
        here = 0
        while here < len(graph.cuts) - 1:
            factor, following = self._module(graph.cuts[here], positions)
            following = here + 1 if factor is None else following
            ends = (GradientEdge(*graph.cuts[i]) for i in (here, following))
            if factor is None and not is_linear(PathGraph(*ends)):
                return False
            here = following
        return bool(graph.cuts)

    def _chain(self, graph: PathGraph) -> list[LinearOperator] | None:
        """Factors between the ends of `graph`, the last acts first, without identities."""
        cuts = graph.cuts
        positions = {cut: i for i, cut in enumerate(cuts)}
        factors: list[LinearOperator] = []
        here = begin = 0  # from `begin` on, nothing that has a factor of its own
        while here < len(cuts) - 1:
            factor, following = self._module(cuts[here], positions)
            if factor is None:
                factor, following = self._operation(graph, cuts[here], cuts[here + 1]), here + 1
            if factor is None:
                here += 1
                continue
            before = self._between(cuts[begin], cuts[here])
            if before is None:
                return None
            factors = [factor, *before, *factors]
            here = begin = following
        rest = self._between(cuts[begin], cuts[here]) if cuts else None
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
            elif end[0].name() in _SUMS:
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
                factors = [Diagonal(scale * self._identity(child).entries), *factors]
            terms.append(Product(factors))
        if all(isinstance(factor, Diagonal) for term in terms for factor in term.factors):
            return Diagonal(sum(torch.stack([f.entries.expand(term.shape[0], -1) for f in term.factors]).prod(0)
                                for term in terms))
        return Sum(terms) if len(terms) > 1 else None

    def _between(self, begin: Key, end: Key) -> list[LinearOperator] | None:
        """Factors of operations between modules: no factor for the identity, None for what is not understood."""
        if begin == end:
            return []
        if (begin, end) not in self._simple:
            source, target = _site(begin), _site(end)
            found = None
            if source.shape[:1] == target.shape[:1]:
                reshapes = is_reshape(PathGraph(source.edge, target.edge))
                found = [] if reshapes else _entrywise(GraphJacobian(source, target, self.num_inputs))
            self._simple[begin, end] = found
        return self._simple[begin, end]

    def _identity(self, key: Key) -> Diagonal:
        site = _site(key)
        return Diagonal(torch.ones(1, site.dim, dtype=site.dtype, device=self._device))

    @property
    def _device(self) -> torch.device:
        edge = self._trace.site("input").edge
        return edge.node._input_metadata[edge.output_nr].device


def _entrywise(jacobian: GraphJacobian) -> list[LinearOperator] | None:
    """Return the factors of a part by which every entry goes to one other at most, nothing for the identity, else None.

    Products of the transpose with ones and with random marks tell it for every input: if column j of A holds more than
    its entry a at k, the sum over i of a_ij m_i is almost surely not a m_k.
    """
    marks = 1 + torch.rand(jacobian.shape[1], generator=torch.Generator().manual_seed(0))
    marks = marks.to(dtype=jacobian.dtype, device=jacobian.device)
    sums, marked = _pulled(jacobian, torch.ones_like(marks)), _pulled(jacobian, marks)
    if jacobian.shape[1] == jacobian.shape[2] and _is_scaled(sums, marks, marked):
        constant = all(bool((part == sums[:1]).all()) for part in (sums[:2], sums))
        entries = sums[:1] if constant else sums
        return [] if constant and bool((entries == 1).all()) else [Diagonal(entries)]
    return _moved(jacobian, sums, marks, marked)


def _is_scaled(entries: Tensor, marks: Tensor, marked: Tensor) -> bool:
    """Whether `marked` is `entries` times `marks` but for rounding, in terms that may cancel, as those of softsign."""
    unit = torch.finfo(entries.dtype).eps
    few = max(1, _SLICE // entries.shape[1])
    for part, found in zip(entries.split(few), marked.split(few), strict=True):
        expected = part * marks
        if torch.equal(found, expected):  # as of every activation that is one operation
            continue
        size = part.abs()
        allowed = unit**0.75 * size + _NOISE * unit * size.amax(1, keepdim=True)
        if not bool(((found - expected).abs() <= allowed).all()):
            return False
    return True


def _moved(jacobian: GraphJacobian, sums: Tensor, marks: Tensor, marked: Tensor) -> list[LinearOperator] | None:
    """Return a selection for a part that moves entries, as slices, permutations and padding with zeros do, else None.

    Pulling the numbers of the outputs back tells which output reads an entry, where no two read the same.
    """
    num_inputs, out_dim, in_dim = jacobian.shape
    if out_dim >= 1 / torch.finfo(jacobian.dtype).eps or not bool(((sums == 0) | (sums == 1)).all()):
        return None
    readers = _pulled(jacobian, torch.arange(1, out_dim + 1, dtype=jacobian.dtype, device=jacobian.device))
    if not bool(((readers >= sums) & (readers <= out_dim) & (readers == readers.round())).all()):
        return None
    readers = readers.long()  # 0 where none reads
    if not torch.equal(marked, torch.nn.functional.pad(marks, (1, 0))[readers]):  # an average of two has a number too
        return None
    index = torch.full((num_inputs, out_dim + 1), -1, device=jacobian.device)
    entries = torch.arange(in_dim, device=jacobian.device).expand(num_inputs, -1)
    index = index.scatter_(1, readers, entries)[:, 1:]
    index = index[:1] if bool((index == index[:1]).all()) else index
    selection = Selection(index.clamp(min=0), in_dim, dtype=jacobian.dtype)
    return [selection] if bool((index >= 0).all()) else [Diagonal((index >= 0).to(jacobian.dtype)), selection]


def _pulled(jacobian: GraphJacobian, cotangent: Tensor) -> Tensor:
    """(out_dim,) -> (num_inputs, in_dim), the same cotangent for every input."""
    target = jacobian.target
    rows = cotangent.expand(target.shape[0], -1).reshape(target.shape)
    return jacobian.vjp(rows).reshape(target.shape[0], -1)[: jacobian.shape[0]]


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
