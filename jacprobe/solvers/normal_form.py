"""The normal form of a product: fixed matrices in turn with what differs from input to input, without dead units."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from jacprobe.linop import Diagonal, LinearOperator, Matrix, Product, Selection
from jacprobe.solvers.liveness import components, live_units

_SPARSE = 0.5  # share of nonzero entries above which a matrix hardly falls into parts


class Slot(NamedTuple):
    """A place in the chain for the factors of a product, at these positions, that differ from input to input."""

    positions: tuple[int, ...]  # in the order they act
    selects: bool  # whether one of them is a selection
    units: Tensor | None = None  # index of the units that are kept, None for all; only where it selects nothing


class Gathered(NamedTuple):
    """What a slot does for some inputs: entry j of the output is ``scale[j]`` times entry ``index[j]`` of the input.

    index
        (num_inputs or 1, out_dim), or None where it is 0, 1, 2, ...
    scale
        (num_inputs or 1, out_dim), or None where it is 1.
    """

    index: Tensor | None
    scale: Tensor | None

    @property
    def num_inputs(self) -> int:
        return max(len(part) for part in self if part is not None)


def gathered(slot: Slot, product: Product) -> Gathered:
    """Return what the factors of `product` at the positions of `slot` do together."""
    index, scale = None, None
    for position in slot.positions:
        factor = product.factors[position]
        if isinstance(factor, Selection):
            index = factor.index if index is None else _along(index, factor.index)
            scale = None if scale is None else _along(scale, factor.index)
        else:
            entries = part(factor, slot.units, slice(None)).entries
            scale = entries if scale is None else scale * entries
    return Gathered(index, scale)


def part(factor: Diagonal | Selection, units: Tensor | None, which: slice) -> Diagonal | Selection:
    """Return a factor for some of the inputs and, of a diagonal, some of the units."""
    values = factor.entries if isinstance(factor, Diagonal) else factor.index
    values = values if len(values) == 1 else values[which]
    if isinstance(factor, Selection):
        return Selection(values, factor.shape[2], dtype=factor.dtype)
    return Diagonal(values if units is None else values[:, units])


def _along(values: Tensor, index: Tensor) -> Tensor:
    num_inputs = max(len(values), len(index))
    return values.expand(num_inputs, -1).gather(1, index.expand(num_inputs, -1))


def is_fixed(factor: LinearOperator) -> bool:
    """Whether `factor` is the same for every input and belongs into a fixed matrix."""
    return isinstance(factor, Matrix) or (isinstance(factor, Diagonal) and factor.shape[0] == 1)


def normal_form(product: Product) -> list[Tensor | Slot]:
    """Return fixed matrices and slots in turn, in the order they act; constant diagonals merge into matrices."""
    items: list[Tensor | Slot] = []
    for position in reversed(range(len(product.factors))):
        factor = product.factors[position]
        last = items[-1] if items else None
        if isinstance(factor, Matrix):
            matrix = factor.matrix
            if isinstance(last, Slot) and all(is_fixed(product.factors[i]) for i in last.positions):
                entries = [product.factors[i].entries[0].double() for i in last.positions]
                matrix = matrix.double() * torch.stack(entries).prod(0)
                last = items.pop() and (items[-1] if items else None)
            if isinstance(last, Tensor) and _is_smaller_merged(matrix, last):
                items[-1] = matrix.double() @ last.double()
            else:
                items.append(matrix)
        elif is_fixed(factor) and isinstance(last, Tensor):
            items[-1] = factor.entries[0].double().unsqueeze(1) * last.double()
        elif isinstance(last, Slot):
            items[-1] = Slot((*last.positions, position), last.selects or isinstance(factor, Selection))
        else:
            items.append(Slot((position,), isinstance(factor, Selection)))
    return items


def _is_smaller_merged(left: Tensor, right: Tensor) -> bool:
    return left.shape[0] * right.shape[1] <= left.numel() + right.numel()


def separate(items: list[Tensor | Slot]) -> list[list[Tensor | Slot]]:
    """Drop dead units, and split the chain into parts that share no path; a chain with selections stays whole."""
    matrices = [item if isinstance(item, Tensor) else None for item in items]
    selects = any(isinstance(item, Slot) and item.selects for item in items)
    if selects or all(matrix is None for matrix in matrices):
        return [items]
    density = min(float((matrix != 0).double().mean()) for matrix in matrices if matrix is not None)
    if density == 1:
        return [items]
    live = [units.nonzero().squeeze(1) for units in live_units(matrices)]
    items = _restricted(items, live)
    if density > _SPARSE or min(map(len, live)) == 0:
        return [items] if min(map(len, live)) else []
    parts = components([item if isinstance(item, Tensor) else None for item in items])
    return [_restricted(items, part) for part in parts] if len(parts) > 1 else [items]


def _restricted(items: list[Tensor | Slot], units: list[Tensor]) -> list[Tensor | Slot]:
    found: list[Tensor | Slot] = []
    for item, taken, given in zip(items, units[:-1], units[1:], strict=True):
        if isinstance(item, Tensor):
            found.append(item[given][:, taken])
        else:
            found.append(item._replace(units=taken if item.units is None else item.units[taken]))
    return found
