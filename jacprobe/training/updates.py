"""Gradient descent with momentum, a penalty and masks, on all parameters at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from jacprobe.training.plain import Trained


class Descent:
    """Updates of parameters in place: ``v = momentum v + mask gradient + 2 l2 w``, ``w = w - rate v``.

    Removed weights are zero at the start and stay so: the penalty pulls them nowhere.

    Attributes
    ----------
    parameters
        What is trained.
    velocities
        Of each parameter, zero at first.
    """

    def __init__(self, trained: Sequence[Trained], *, momentum: float, l2: float):
        self._momentum, self._l2 = momentum, l2
        self.parameters = [entry.parameter for entry in trained]
        self.velocities = [torch.zeros_like(parameter) for parameter in self.parameters]
        self._masked = [index for index, entry in enumerate(trained) if entry.mask is not None]
        self._free = [index for index, entry in enumerate(trained) if entry.mask is None]
        self._masks = [trained[index].mask for index in self._masked]
        self._penalised = [index for index, entry in enumerate(trained) if entry.penalised and l2]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor], rate: float) -> None:
        """Make one update with gradients in the order of `parameters`."""
        # the functions on lists that torch.optim is made of: one call, or one kernel on a GPU, for all tensors
        torch._foreach_mul_(self.velocities, self._momentum)
        if self._masked:
            torch._foreach_addcmul_(self._of(self.velocities, self._masked), self._of(gradients, self._masked),
                                    self._masks)
        if self._free:
            torch._foreach_add_(self._of(self.velocities, self._free), self._of(gradients, self._free))
        if self._penalised:
            torch._foreach_add_(self._of(self.velocities, self._penalised), self._of(self.parameters, self._penalised),
                                alpha=2 * self._l2)
        torch._foreach_add_(self.parameters, self.velocities, alpha=-rate)

    @staticmethod
    def _of(tensors: Sequence[Tensor], indices: Sequence[int]) -> list[Tensor]:
        return [tensors[index] for index in indices]
