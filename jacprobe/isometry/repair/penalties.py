"""What may be added to the distance from isometry: distance from given weights, and concentration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Penalty(Protocol):
    """A polynomial of degree at most 4 in the weights, block by block.

    Weights and directions are rows `(num_blocks, most_kept)`.
    """

    def part(self, index: Tensor) -> Penalty: ...

    def gradient(self, weights: Tensor) -> Tensor: ...

    def quartic(self, weights: Tensor, direction: Tensor) -> Tensor:
        """Return the coefficients of t to t^4 at ``V + t D``, `(num_blocks, 4)`."""
        ...


def _sums(*terms: Tensor) -> Tensor:
    return torch.stack([term.sum(1) for term in terms], 1)


@dataclass(frozen=True)
class Nearness:
    """``strength / 2 * ||V - given||^2``."""

    given: Tensor
    strength: float

    def part(self, index: Tensor) -> Nearness:
        return Nearness(self.given[index], self.strength)

    def gradient(self, weights: Tensor) -> Tensor:
        return self.strength * (weights - self.given)

    def quartic(self, weights: Tensor, direction: Tensor) -> Tensor:
        zero = torch.zeros_like(direction)
        return _sums(self.gradient(weights) * direction, self.strength / 2 * direction.square(), zero, zero)


@dataclass(frozen=True)
class Spread:
    """``strength / 4 * scale * sum w^4``, with `scale` kept weights per short side `(num_blocks,)`.

    At an isometry the sum of squares is the short side n, and this is ``strength / 4 * n / participation``.
    """

    scale: Tensor
    strength: float

    @property
    def _factor(self) -> Tensor:
        return self.strength * self.scale[:, None]

    def part(self, index: Tensor) -> Spread:
        return Spread(self.scale[index], self.strength)

    def gradient(self, weights: Tensor) -> Tensor:
        return self._factor * weights**3

    def quartic(self, weights: Tensor, direction: Tensor) -> Tensor:
        squares, steps = weights.square(), direction.square()
        found = _sums(squares * weights * direction, 1.5 * squares * steps, weights * direction * steps,
                      steps.square() / 4)
        return found * self._factor
