"""In which numbers the network runs while it trains, and gradients that do not underflow in them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from jacprobe.errors import ArgumentError


class Precision:
    """The precision of one training.

    Parameters
    ----------
    name
        "float32" for the dtype of the model, "mixed" for bfloat16, or float16 on a GPU that lacks it.
    device
        Where the network is.

    Attributes
    ----------
    scale
        How the loss is scaled for its gradients; None where it need not be.

    Raises
    ------
    ArgumentError
        "mixed" is asked for without a GPU.
    """

    def __init__(self, name: str, device: torch.device):
        self._dtype: torch.dtype | None = None
        self._device = device.type
        if name == "mixed":
            if device.type != "cuda":
                raise ArgumentError(f"`precision` must be 'float32' on {device.type!r}; got 'mixed'. Pass device='cuda'"
                                    " where there is a GPU.")
            self._dtype = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
        self.scale = LossScale() if self._dtype == torch.float16 else None

    def running(self) -> AbstractContextManager:
        """Return the context in which the network runs."""
        return nullcontext() if self._dtype is None else torch.autocast(self._device, self._dtype)

    def gradients(self, loss: Tensor, parameters: Sequence[Tensor]) -> Sequence[Tensor] | None:
        """Return the gradients of `loss`, zeros for what it does not depend on; None if this step must be left out."""
        if self.scale is None:
            return torch.autograd.grad(loss, parameters, materialize_grads=True)
        scaled = torch.autograd.grad(loss * self.scale.factor, parameters, materialize_grads=True)
        return self.scale.unscaled(scaled)


class LossScale:
    """A factor of the loss that keeps float16 gradients from underflow: halved at overflow, doubled after a while.

    References
    ----------
    Micikevicius et al., "Mixed Precision Training", ICLR 2018; the numbers are those of ``torch.amp.GradScaler``.
    """

    def __init__(self, factor: float = 65536.0, patience: int = 2000):
        self.factor, self.num_good, self._patience = factor, 0, patience

    def unscaled(self, scaled: Sequence[Tensor]) -> Sequence[Tensor] | None:
        """Return the gradients without the factor, or None where one has overflowed."""
        if not torch.stack([gradient.isfinite().all() for gradient in scaled]).all():
            self.factor, self.num_good = self.factor / 2, 0
            return None
        gradients = torch._foreach_div(scaled, self.factor)
        self.num_good += 1
        if self.num_good == self._patience:
            self.factor, self.num_good = self.factor * 2, 0
        return gradients
