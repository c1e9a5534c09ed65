"""Operators of some of the inputs."""

from __future__ import annotations

from torch import Tensor

from jacprobe.linop import Diagonal, LinearOperator, Product, Selection, Sum, Transposed


def of_inputs(operator: LinearOperator, which: Tensor) -> LinearOperator:
    """Return the operator of the inputs `which`, (few,), of one that holds all of them or is the same for all."""
    if operator.shape[0] == 1 and operator.broadcasts:
        return operator
    if isinstance(operator, Transposed):
        return of_inputs(operator.T, which).T
    if isinstance(operator, Diagonal):
        return Diagonal(operator.entries[which])
    if isinstance(operator, Selection):
        return Selection(operator.index[which], operator.shape[2], dtype=operator.dtype)
    if isinstance(operator, Product):
        return Product([of_inputs(factor, which) for factor in operator.factors])
    if isinstance(operator, Sum):
        return Sum([of_inputs(term, which) for term in operator.terms])
    return _Some(operator, which)


class _Some(LinearOperator):
    """Some inputs of an operator that cannot be taken apart: the other ones are multiplied with zeros."""

    broadcasts = False

    def __init__(self, operator: LinearOperator, which: Tensor):
        self.operator, self.which = operator, which
        self.shape = (len(which), *operator.shape[1:])
        self.dtype, self.device = operator.dtype, operator.device

    def _matmat(self, block: Tensor) -> Tensor:
        return self._apply(self.operator.matmat, block)

    def _rmatmat(self, block: Tensor) -> Tensor:
        return self._apply(self.operator.rmatmat, block)

    def _apply(self, product, block: Tensor) -> Tensor:
        padded = block.new_zeros(self.operator.shape[0], block.shape[2], block.shape[1])
        padded[self.which] = block.mT
        return product(padded.mT)[self.which]
