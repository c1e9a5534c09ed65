"""Masks: which weights of a model are kept, as a read-only value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from jacprobe.errors import DtypeError, ModelError, ShapeError, UnknownNameError
from jacprobe.modelstate import copy_model, plain_name


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


class Masks(Mapping[str, Tensor]):
    """Read-only mapping from parameter name to a bool tensor; True means kept.

    Parameters
    ----------
    masks
        Bool tensor per qualified parameter name of the plain model. Together they are the prunable set.

    Raises
    ------
    DtypeError
        A mask is not a bool tensor.

    Examples
    --------
    >>> masks = Masks({"weight": torch.tensor([[True, False], [False, False]])})
    >>> masks.num_prunable, masks.num_kept, masks.sparsity
    (4, 1, 0.75)
    """

    def __init__(self, masks: Mapping[str, Tensor]):
        for name, mask in masks.items():
            if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
                got = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
                raise DtypeError(f"`masks` must hold bool tensors; got {got} for {name!r}. Convert with `mask != 0`.")
        self._masks = MappingProxyType({name: mask.detach().cpu().clone() for name, mask in masks.items()})

    def __getitem__(self, name: str) -> Tensor:
        return self._masks[name].clone()  # a caller may write to what it got, not to the masks

    def __iter__(self) -> Iterator[str]:
        return iter(self._masks)

    def __len__(self) -> int:
        return len(self._masks)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Masks):
            return NotImplemented
        return self.keys() == other.keys() and all(torch.equal(self._masks[k], other._masks[k]) for k in self._masks)

    def __hash__(self) -> int:
        return hash(tuple((name, mask.numpy().tobytes()) for name, mask in sorted(self._masks.items())))

    @property
    def num_prunable(self) -> int:
        """Number of entries in all masks, the prunable set."""
        return sum(mask.numel() for mask in self._masks.values())

    @property
    def num_kept(self) -> int:
        """Number of True entries."""
        return sum(int(mask.sum()) for mask in self._masks.values())

    @property
    def sparsity(self) -> float:
        """Removed share of the prunable set, in [0, 1]; 0 for no masks."""
        return 1 - self.num_kept / self.num_prunable if self.num_prunable else 0.0

    def layer_sparsity(self) -> dict[str, float]:
        """Removed share of each parameter, by name."""
        return {name: 1 - int(mask.sum()) / mask.numel() for name, mask in self._masks.items()}

    def __repr__(self) -> str:
        return f"Masks({len(self)} parameters, {self.num_kept} of {self.num_prunable} kept, sparsity {self.sparsity:.4g})"

    def apply(self, model: nn.Module) -> nn.Module:
        """Return a copy of `model` whose pruned entries are exactly zero, and stay so under training.

        The masks are kept in the model's state dict, as the buffer of a parametrisation (``KeepMask``). A parameter
        that is masked already keeps the intersection of both masks. Tied parameters are masked at every owner.

        Raises
        ------
        UnknownNameError
            A mask names no parameter of `model`.
        ShapeError
            A mask and its parameter differ in shape.
        """
        pruned = copy_model(model)
        owners = _owners(pruned)
        for name, mask in self._masks.items():
            if name not in owners:
                raise UnknownNameError("masks", name, owners, "Masks go by the parameter names of the plain model.")
            tensor = owners[name][0]
            if tensor.shape != mask.shape:
                raise ShapeError(
                    f"`masks` must match the model's shapes; {name!r} is {tuple(tensor.shape)} in the model and"
                    f" {tuple(mask.shape)} in the masks. Use masks made for this model."
                )
            for _, module, attribute in [entry for entry in owners.values() if entry[0] is tensor]:
                _mask_parameter(module, attribute, mask)
        return pruned

    @classmethod
    def of(cls, model: nn.Module) -> Masks:
        """Return the masks that `model` carries: by ``Masks.apply`` or by ``torch.nn.utils.prune``; maybe none."""
        found: dict[str, Tensor] = {}
        for prefix, module in model.named_modules():
            for name, buffer in module.named_buffers(recurse=False):
                if isinstance(module, KeepMask):
                    owner, _, rest = prefix.rpartition("parametrizations.")
                    name = owner + rest.rpartition(".")[0]
                elif name.endswith("_mask") and f"{name[:-5]}_orig" in module._parameters:
                    name = f"{prefix}.{name[:-5]}".lstrip(".")
                else:
                    continue
                found[name] = found.get(name, True) & (buffer != 0)
        return cls(found)


def _owners(model: nn.Module) -> dict[str, tuple[Tensor, nn.Module, str]]:
    """Map each plain parameter name to its tensor, its module and its attribute there."""
    owners = {}
    for name, tensor in model.named_parameters(remove_duplicate=False):
        plain = plain_name(name)
        prefix, _, attribute = plain.rpartition(".")
        owners[plain] = (tensor, model.get_submodule(prefix), attribute)
    return owners


def _mask_parameter(module: nn.Module, attribute: str, mask: Tensor) -> None:
    if parametrize.is_parametrized(module, attribute):
        for parametrization in module.parametrizations[attribute]:
            if isinstance(parametrization, KeepMask):
                parametrization.mask &= mask.to(parametrization.mask.device)
                return
    if f"{attribute}_orig" in module._parameters:
        raise ModelError(
            f"`model` must not be pruned by torch.nn.utils.prune where masks are applied; {attribute!r} of"
            f" {type(module).__name__} is. Call torch.nn.utils.prune.remove on it first."
        )
    device = getattr(module, attribute).device
    parametrize.register_parametrization(module, attribute, KeepMask(mask.to(device)))
