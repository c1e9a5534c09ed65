"""Singular values of chains: fixed matrices, and between them diagonals and selections that differ from input to input.

What depends on the fixed matrices alone is computed once: dead units dropped, parts that share no path separated, wide
and tall ends replaced by triangular factors, Gram matrices formed.
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from jacprobe.linop import LinearOperator, Matrix, Product
from jacprobe.solvers.dense import check_finite, from_gram, gram_of, gram_operations, singular_values
from jacprobe.solvers.normal_form import Gathered, Slot, gathered, is_fixed, normal_form, part, separate
from jacprobe.solvers.threads import slices, threaded_slices

_ISOMETRIC = 8  # times the unit of the Jacobian: relative spread of values that is rounding
_SLICE = 2**20  # entries of the largest matrix in a slice of inputs, so that a slice stays in the cache


class ChainSolver:
    """Solves products that share their fixed factors, as those of all chunks of inputs of one segment do.

    Parameters
    ----------
    product
        Of matrices without copies, diagonals and selections.
    gram
        Whether squares may be formed, in float64; see ``dense.singular_values``.
    """

    def __init__(self, product: Product, *, gram: bool):
        self._factors = product.factors
        tolerance = _ISOMETRIC * torch.finfo(product.dtype).eps
        self._parts = [_Part(items, gram, tolerance) for items in separate(normal_form(product))]

    def fits(self, product: Product) -> bool:
        """Whether `product` has the same fixed factors at the same places."""
        if len(product.factors) != len(self._factors):
            return False
        for new, old in zip(product.factors, self._factors, strict=True):
            if new is old:
                continue
            if isinstance(new, Matrix) or type(new) is not type(old) or is_fixed(new) != is_fixed(old):
                return False
            if is_fixed(new) and not torch.equal(new.entries, old.entries):
                return False
        return True

    @property
    def error(self) -> float:
        """Bound on the error of what was solved so far besides that of the decompositions, relative to each value."""
        return max((part.error for part in self._parts), default=0.0)

    def values(self, product: Product) -> Tensor:
        """Return float64 (num_inputs or 1, at most min(out_dim, in_dim)), decreasing; what is missing is 0."""
        found = [part.values(product) for part in self._parts]
        if not found:
            return torch.zeros(1, 0, dtype=torch.float64, device=product.device)
        num_inputs = max(len(values) for values in found)
        values = torch.cat([values.double().expand(num_inputs, -1) for values in found], dim=1)
        return values.sort(dim=1, descending=True).values if len(found) > 1 else values


class _Part:
    """One connected part of a chain.

    Attributes
    ----------
    error
        Bound on the relative error of the values where a fixed matrix was taken for an isometry.
    """

    def __init__(self, items: list[Tensor | Slot], gram: bool, tolerance: float):
        self._gram, self._tolerance, self.error = gram, tolerance, 0.0
        if len(items) == 2 and isinstance(items[0], Slot) and not items[0].selects:
            items = [items[1].mT, items[0]]  # F D has the values of D F'
        self._is_layer = len(items) == 2 and isinstance(items[1], Slot)
        self._items = _ends_reduced(items)
        self._matrices: dict[tuple, Matrix] = {}

    def values(self, product: Product) -> Tensor:
        slots = {i: gathered(item, product) for i, item in enumerate(self._items) if isinstance(item, Slot)}
        if not slots:
            return self._fixed_values
        if len(self._items) == 1:
            return _slot_values(slots[0], product.shape[2])
        if self._is_layer:
            return self._layer_values(slots[1])
        return self._chain_values(product)

    @cached_property
    def _fixed_values(self) -> Tensor:
        matrix = self._items[0].double()
        for item in self._items[1:]:
            matrix = item.double() @ matrix
        return singular_values(matrix.unsqueeze(0), gram=self._gram)

    def _layer_values(self, slot: Gathered) -> Tensor:
        """One fixed matrix F, then a slot: the rows of F, selected and scaled; rows of scale 0 are left out."""
        num_inputs, out_dim = slot.num_inputs, (slot.index if slot.scale is None else slot.scale).shape[1]
        matrix = self._items[0]
        scale = matrix.new_ones(1, out_dim) if slot.scale is None else slot.scale
        check_finite(scale.unsqueeze(0))
        if slot.index is None and (isometry := self._isometry) is not None:
            gain, self.error = isometry
            return gain * scale.double().abs().sort(dim=1, descending=True).values
        kept, inverse = _distinct(scale.expand(num_inputs, -1), slot.index)
        scale = scale.expand(num_inputs, -1)[kept].double()
        index = None if slot.index is None else slot.index.expand(num_inputs, -1)[kept]
        counts = (scale != 0).sum(1)
        if index is None and int(counts.min()) == out_dim:
            return self._rows_values(None, scale)[inverse]
        result = torch.zeros(len(kept), min(out_dim, matrix.shape[1]), dtype=torch.float64, device=matrix.device)
        for count in counts.unique().tolist():
            which = (counts == count).nonzero().squeeze(1)
            if count:
                rows = (scale[which] != 0).nonzero()[:, 1].reshape(len(which), count)
                selected = rows if index is None else index[which].gather(1, rows)
                values = self._rows_values(selected, scale[which].gather(1, rows))
                result[which, : values.shape[1]] = values
        return result[inverse]

    @cached_property
    def _isometry(self) -> tuple[float, float] | None:
        """Gain g and relative error where F is g times an isometry but for rounding: then D F has the values g |d|.

        By Ostrowski's theorem the i-th value of D F is that of D times a number between the least and the largest
        value of F (Eisenstat and Ipsen 1995, Relative perturbation techniques for singular value problems, section 3).
        """
        matrix = self._items[0]
        if matrix.shape[0] > matrix.shape[1]:
            return None
        square = float(self._gram_matrix.diagonal().mean())
        eye = torch.eye(len(matrix), dtype=torch.float64, device=matrix.device)
        if not float((self._gram_matrix - square * eye).norm()) <= 2 * len(matrix) ** 0.5 * self._tolerance * square:
            return None
        found = from_gram(self._gram_matrix.unsqueeze(0))[0]
        least, most = float(found[-1]), float(found[0])
        error = (most - least) / (most + least)
        return ((least + most) / 2, error) if error <= self._tolerance else None

    def _rows_values(self, rows: Tensor | None, scale: Tensor) -> Tensor:
        """Singular values of the rows of F with these indices, None for all, and scales, (num, count) each."""
        matrix = self._items[0]
        count, width = scale.shape[1], matrix.shape[1]
        by_squares = self._gram and count <= width
        if by_squares:
            return threaded_slices(
                lambda which: self._scaled_values(None if rows is None else rows[which], scale[which]),
                len(scale), gram_operations(count, count), scale.device)
        parts = []
        for which in slices(len(scale), max(1, 16 * _SLICE // (count * width))):
            chosen = matrix if rows is None else matrix[rows[which]]
            parts.append(singular_values(chosen.double() * scale[which].unsqueeze(2), gram=self._gram))
        return torch.cat(parts)

    def _scaled_values(self, rows: Tensor | None, scale: Tensor) -> Tensor:
        """Singular values by Gram matrices that are scaled parts of the one of all rows, few at a time on a CPU."""
        num, count = scale.shape
        parts = []
        for which in slices(num, num if scale.is_cuda else max(1, _SLICE // (8 * count**2))):
            gram = self._gram_matrix
            if rows is not None:
                gram = gram[rows[which].unsqueeze(2), rows[which].unsqueeze(1)]
            parts.append(from_gram((gram * scale[which].unsqueeze(2)).mul_(scale[which].unsqueeze(1))))
        return torch.cat(parts)

    @cached_property
    def _gram_matrix(self) -> Tensor:
        return gram_of(self._items[0].unsqueeze(0))[0]

    def _chain_values(self, product: Product) -> Tensor:
        """Multiply out from the narrowest interface, where that is an end of the chain; else reduce both sides."""
        whole = self._operators(product, slice(None))
        widths = [whole[0].shape[2], *(operator.shape[1] for operator in whole)]
        cut = min(range(len(widths)), key=lambda i: (widths[i], 0 < i < len(whole)))
        few = max(1, _SLICE // (widths[cut] * max(widths)))

        def core(which: slice) -> Tensor:
            """(num, r, c) with r <= c and the singular values of the chain."""
            operators = self._operators(product, which)
            right, left = _pulled(operators[:cut]), _pulled([operator.T for operator in reversed(operators[cut:])])
            if left is None or right is None:
                return right if left is None else left
            upper, lower = (torch.linalg.qr(part.double().mT, mode="r").R for part in (left, right))
            return upper @ lower.mT

        def values(which: slice) -> Tensor:
            parts = [slice(which.start + part.start, which.start + part.stop)
                     for part in slices(which.stop - which.start, few)]
            return torch.cat([singular_values(core(part), gram=self._gram) for part in parts])

        operations = 2.0 * widths[cut] * sum(a * b for a, b in zip(widths, widths[1:], strict=False))
        return threaded_slices(values, product.shape[0], operations, product.device)

    def _operators(self, product: Product, which: slice) -> list[LinearOperator]:
        """Return the chain for some of the inputs, in the order it acts."""
        found: list[LinearOperator] = []
        for item in self._items:
            if isinstance(item, Tensor):
                found.append(self._matrix(item, product.dtype))
            else:
                found += [part(product.factors[i], item.units, which) for i in item.positions]
        return found

    def _matrix(self, item: Tensor, dtype: torch.dtype) -> Matrix:
        if (key := (id(item), dtype)) not in self._matrices:
            self._matrices[key] = Matrix(item.to(dtype).contiguous())
        return self._matrices[key]


def _pulled(operators: list[LinearOperator]) -> Tensor | None:
    """Multiply out from the output side, (num_inputs, out_dim, in_dim); None where there is no operator."""
    if not operators:
        return None
    *others, last = operators
    rows = last.dense()
    for operator in reversed(others):
        num_inputs = max(len(rows), operator.shape[0])
        rows = operator.rmatmat(rows.expand(num_inputs, -1, -1).mT).mT
    return rows


def _ends_reduced(items: list[Tensor | Slot]) -> list[Tensor | Slot]:
    """Replace a wide first or tall last matrix by its triangular factor, computed in float64: same singular values."""
    items = list(items)
    if isinstance(items[0], Tensor) and items[0].shape[0] < items[0].shape[1]:
        items[0] = torch.linalg.qr(items[0].double().mT, mode="r").R.mT.contiguous()
    if isinstance(items[-1], Tensor) and items[-1].shape[0] > items[-1].shape[1]:
        items[-1] = torch.linalg.qr(items[-1].double(), mode="r").R
    return items


def _slot_values(slot: Gathered, in_dim: int) -> Tensor:
    """A slot by itself: rows that select the same entry add up to one value, the root of their sum of squares."""
    if slot.index is None:
        return slot.scale.double().abs().sort(dim=1, descending=True).values
    squares = torch.ones_like(slot.index, dtype=torch.float64) if slot.scale is None else slot.scale.double() ** 2
    num_inputs, out_dim = slot.num_inputs, slot.index.shape[1]
    sums = torch.zeros(num_inputs, in_dim, dtype=torch.float64, device=slot.index.device)
    sums.scatter_add_(1, slot.index.expand(num_inputs, -1), squares.expand(num_inputs, -1))
    return sums.sqrt().sort(dim=1, descending=True).values[:, :out_dim]


def _distinct(scale: Tensor, index: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the position of one of each kind of equal rows, and for every row the kind it is of.

    Rows are told apart by a random linear form; where two different rows should share its value, nothing is merged.
    """
    num_inputs, width = scale.shape
    generator = torch.Generator().manual_seed(0)
    form = torch.rand(2, width, generator=generator, dtype=torch.float64).to(scale.device)
    keys = (scale.double() * form[0]).sum(1)  # a matrix product would round equal rows differently
    if index is not None:
        keys = keys + (index.expand(num_inputs, -1).double() * form[1]).sum(1)
    _, kind = keys.unique(return_inverse=True)
    positions = torch.arange(num_inputs, device=scale.device)
    first = positions.new_full((int(kind.max()) + 1,), num_inputs).scatter_reduce_(0, kind, positions, "amin")
    same = torch.equal(scale[first][kind], scale) and (
        index is None or len(index) == 1 or torch.equal(index[first][kind], index))
    return (first, kind) if same else (positions, positions)
