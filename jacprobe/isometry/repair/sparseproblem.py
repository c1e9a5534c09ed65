"""The same problem where so few weights are kept that products go faster pair by pair."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from jacprobe.isometry.repair.lifts import Flat
from jacprobe.isometry.repair.problem import Problem

_PAIR_COST = 90  # multiplications of a dense product that take as long as one pair, measured on a CPU


def is_sparse(masks: Tensor) -> bool:
    """Return whether bool masks `(num_blocks, long, short)` leave so few pairs in a row that these are faster."""
    pairs = int(masks.sum(2).square().sum())
    return masks.device.type == "cpu" and pairs * _PAIR_COST < masks.numel() * masks.shape[2]


@dataclass(frozen=True)
class SparseProblem(Problem):
    """A problem whose matrices stay what they are, rows of kept weights.

    A Gram matrix has as many terms as there are pairs of kept weights in one row: of a share d of n columns d^2 times
    as many as a dense product.

    Attributes
    ----------
    masks
        Bool `(num_blocks, long, short)`.
    first, second
        The pairs: places in the flat `(num_blocks * most_kept)` rows of kept weights.
    targets
        Their places in the flat Gram matrices.
    """

    masks: Tensor | None = None
    first: Tensor | None = None
    second: Tensor | None = None
    targets: Tensor | None = None

    @classmethod
    def of(cls, masks: Tensor, floor: Tensor, *, most: int = 1) -> SparseProblem:
        """Return the problem of bool masks `(num_blocks, long, short)`, with at least `most` places in a row."""
        plain = Problem.of(masks, floor, Flat(), most=most)
        most, short = plain.places.shape[1], masks.shape[2]
        block, row, column = masks.nonzero().unbind(1)
        starts = torch.cumsum(masks.flatten(1).sum(1), 0) - masks.flatten(1).sum(1)
        place = block * most + torch.arange(len(block)) - starts[block]
        line = block * masks.shape[1] + row
        counts = torch.bincount(line, minlength=masks.shape[0] * masks.shape[1])
        begins = torch.cumsum(counts, 0) - counts
        left = torch.repeat_interleave(torch.arange(len(line)), counts[line])
        within = torch.arange(len(left)) - torch.repeat_interleave(torch.cumsum(counts[line], 0) - counts[line],
                                                                   counts[line])
        right = begins[line[left]] + within
        return cls(plain.shape, plain.places, plain.is_kept, floor, plain.lift, None, masks, place[left], place[right],
                   (block[left] * short + column[left]) * short + column[right])

    @property
    def work(self) -> float:
        return 4.0 * _PAIR_COST * len(self.first) / len(self)

    def part(self, index: Tensor) -> SparseProblem:
        if len(index) == len(self) and torch.equal(index, torch.arange(len(self))):
            return self
        penalty = None if self.penalty is None else self.penalty.part(index)
        found = SparseProblem.of(self.masks[index], self.floor[index], most=self.places.shape[1])
        return replace(found, penalty=penalty)

    def matrices(self, kept: Tensor) -> Tensor:
        return kept

    def product(self, left: Tensor, right: Tensor) -> Tensor:
        short = self.shape[1]
        terms = left.reshape(-1)[self.first] * right.reshape(-1)[self.second]
        found = terms.new_zeros(len(left) * short * short).index_add_(0, self.targets, terms)
        return found.reshape(-1, short, short)

    def slope(self, matrices: Tensor, residual: Tensor) -> Tensor:
        terms = matrices.reshape(-1)[self.second] * residual.reshape(-1)[self.targets]
        return 2 * terms.new_zeros(matrices.numel()).index_add_(0, self.first, terms).reshape(matrices.shape)
