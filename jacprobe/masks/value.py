"""The value: a read-only mapping from parameter name to a bool tensor, with counts, set operations and origin."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from html import escape
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from jacprobe.errors import ArgumentError, DtypeError
from jacprobe.masks.application import apply_masks, carried_masks
from jacprobe.masks.comparison import overlap_table
from jacprobe.masks.digest import mask_digest
from jacprobe.masks.fitting import check_alike, check_fits
from jacprobe.modelstate import check_module, owned_parameters
from jacprobe.provenance import plain_facts

if TYPE_CHECKING:
    import pandas as pd


class Masks(Mapping[str, Tensor]):
    """Read-only mapping from parameter name to a bool tensor; True means kept.

    ``a & b``, ``a | b``, ``a - b``, ``a ^ b`` and ``~a`` are the set operations on the kept weights, of masks of the
    same names and shapes; ``a <= b`` says whether every weight that `a` keeps is kept by `b` (nested masks). The
    results have no provenance.

    Parameters
    ----------
    masks
        Bool tensor per qualified parameter name of the plain model. Together they are the prunable set.
    provenance
        Where they come from: strings to values that JSON can hold, such as method, arguments and seed. It takes no
        part in ``==``, `hash` and `digest`.

    Raises
    ------
    DtypeError
        `masks` are no mapping, a name is no text, or a mask is not a bool tensor.
    ArgumentError
        A mask is sparse or holds no numbers; or `provenance` is not plain.

    Examples
    --------
    >>> masks = Masks({"weight": torch.tensor([[True, False], [False, False]])}, {"method": "magnitude"})
    >>> masks.num_prunable, masks.num_kept, masks.sparsity
    (4, 1, 0.75)
    >>> (masks | ~masks).sparsity, masks <= ~masks
    (0.0, False)
    """

    def __init__(self, masks: Mapping[str, Tensor], provenance: Mapping[str, Any] | None = None):
        _check_masks(masks)
        self._masks = MappingProxyType({name: _own(mask) for name, mask in masks.items()})
        self._provenance = plain_facts("provenance", provenance or {})

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Where the masks come from, read-only; maybe empty."""
        return MappingProxyType(copy.deepcopy(self._provenance))

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
        return hash(self.digest)

    def __reduce__(self) -> tuple:
        return Masks, (dict(self._masks), self._provenance)  # a mapping proxy can be neither pickled nor copied

    @cached_property
    def digest(self) -> str:
        """sha256 over names, shapes and kept bits as 64 hexadecimal digits; the same for equal masks, anywhere."""
        return mask_digest(self._masks)

    def __and__(self, other: Masks) -> Masks:
        return self._combined(other, torch.logical_and)

    def __or__(self, other: Masks) -> Masks:
        return self._combined(other, torch.logical_or)

    def __xor__(self, other: Masks) -> Masks:
        return self._combined(other, torch.logical_xor)

    def __sub__(self, other: Masks) -> Masks:
        return self._combined(other, lambda kept, dropped: kept & ~dropped)

    def __invert__(self) -> Masks:
        return Masks({name: ~mask for name, mask in self._masks.items()})

    def _combined(self, other: Masks, operation: Callable[[Tensor, Tensor], Tensor]) -> Masks:
        if not isinstance(other, Masks):
            return NotImplemented
        check_alike(self._masks, other._masks)
        return Masks({name: operation(mask, other._masks[name]) for name, mask in self._masks.items()})

    def __le__(self, other: Masks) -> bool:
        if not isinstance(other, Masks):
            return NotImplemented
        check_alike(self._masks, other._masks)
        return not any((mask & ~other._masks[name]).any() for name, mask in self._masks.items())

    def __lt__(self, other: Masks) -> bool:
        below = self.__le__(other)
        return below if below is NotImplemented else below and self != other

    def __ge__(self, other: Masks) -> bool:
        return other.__le__(self) if isinstance(other, Masks) else NotImplemented

    def __gt__(self, other: Masks) -> bool:
        return other.__lt__(self) if isinstance(other, Masks) else NotImplemented

    @property
    def num_prunable(self) -> int:
        """Number of entries in all masks, the prunable set."""
        return sum(mask.numel() for mask in self._masks.values())

    @property
    def num_kept(self) -> int:
        """Number of True entries."""
        return sum(map(_num_true, self._masks.values()))

    @property
    def sparsity(self) -> float:
        """Removed share of the prunable set, in [0, 1]; 0 for no masks."""
        return (self.num_prunable - self.num_kept) / max(self.num_prunable, 1)

    def layer_sparsity(self) -> dict[str, float]:
        """Removed share of each parameter, by name."""
        return {name: (mask.numel() - _num_true(mask)) / max(mask.numel(), 1) for name, mask in self._masks.items()}

    def __repr__(self) -> str:
        counts = f"{self.num_kept} of {self.num_prunable} kept"
        return f"Masks({len(self)} parameters, {counts}, sparsity {self.sparsity:.4g})"

    def _repr_html_(self) -> str:
        import pandas as pd

        table = pd.DataFrame([{"parameter": name, "shape": "x".join(map(str, mask.shape)), "kept": _num_true(mask),
                               "of": mask.numel(), "sparsity": sparsity}
                              for (name, mask), sparsity in zip(self._masks.items(), self.layer_sparsity().values(),
                                                                strict=True)])
        return f"<p>{escape(repr(self))}</p>" + table.to_html(index=False, border=0, float_format="{:.4g}".format)

    def apply(self, model: nn.Module) -> nn.Module:
        """Return a copy of `model` whose pruned entries are exactly zero, and stay so under training.

        The masks are kept in the model's state dict, as the buffer of a parametrisation (``KeepMask``). A parameter
        that is masked already, also by ``torch.nn.utils.prune``, keeps the intersection of both masks, and the
        weights that its mask hides. Tied parameters are masked at every owner.

        Raises
        ------
        DtypeError, ModelError
            `model` is no module of Python with initialised weights, or cannot be copied.
        UnknownNameError, ShapeError, ArgumentError
            As `assert_fits`.
        """
        return apply_masks(self._masks, model)

    @classmethod
    def of(cls, model: nn.Module) -> Masks:
        """Return the masks that `model` carries: by ``Masks.apply`` or by ``torch.nn.utils.prune``; maybe none.

        A tied parameter is listed once, under its first name, unless its masks differ.

        Raises
        ------
        DtypeError, ModelError
            `model` is no module of Python.
        """
        return cls(carried_masks(model))

    def assert_fits(self, model: nn.Module) -> None:
        """Check that every mask names a parameter of `model` and has its shape.

        Raises
        ------
        DtypeError, ModelError
            `model` is no module with initialised weights.
        UnknownNameError
            A mask names no parameter of `model`.
        ShapeError
            A mask and its parameter differ in shape.
        ArgumentError
            Several masks do not fit; the message lists them.
        """
        check_module(model)
        check_fits(self._masks, {name: owned.tensor for name, owned in owned_parameters(model).items()})

    def overlap(self, other: Masks) -> pd.DataFrame:
        """Compare with other masks of the same names and shapes.

        Returns
        -------
        pandas.DataFrame
            A row per parameter and one named ``total``, with the columns ``parameter, num_weights, kept, other_kept,
            both, both_by_chance, jaccard, agreement``. `both_by_chance` is the mean of `both` over random masks of the
            same counts in each layer; `jaccard` is both / either (1 where neither keeps any); `agreement` the share of
            weights on which both masks say the same.

        Raises
        ------
        DtypeError
            `other` is no `Masks`.
        ArgumentError
            Names or shapes differ.

        Examples
        --------
        >>> masks = Masks({"weight": torch.tensor([True, True, False, False])})
        >>> masks.overlap(~masks).loc[0, ["both", "both_by_chance", "jaccard"]].tolist()
        [0.0, 1.0, 0.0]
        """
        if not isinstance(other, Masks):
            raise DtypeError(f"`other` must be Masks; got {type(other).__name__}. Make them with Masks(...).")
        check_alike(self._masks, other._masks)
        return overlap_table(self._masks, other._masks)


def _check_masks(masks: Mapping[str, Tensor]) -> None:
    if not isinstance(masks, Mapping):
        raise DtypeError(f"`masks` must map parameter names to bool tensors; got {type(masks).__name__}. Pass a dict.")
    for name, mask in masks.items():
        if not isinstance(name, str):
            raise DtypeError(f"`masks` must go by parameter names; got {name!r} ({type(name).__name__}). Use the names"
                             " of model.named_parameters().")
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
            got = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
            raise DtypeError(f"`masks` must hold bool tensors; got {got} for {name!r}. Convert with `mask != 0`.")
        if mask.layout != torch.strided or mask.is_meta:
            got = "meta tensor" if mask.is_meta else f"{mask.layout} tensor"
            raise ArgumentError(f"`masks` must hold dense tensors; {name!r} is a {got}. Pass one with all its entries.")


def _own(mask: Tensor) -> Tensor:
    return mask.detach().cpu().clone(memory_format=torch.contiguous_format)  # as files of tensors need it


def _num_true(mask: Tensor) -> int:
    return int(mask.count_nonzero())  # a sum would make an integer of each entry
