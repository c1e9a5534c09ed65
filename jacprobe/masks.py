"""Masks: which weights of a model are kept, as a read-only value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from jacprobe.errors import DtypeError, ModelError, ShapeError, UnknownNameError
from jacprobe.modelstate import Owned, check_module, copy_model, owned_parameters


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

    def __reduce__(self) -> tuple:
        return Masks, (dict(self._masks),)  # a mapping proxy can be neither pickled nor copied

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
        return (self.num_prunable - self.num_kept) / max(self.num_prunable, 1)

    def layer_sparsity(self) -> dict[str, float]:
        """Removed share of each parameter, by name."""
        return {name: int((~mask).sum()) / max(mask.numel(), 1) for name, mask in self._masks.items()}

    def __repr__(self) -> str:
        counts = f"{self.num_kept} of {self.num_prunable} kept"
        return f"Masks({len(self)} parameters, {counts}, sparsity {self.sparsity:.4g})"

    def apply(self, model: nn.Module) -> nn.Module:
        """Return a copy of `model` whose pruned entries are exactly zero, and stay so under training.

        The masks are kept in the model's state dict, as the buffer of a parametrisation (``KeepMask``). A parameter
        that is masked already keeps the intersection of both masks. Tied parameters are masked at every owner.

        Raises
        ------
        DtypeError, ModelError
            `model` is no module, cannot be copied, or is pruned by ``torch.nn.utils.prune`` where a mask is applied.
        UnknownNameError
            A mask names no parameter of `model`.
        ShapeError
            A mask and its parameter differ in shape.
        """
        check_module(model)
        pruned = copy_model(model)
        owners = owned_parameters(pruned)
        for name, mask in self._masks.items():
            if name not in owners:
                raise UnknownNameError("masks", name, owners, "Masks go by the parameter names of the plain model.")
            tensor = owners[name].tensor
            if tensor.shape != mask.shape:
                raise ShapeError(
                    f"`masks` must match the model's shapes; {name!r} is {tuple(tensor.shape)} in the model and"
                    f" {tuple(mask.shape)} in the masks. Use masks made for this model."
                )
            for owned in owners.values():
                if owned.tensor is tensor:
                    _mask_parameter(owned, mask)
        return pruned

    @classmethod
    def of(cls, model: nn.Module) -> Masks:
        """Return the masks that `model` carries: by ``Masks.apply`` or by ``torch.nn.utils.prune``; maybe none.

        A tied parameter is listed once, under its first name, unless its masks differ.
        """
        found: dict[str, Tensor] = {}
        names: dict[int, str] = {}
        for name, owned in owned_parameters(model).items():
            carried = _carried(owned)
            if not carried:
                continue
            mask = torch.stack([mask != 0 for mask in carried]).all(0)
            first = names.setdefault(id(owned.tensor), name)
            if first == name or not torch.equal(found[first], mask):
                found[name] = mask
        return cls(found)


def _parametrizations(owned: Owned) -> list[nn.Module]:
    parametrized = parametrize.is_parametrized(owned.module, owned.attribute)
    return list(owned.module.parametrizations[owned.attribute]) if parametrized else []


def _carried(owned: Owned) -> list[Tensor]:
    """Return the masks that a parameter has, those of ``torch.nn.utils.prune`` as numbers."""
    if owned.is_torch_pruned():
        return [owned.module._buffers[f"{owned.attribute}_mask"]]
    return [entry.mask for entry in _parametrizations(owned) if isinstance(entry, KeepMask)]


def _mask_parameter(owned: Owned, mask: Tensor) -> None:
    if owned.is_torch_pruned():
        raise ModelError(
            f"`model` must not be pruned by torch.nn.utils.prune where masks are applied; "
            f"{owned.name!r} shows it. Call torch.nn.utils.prune.remove on it first."
        )
    mask = mask.to(owned.tensor.device, copy=True)  # a buffer of its own: loading a state dict writes into it
    carried = _carried(owned)
    if carried:
        carried[0] &= mask
    else:  # unsafe only skips a trial run, which would move the power iteration of a spectral norm
        parametrize.register_parametrization(owned.module, owned.attribute, KeepMask(mask), unsafe=True)
        owned.module.parametrizations.train(owned.module.training)
