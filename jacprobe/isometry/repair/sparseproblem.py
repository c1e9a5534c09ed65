"""The same problem where so few weights are kept that products go faster pair by pair."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from jacprobe.isometry.repair.lifts import Flat
from jacprobe.isometry.repair.problem import Problem

_PAIR_COST, _FAR_PAIR_COST = 15, 40  # multiplications of a dense product as long as a pair, in a cache and out of it;
_CACHED = 1_000_000  # pairs that fit a cache; all measured on a CPU


def is_sparse(masks: Tensor) -> bool:
    """Return whether bool masks `(num_blocks, long, short)` leave so few pairs in a row that these are faster."""
    return masks.device.type == "cpu" and _cost(int(masks.sum(2).square().sum())) < masks.numel() * masks.shape[2]


def _cost(num_pairs: int) -> float:
    """Return the multiplications of a dense product that take as long as one with all pairs."""
    return float(num_pairs * (_PAIR_COST if num_pairs < _CACHED else _FAR_PAIR_COST))


@dataclass(frozen=True)
class Pairs:
    """The pairs of kept weights in one row, each once from either side: the pattern of the Jacobian of Gram matrices.

    Attributes
    ----------
    starts
        int32 `(num_blocks * most_kept + 1,)`: where the pairs of each kept weight begin.
    partners
        Places of the other weights in the flat rows of kept weights.
    targets
        int32: the entry of the flat Gram matrices that a pair adds to, of their upper triangles.
    factors
        sqrt(2), as an entry off the diagonal stands for two, and 2 on the diagonal.
    """

    starts: np.ndarray
    partners: np.ndarray
    targets: np.ndarray
    factors: np.ndarray

    @classmethod
    def of(cls, masks: np.ndarray, most: int) -> Pairs:
        """Return the pairs of bool masks `(num_blocks, long, short)` with `most` places in a row of kept weights."""
        num, long, short = masks.shape
        block, row, column = masks.nonzero()
        kept = masks.sum((1, 2))
        place = block * most + np.arange(len(block)) - (kept.cumsum() - kept)[block]
        line = block * long + row
        in_line = np.bincount(line, minlength=num * long)
        repeats = in_line[line]
        left = np.repeat(np.arange(len(line)), repeats)
        within = np.arange(len(left)) - np.repeat(repeats.cumsum() - repeats, repeats)
        right = (in_line.cumsum() - in_line)[line[left]] + within
        counts = np.zeros(num * most + 1, dtype=np.int64)
        counts[place + 1] = repeats
        low, high = np.minimum(column[left], column[right]), np.maximum(column[left], column[right])
        targets = block[left] * (short * (short + 1) // 2) + _corner(low, short) + high - low
        return cls(counts.cumsum().astype(np.int32), place[right], targets.astype(np.int32),
                   np.where(left == right, 2.0, math.sqrt(2)))

    def jacobian(self, kept: Tensor, num_entries: int) -> scipy.sparse.csr_array:
        """Return the transposed derivative of the Gram matrices by kept weights, which is linear in them."""
        values = kept.numpy().reshape(-1)
        data = values.take(self.partners) * self.factors.astype(values.dtype, copy=False)
        return scipy.sparse.csr_array((data, self.targets, self.starts), shape=(values.size, num_entries))


def _corner(column: np.ndarray, short: int) -> np.ndarray:
    """Return where the diagonal entries of these columns stand in a flat upper triangle."""
    return column * short - column * (column - 1) // 2


@dataclass(frozen=True)
class SparseTangent:
    """The derivative of Gram matrices at kept weights, as one sparse matrix for all blocks and its transpose."""

    matrices: Tensor
    forward: scipy.sparse.csc_array
    transposed: scipy.sparse.csr_array

    def image(self, step: Tensor) -> Tensor:
        found = self.forward @ step.numpy().reshape(-1)
        return torch.from_numpy(found).reshape(len(step), -1)

    def slope(self, residual: Tensor) -> Tensor:
        found = self.transposed @ residual.numpy().reshape(-1)
        return torch.from_numpy(found).reshape(len(residual), -1)

    def row_squares(self) -> Tensor:
        found = self.transposed.power(2).sum(0)
        return torch.from_numpy(np.asarray(found)).reshape(len(self.matrices), -1)


@dataclass(frozen=True)
class SparseProblem(Problem):
    """A problem whose matrices stay what they are, rows of kept weights, and whose residuals are upper triangles.

    A Gram matrix has as many terms as there are pairs of kept weights in one row: of a share d of n columns d^2 times
    as many as a dense product. Entries off the diagonal are scaled by sqrt(2), so that inner products stay the same.

    Attributes
    ----------
    masks
        Bool `(num_blocks, long, short)`.
    pairs
        Of kept weights in one row.
    """

    masks: Tensor | None = None
    pairs: Pairs | None = None

    @classmethod
    def of(cls, masks: Tensor, floor: Tensor, *, most: int = 1) -> SparseProblem:
        """Return the problem of bool masks `(num_blocks, long, short)`, with at least `most` places in a row."""
        plain = Problem.of(masks, floor, Flat(), most=most)
        pairs = Pairs.of(masks.numpy(), plain.places.shape[1])
        return cls(plain.shape, plain.places, plain.is_kept, floor, plain.lift, None, masks, pairs)

    @property
    def work(self) -> float:
        return 4.0 * _cost(len(self.pairs.partners)) / len(self)

    def part(self, index: Tensor) -> SparseProblem:
        if len(index) == len(self) and torch.equal(index, torch.arange(len(self))):
            return self
        penalty = None if self.penalty is None else self.penalty.part(index)
        found = SparseProblem.of(self.masks[index], self.floor[index], most=self.places.shape[1])
        return replace(found, penalty=penalty)

    def matrices(self, kept: Tensor) -> Tensor:
        return kept

    def tangent(self, matrices: Tensor) -> SparseTangent:
        short = self.shape[1]
        transposed = self.pairs.jacobian(matrices, len(matrices) * short * (short + 1) // 2)
        return SparseTangent(matrices, transposed.T, transposed)

    def gram(self, matrices: Tensor) -> Tensor:
        return self.tangent(matrices).image(matrices) / 2  # Gram matrices are quadratic

    def residual(self, matrices: Tensor) -> Tensor:
        gram = self.gram(matrices)
        gram[:, _corner(np.arange(self.shape[1]), self.shape[1])] -= 1
        return gram
