"""The parametrisation by which a model carries a mask."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


class KeepMask(nn.Module):
    """Parametrisation that shows a tensor with the entries outside `mask` exactly zero.

    `mask` is a persistent buffer, so the state dict carries it. ``torch.where`` rather than a product: an infinite
    hidden entry must not become NaN, and no gradient reaches a pruned entry.
    """

    mask: Tensor

    def __init__(self, mask: Tensor):
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, tensor: Tensor) -> Tensor:
        return torch.where(self.mask, tensor, 0)


def hold_mask(module: nn.Module, attribute: str, mask: Tensor) -> None:
    """Let `module` show its parameter `attribute` through a `KeepMask`, in place, and still be pickled and copied."""
    # unsafe only skips a trial run, which would move the power iteration of a spectral norm
    parametrize.register_parametrization(module, attribute, KeepMask(mask), unsafe=True)
    module.parametrizations.train(module.training)
    _keep_copyable(type(module))


def _keep_copyable(made: type[nn.Module]) -> None:
    """Let modules of a class that torch made for one of them be pickled, and be copied with a class of their own."""
    made.__reduce_ex__ = _reduced
    if "__deepcopy__" in vars(made):  # torch's: the copy would share the class, and lose what the original loses
        del made.__deepcopy__


def _reduced(module: nn.Module, protocol: int) -> tuple:
    """Return how to make the module again, as pickle and copy want it: its plain class, masked names and state."""
    plain = type(module).__bases__[0]
    with torch.no_grad():  # a recurrent module takes its weights anew here; results of a graph cannot be copied
        state = plain.__getstate__(module)
    return _remade, (plain, tuple(module.parametrizations)), state


def _remade(plain: type[nn.Module], attributes: tuple[str, ...]) -> nn.Module:
    """Return an empty module of a parametrised class of its own; its state comes afterwards."""
    module = plain.__new__(plain)
    parametrize._inject_new_class(module)
    for attribute in attributes:
        parametrize._inject_property(module, attribute)
    _keep_copyable(type(module))
    return module
