"""A segment as a product of structured factors, where the network between two sites is a plain chain."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from jacprobe.linop import Diagonal, LinearOperator, Matrix, Product
from jacprobe.modelstate import AFFINE
from jacprobe.probe.graph import edge_key
from jacprobe.probe.operators import GraphJacobian
from jacprobe.probe.segments import between
from jacprobe.probe.trace import Call, Site, Trace

_UNITS = 256  # unit vectors at a time


class AffineMatrices:
    """The matrices of the affine modules of one model, each computed once: they do not depend on the input."""

    def __init__(self, state: dict[str, Tensor], max_bytes: float):
        self._state = state
        self._bytes_left = max_bytes
        self._found: dict[tuple[str, tuple[int, ...]], Matrix | None] = {}

    def __call__(self, call: Call) -> Matrix | None:
        """Return the Jacobian of an affine module, or None where it is none or does not fit the budget."""
        key = (call.module_name, call.inputs[0].shape[1:])
        if key not in self._found:
            known = isinstance(call.module, AFFINE) and self._bytes(call) <= self._bytes_left
            self._bytes_left -= self._bytes(call) if known else 0
            self._found[key] = self._matrix(call) if known else None
        found = self._found[key]
        shape = (1, call.output.dim, call.inputs[0].dim)  # another one where the call has arguments, as output_size
        return found if found is not None and found.shape == shape else None

    def _bytes(self, call: Call) -> float:
        shape = (call.output.dim, call.inputs[0].dim)
        if isinstance(call.module, nn.Linear):
            shape = (call.output.shape[-1], call.inputs[0].shape[-1])
        return 16.0 * shape[0] * shape[1]  # and for its triangular factor in float64

    def _matrix(self, call: Call) -> Matrix:
        """Apply the module without its bias to unit vectors: products with 0 and 1 are exact in any precision."""
        prefix = f"{call.module_name}." if call.module_name else ""
        state = {name.removeprefix(prefix): t for name, t in self._state.items() if name.startswith(prefix)}
        state = {name: torch.zeros_like(t) if "bias" in name and t.is_floating_point() else t
                 for name, t in state.items()}
        taken, given, copies = call.inputs[0].shape[1:], call.output.shape[1:], 1
        if isinstance(call.module, nn.Linear):  # acts on the last dimension, the same for every token
            copies = torch.Size(taken[:-1]).numel()
            taken, given = taken[-1:], given[-1:]

        def function(block: Tensor) -> Tensor:
            return torch.func.functional_call(call.module, state, (block,))

        like = next(t for t in state.values() if t.is_floating_point())
        return Matrix(_matrix_of_map(function, torch.Size(taken), torch.Size(given), like), copies=copies)


def _matrix_of_map(function: Callable, taken: torch.Size, given: torch.Size, like: Tensor) -> Tensor:
    """Return the (given, taken) matrix of a linear map on batches, from the unit vectors of its smaller side."""
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


class Factorizer:
    """Finds the structured product of segments of one trace; diagonals that segments share are computed once."""

    def __init__(self, trace: Trace, num_inputs: int, matrix_of: Callable[[Call], Matrix | None]):
        self._trace, self.num_inputs, self._matrix_of = trace, num_inputs, matrix_of
        self._diagonals: dict[tuple, Diagonal | None] = {}

    def operator(self, source: Site, target: Site) -> tuple[LinearOperator, str]:
        """Return the checked product of factors, or the generic operator where there is none; and which it is."""
        generic = GraphJacobian(source, target, self.num_inputs)
        factors = self._factors(source, target)
        if factors is None:
            return generic, "autograd"
        product = Product(factors)
        return (product, "factors") if _agree(product, generic) else (generic, "autograd (factors disagree)")

    def _factors(self, source: Site, target: Site) -> list[LinearOperator] | None:
        """Weighted modules alternate with what lies between them, which must act on each entry by itself."""
        graph = between(source, target)
        cuts = set(graph.cuts)
        inside = [call for call in self._trace.calls if call.output is not None and call.output.edge in graph
                  and any(site.edge in graph for site in call.inputs)]
        inside.sort(key=lambda call: graph.position(call.output.edge))
        if any(not isinstance(c.module, AFFINE) for c in inside):
            return None
        if any(len(c.inputs) != 1 or not {edge_key(c.inputs[0].edge), edge_key(c.output.edge)} <= cuts for c in inside):
            return None
        begins = [source, *(call.output for call in inside)]
        ends = [*(call.inputs[0] for call in inside), target]
        diagonals = [self._diagonal(begin, end) for begin, end in zip(begins, ends, strict=True)]
        matrices = [] if None in diagonals else [self._matrix_of(call) for call in inside]
        if None in diagonals or None in matrices or len({f.dtype for f in [*diagonals, *matrices]}) > 1:
            return None
        factors: list[LinearOperator] = [diagonals[0]]
        for matrix, diagonal in zip(matrices, diagonals[1:], strict=True):
            factors = [diagonal, matrix, *factors]
        return [factor for factor in factors if not _is_identity(factor)] or [diagonals[0]]

    def _diagonal(self, source: Site, target: Site) -> Diagonal | None:
        """If the part acts on each entry by itself, its derivative is the vector-Jacobian product with ones."""
        key = (edge_key(source.edge), edge_key(target.edge))
        if key not in self._diagonals:
            self._diagonals[key] = self._derivative(source, target)
        return self._diagonals[key]

    def _derivative(self, source: Site, target: Site) -> Diagonal | None:
        if source.dim != target.dim or source.shape[0] != target.shape[0]:
            return None
        jacobian = GraphJacobian(source, target, self.num_inputs)
        ones = torch.ones(target.shape, dtype=target.dtype, device=jacobian.device)
        same = edge_key(source.edge) == edge_key(target.edge)
        entries = (ones if same else jacobian.vjp(ones)).reshape(-1, source.dim)[: self.num_inputs]
        constant = bool((entries == entries[:1]).all())
        return Diagonal(entries[:1] if constant else entries)


def _is_identity(factor: LinearOperator) -> bool:
    return isinstance(factor, Diagonal) and bool((factor.entries == 1).all())


def _agree(product: Product, generic: GraphJacobian) -> bool:
    """Compare with one random vector-Jacobian product of the real model: unequal maps differ there almost surely."""
    num_inputs, out_dim, in_dim = generic.shape
    generator = torch.Generator().manual_seed(0)
    block = torch.randn(num_inputs, out_dim, 1, generator=generator, dtype=torch.float64)
    block = block.to(dtype=generic.dtype, device=generic.device)
    expected = generic.rmatmat(block)
    error = (product.rmatmat(block) - expected).norm(dim=1)
    tolerance = torch.finfo(generic.dtype).eps * 16 * max(out_dim, in_dim) ** 0.5
    return bool((error <= tolerance * expected.norm(dim=1)).all())
