"""How many weights each layer keeps: quotas that sum exactly, from a formula, from densities or from another mask."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from numbers import Real

from torch import Tensor, nn

from jacprobe.errors import ArgumentError, DtypeError, ShapeError, UnknownNameError
from jacprobe.masks import Masks
from jacprobe.modelstate import AFFINE, owned_parameters
from jacprobe.pruning.densities import ALLOCATIONS, Curve, Curves, Layer, times

_WHOLE = 1e-6  # of a weight: closer to a whole number is rounding

DensityFn = Callable[[dict[str, tuple[int, ...]], float], Mapping[str, float]]
Allocation = str | Masks | Mapping[str, float] | DensityFn


class Allocator:
    """Quotas of every round of a schedule.

    Parameters
    ----------
    allocation
        A name of `ALLOCATIONS`; masks, whose counts are the quotas; densities by name; or a callable
        ``(shapes, density)`` that returns such densities.
    layers
        The prunable set.
    num_kept
        Number kept at the end. Quotas from masks and densities are met there; rounds before it keep them in
        proportion, at most all.
    floors
        Number that each parameter keeps at least.

    Raises
    ------
    UnknownNameError, DtypeError
        There is no such allocation, or it is none.
    ArgumentError
        Densities leave out a parameter, lie outside [0, 1], or do not sum to `num_kept`.
    """

    def __init__(self, allocation: Allocation, layers: list[Layer], *, num_kept: int, floors: Mapping[str, int]):
        self.layers, self.floors = layers, floors
        self._final, self._name = None, "given quotas"
        if isinstance(allocation, str):
            if allocation not in ALLOCATIONS:
                raise UnknownNameError("allocation", allocation, ALLOCATIONS,
                                       "Or pass masks, densities by name, or a callable.")
            self._name = allocation
        else:
            self._final = _given(allocation, layers, num_kept)

    def quotas(self, num_kept: int, most: Mapping[str, int]) -> dict[str, int] | None:
        """Return the number to keep of each parameter, of which `most` are left; None for one threshold over all.

        Raises
        ------
        ArgumentError
            No quotas within the bounds sum to `num_kept`.
        """
        if self._final is not None:
            curves = {layer.name: _towards(self._final[layer.name], layer, most[layer.name]) for layer in self.layers}
        elif ALLOCATIONS[self._name] is None:
            return None
        else:
            curves = ALLOCATIONS[self._name](self.layers, most)
        for name, curve in curves.items():
            floor = min(self.floors.get(name, 0), most[name])
            curves[name] = Curve(curve.rising, max(curve.least, floor), max(curve.most, floor))
        if num_kept > sum(curve.most for curve in curves.values()):  # a fixed share gives way where all others are full
            curves = {name: Curve(curve.rising, curve.most, most[name]) for name, curve in curves.items()}
        return _solve(curves, num_kept, self._name)


class Shares:
    """The allocation of each of several runs of pruning, the last of which shall end at `allocation`.

    A name is one for every run. Masks and densities say what is kept in the end; before it, what is kept is in
    proportion, at most all.
    """

    def __init__(self, allocation: Allocation, layers: list[Layer], num_kept: int):
        self._name = allocation if isinstance(allocation, str) else None
        self._allocator = Allocator(allocation, layers, num_kept=num_kept, floors={})

    def of(self, num_kept: int, masks: Mapping[str, Tensor]) -> str | dict[str, float]:
        """Return a name or densities for the run that ends with `num_kept` weights, of those that `masks` keep."""
        if self._name is not None:
            return self._name
        layers = self._allocator.layers
        most = {layer.name: int(masks[layer.name].count_nonzero()) if layer.name in masks else layer.size
                for layer in layers}
        quotas = self._allocator.quotas(num_kept, most)
        return {layer.name: quotas[layer.name] / max(layer.size, 1) for layer in layers}


def layers_of(model: nn.Module, names: list[str]) -> list[Layer]:
    """Return the parameters of the prunable set with what an allocation asks of them."""
    owned = owned_parameters(model)
    positions = {id(module): number for number, module in enumerate(model.modules())}
    found = []
    for name in names:
        module = owned[name].module
        kind = "linear" if isinstance(module, nn.Linear) else "conv" if isinstance(module, AFFINE) else "other"
        found.append(Layer(name, tuple(owned[name].tensor.shape), positions[id(module)], kind,
                           owned[name].attribute == "bias"))
    return found


def _solve(curves: Curves, total: int, name: str) -> dict[str, int]:
    """Return whole numbers that sum to `total`, from one scale for all curves, by bisection."""
    least, most = (sum(getattr(curve, end) for curve in curves.values()) for end in ("least", "most"))
    if not least <= total <= most:
        raise ArgumentError(f"`allocation` {name!r} must be able to keep {total} weights; its layers keep {least} to"
                            f" {most}. Change `sparsity`, `min_kept` or the allocation.")
    low, high = -700.0, 700.0  # of the logarithm; exp stays finite, and every curve reaches both its ends
    for _ in range(200):
        middle = (low + high) / 2
        short = sum(curve(math.exp(middle)) for curve in curves.values()) < total
        low, high = (middle, high) if short else (low, middle)
    return _rounded({key: curve(math.exp(high)) for key, curve in curves.items()}, total)


def _rounded(targets: Mapping[str, float], total: int) -> dict[str, int]:
    """Return whole numbers that sum to `total` by the largest remainder method; of equal ones the first get more."""
    found = {name: math.floor(target + _WHOLE) for name, target in targets.items()}
    remainders = sorted(targets, key=lambda name: (found[name] - targets[name], list(targets).index(name)))
    for name in remainders[: total - sum(found.values())]:
        found[name] += 1
    return found


def _given(allocation: object, layers: list[Layer], total: int) -> dict[str, int]:
    """Return the quotas that masks or densities say.

    Raises
    ------
    DtypeError, ArgumentError
        They are no densities of these layers, or do not sum to `total`.
    """
    sizes = {layer.name: layer.size for layer in layers}
    densities = _densities(allocation, layers, total / max(sum(sizes.values()), 1))
    for name, density in densities.items():
        if not isinstance(density, Real) or not 0 <= density <= 1:
            raise ArgumentError(f"`allocation` must give densities in [0, 1]; got {density!r} for {name!r}."
                                " Density is the share that is kept.")
    targets = {name: float(densities[name]) * size for name, size in sizes.items()}
    fewest = sum(math.floor(target + _WHOLE) for target in targets.values())
    highest = sum(math.ceil(target - _WHOLE) for target in targets.values())
    if not fewest <= total <= highest:
        kept, num = sum(targets.values()), sum(sizes.values())
        raise ArgumentError(f"`allocation` must keep the {total} weights that `sparsity` leaves; it keeps"
                            f" {round(kept)} of {num}. Pass sparsity={(num - round(kept)) / num}, or other densities.")
    return _rounded(targets, total)


def _densities(allocation: object, layers: list[Layer], density: float) -> dict[str, float]:
    """Return the densities by name that masks, a mapping or a callable say, those of all layers and no other."""
    shapes = {layer.name: layer.shape for layer in layers}
    found = allocation(dict(shapes), density) if callable(allocation) else allocation
    if not isinstance(found, Mapping):
        raise DtypeError(f"`allocation` must be a name, masks, densities by name or a callable that returns them;"
                         f" got {type(found).__name__}. Map each parameter name to its density.")
    if found.keys() != shapes.keys():
        missing, extra = sorted(shapes.keys() - found.keys())[:5], sorted(found.keys() - shapes.keys())[:5]
        raise ArgumentError("`allocation` must give a density for each parameter of the prunable set and no other;"
                            f" got none for {missing}, and some for {extra}. Use the set's names.")
    if not isinstance(found, Masks):
        return dict(found)
    for name, shape in shapes.items():
        if found[name].shape != shape:
            raise ShapeError(f"`allocation` must have the model's shapes; {name!r} is {shape} in the model and"
                             f" {tuple(found[name].shape)} in the masks. Use masks made for this model.")
    return {name: int(mask.count_nonzero()) / max(mask.numel(), 1) for name, mask in found.items()}


def _towards(quota: int, layer: Layer, most: int) -> Curve:
    """Return quotas in proportion to the last ones, which are the fewest; what ends empty comes last."""
    if quota > most:
        raise ArgumentError(f"`allocation` must not keep what the model's own masks remove; {layer.name!r} shall keep"
                            f" {quota} and has {most} left. Lower its density.")
    return Curve(times(max(quota, 1e-9 * layer.size)), quota, most)
