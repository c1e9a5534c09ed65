"""What is minimised over the kept weights: half the squared distance of a Gram matrix from the identity, a penalty."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from jacprobe.isometry.repair.lifts import Lift
from jacprobe.isometry.repair.penalties import Penalty


@dataclass(frozen=True)
class Problem:
    """Blocks of one shape that are solved side by side, with their kept weights in rows `(num_blocks, most_kept)`.

    For matrices ``M = L(V)`` of the weights V it is ``||A||^2 / 2 + penalty`` with ``A = M' M - I``, averaged over the
    `num` matrices of the lift L.

    Attributes
    ----------
    shape
        Of a block, ``(long, short)`` or as the lift takes it.
    places
        Of the kept weights in the flat block, int64 `(num_blocks, most_kept)`.
    is_kept
        float64, 1, and 0 behind the last kept weight of a block with fewer than others.
    floor
        Least residual of each block for any weights `(num_blocks,)`.
    lift
        L.
    penalty
        None, or what is added.
    """

    shape: tuple[int, int]
    places: Tensor
    is_kept: Tensor
    floor: Tensor
    lift: Lift
    penalty: Penalty | None = None

    @classmethod
    def of(cls, masks: Tensor, floor: Tensor, lift: Lift, *, most: int = 1) -> Problem:
        """Return the problem of bool masks `(num_blocks, long, short)`, with at least `most` places in a row."""
        flat = masks.flatten(1)
        most = max(int(flat.sum(1).max()), most)
        order = torch.sort(flat.byte(), dim=1, descending=True, stable=True)
        places = order.indices[:, :most]
        is_kept = order.values[:, :most].double()
        return cls(tuple(masks.shape[1:]), places, is_kept, floor, lift)

    @property
    def short(self) -> int:
        """The smaller side of the matrices: as many singular values they have."""
        return self.lift.short(self.shape)

    @property
    def work(self) -> float:
        """Operations of one step on one block, of two products."""
        return 4.0 * self.shape[0] * self.shape[1] * self.short * (4 if self.lift.num > 1 else 1)

    def __len__(self) -> int:
        return len(self.places)

    def part(self, index: Tensor) -> Problem:
        """Return the problem of some of the blocks."""
        penalty = None if self.penalty is None else self.penalty.part(index)
        return replace(self, places=self.places[index], is_kept=self.is_kept[index], floor=self.floor[index],
                       penalty=penalty)

    def single(self) -> Problem:
        """Return the problem in float32, of flat weights without a penalty."""
        return replace(self, is_kept=self.is_kept.float(), floor=self.floor.float())

    def dense(self, kept: Tensor) -> Tensor:
        """Return the blocks with these kept weights, `(num_blocks, *shape)`."""
        size = self.shape[0] * self.shape[1]
        flat = kept.new_zeros(len(kept) * size + 1)  # what stands behind the last kept weight goes to the spare place
        offsets = size * torch.arange(len(kept), device=kept.device)[:, None]
        flat[torch.where(self.is_kept > 0, self.places + offsets, len(flat) - 1)] = kept
        return flat[:-1].unflatten(0, (len(kept), *self.shape))

    def kept(self, blocks: Tensor) -> Tensor:
        """Return the kept entries of blocks."""
        return blocks.reshape(len(blocks), -1).gather(1, self.places) * self.is_kept

    def matrices(self, kept: Tensor) -> Tensor:
        """Return M."""
        return self.lift.forward(self.dense(kept))

    def gram(self, matrices: Tensor) -> Tensor:
        """Return ``M' M``, as residuals are kept."""
        return matrices.mH @ matrices

    def residual(self, matrices: Tensor) -> Tensor:
        """Return A."""
        gram = self.gram(matrices)
        gram.diagonal(dim1=-2, dim2=-1).sub_(1)
        return gram

    def dot(self, left: Tensor, right: Tensor) -> Tensor:
        """Return inner products of residuals, block by block."""
        rows, columns = left.reshape(len(left), 1, -1), right.reshape(len(right), -1, 1)
        return (rows.conj() @ columns).real.reshape(-1) / self.lift.num

    def excess(self, residual: Tensor) -> Tensor:
        """Return by how much the squared residual is above that of the floor."""
        return self.dot(residual, residual) - self.floor.square()

    def tangent(self, matrices: Tensor) -> Tangent:
        """Return the derivative of A at matrices that `matrices` returns."""
        return Tangent(self, matrices)

    def gradient(self, kept: Tensor, tangent: Tangent, residual: Tensor) -> Tensor:
        """Return the gradient of all by the kept weights."""
        found = tangent.slope(residual)
        return found if self.penalty is None else found + self.penalty.gradient(kept)

    def quartic(self, kept: Tensor, direction: Tensor, residual: Tensor, linear: Tensor, square: Tensor) -> Tensor:
        """Return the coefficients of t to t^4 of the objective where A is ``residual + t linear + t^2 square``."""
        dot = self.dot
        found = torch.stack([dot(residual, linear), dot(linear, linear) / 2 + dot(residual, square),
                             dot(linear, square), dot(square, square) / 2], 1)
        return found if self.penalty is None else found + self.penalty.quartic(kept, direction)


@dataclass(frozen=True)
class Tangent:
    """The derivative of A by the kept weights of a problem, at matrices M."""

    problem: Problem
    matrices: Tensor

    def image(self, step: Tensor) -> Tensor:
        """Return ``M' L(D) + L(D)' M`` for matrices ``L(D)``: how A starts to change along D."""
        half = self.matrices.mH @ step
        return half + half.mH

    def slope(self, residual: Tensor) -> Tensor:
        """Return the gradient of ``||A||^2 / 2`` by the kept weights: the adjoint of `image`, at A."""
        return 2 * self.problem.kept(self.problem.lift.adjoint(self.matrices @ residual))

    def row_squares(self) -> Tensor:
        """Return for each entry of A the sum of squares of its derivatives, twice that off the diagonal; flat lifts."""
        half = self.matrices.square().mT @ self.problem.dense(self.problem.is_kept)
        return 2 * (half + half.mT)
