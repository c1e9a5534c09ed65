"""Products and sums of operators."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor

from jacprobe.errors import ShapeError
from jacprobe.linop.matrices import Diagonal
from jacprobe.linop.operator import LinearOperator


class Product(LinearOperator):
    """The product of `factors` in mathematical order: the last one acts first.

    Raises
    ------
    ShapeError
        Neighbouring factors do not fit, or there is none.
    """

    def __init__(self, factors: Sequence[LinearOperator]):
        self.factors = tuple(factors)
        if not self.factors:
            raise ShapeError("`factors` must hold at least one operator; got none. A Diagonal of ones is the identity.")
        for left, right in zip(self.factors, self.factors[1:], strict=False):
            if left.shape[2] != right.shape[1]:
                raise ShapeError(
                    f"`factors` must fit; one with in_dim {left.shape[2]} follows one with out_dim"
                    f" {right.shape[1]}. Check their order."
                )
        num_inputs = max(factor.shape[0] for factor in self.factors)
        self.shape = (num_inputs, self.factors[0].shape[1], self.factors[-1].shape[2])
        self.dtype, self.device = self.factors[0].dtype, self.factors[0].device

    def equals(self, other: LinearOperator) -> bool:
        """Whether `other` is a product of the same matrices (the very objects) and equal diagonals."""
        return isinstance(other, Product) and len(self.factors) == len(other.factors) and all(
            a is b or (isinstance(a, Diagonal) and isinstance(b, Diagonal) and torch.equal(a.entries, b.entries))
            for a, b in zip(self.factors, other.factors, strict=True)
        )

    def _matmat(self, block: Tensor) -> Tensor:
        return reduce(lambda vectors, factor: factor.matmat(vectors), reversed(self.factors), block)

    def _rmatmat(self, block: Tensor) -> Tensor:
        return reduce(lambda vectors, factor: factor.rmatmat(vectors), self.factors, block)

    def dense(self) -> Tensor:
        """Multiply from the thin end, so that no intermediate is larger than it must be."""
        num_inputs, out_dim, in_dim = self.shape
        thin_left = out_dim <= in_dim
        eye = torch.eye(min(out_dim, in_dim), dtype=self.dtype, device=self.device).expand(num_inputs, -1, -1)
        return self._rmatmat(eye).mT if thin_left else self._matmat(eye)


class Sum(LinearOperator):
    """The sum of `terms`, as at the end of a residual block.

    Raises
    ------
    ShapeError
        The terms have different shapes, or there is none.
    """

    def __init__(self, terms: Sequence[LinearOperator]):
        self.terms = tuple(terms)
        if not self.terms:
            raise ShapeError("`terms` must hold at least one operator; got none. A Diagonal of zeros is the zero map.")
        shapes = {term.shape[1:] for term in self.terms}
        if len(shapes) > 1:
            raise ShapeError(f"`terms` must have one shape; got {' and '.join(map(str, sorted(shapes)))}."
                             " Check what is added.")
        num_inputs = max(term.shape[0] for term in self.terms)
        self.shape = (num_inputs, *shapes.pop())
        self.dtype, self.device = self.terms[0].dtype, self.terms[0].device
        self.broadcasts = all(term.broadcasts for term in self.terms)

    def _matmat(self, block: Tensor) -> Tensor:
        return reduce(torch.add, (term.matmat(block) for term in self.terms))

    def _rmatmat(self, block: Tensor) -> Tensor:
        return reduce(torch.add, (term.rmatmat(block) for term in self.terms))
