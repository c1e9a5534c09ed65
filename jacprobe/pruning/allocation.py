"""How many weights each layer keeps: quotas that sum exactly, from a formula, from densities or from another mask."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import NamedTuple

from torch import nn

from jacprobe.errors import ArgumentError, DtypeError, ShapeError, UnknownNameError
from jacprobe.masks import Masks
from jacprobe.modelstate import AFFINE, owned_parameters

_WHOLE = 1e-6  # of a weight: closer to a whole number is rounding


class Layer(NamedTuple):
    """A parameter of the prunable set as an allocation sees it; a layer and its bias have one `position`."""

    name: str
    shape: tuple[int, ...]
    position: int
    kind: str  # "conv", "linear" or "other"
    is_bias: bool = False

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Curve:
    """Number kept of one parameter as it grows with a scale that all share, between `least` and `most`."""

    rising: Callable[[float], float]
    least: int
    most: int

    def __call__(self, scale: float) -> float:
        return min(max(self.rising(scale), self.least), self.most)


Curves = dict[str, Curve]
DensityFn = Callable[[dict[str, tuple[int, ...]], float], Mapping[str, float]]
Allocation = str | Masks | Mapping[str, float] | DensityFn


def uniform(layers: list[Layer], most: Mapping[str, int]) -> Curves:
    """Return equal densities."""
    return {layer.name: Curve(_times(layer.size), 0, most[layer.name]) for layer in layers}


def erk(layers: list[Layer], most: Mapping[str, int]) -> Curves:
    """Return densities in proportion to the sum over the product of a parameter's sizes, at most 1.

    What a dense layer cannot take goes to the others. References: Erdős-Rényi-Kernel, Evci et al. 2020, section 3.
    """
    return {layer.name: Curve(_times(sum(layer.shape) or 1), 0, most[layer.name]) for layer in layers}


def uniform_plus(layers: list[Layer], most: Mapping[str, int]) -> Curves:
    """Return equal densities, except that the first convolution stays dense and the last fully connected layer keeps
    at least 20 %, each with its bias. References: Gale et al. 2019, section 3.
    """
    curves = uniform(layers, most)
    for layer in _at(layers, _first("conv", layers)):
        curves[layer.name] = Curve(_times(layer.size), most[layer.name], most[layer.name])
    for layer in _at(layers, _last("linear", layers)):
        least = min(math.ceil(0.2 * layer.size), most[layer.name])
        curves[layer.name] = Curve(_times(layer.size), least, most[layer.name])
    return curves


def igq(layers: list[Layer], most: Mapping[str, int]) -> Curves:
    """Return densities 1 / (1 + F n) of parameters of n entries, with F as the total asks for.

    References: ideal gas quotas, Vysogorets and Kempe 2023, section 4.
    """
    return {layer.name: Curve(_gas(layer.size), 0, most[layer.name]) for layer in layers}


def smart_ratio(layers: list[Layer], most: Mapping[str, int]) -> Curves:
    """Return densities in proportion to (L - l)^2 + (L - l) for layer l of L, at most 1, and 0.3 for the last fully
    connected layer, more only where all others are dense already.

    Layers count from 0 in the order in which the model registers them, without the last fully connected one.
    References: Su et al. 2020, section 4.1.
    """
    last = _last("linear", layers)
    positions = sorted({layer.position for layer in layers} - {last})
    curves = {}
    for layer in layers:
        if layer.position == last:
            share = min(round(0.3 * layer.size), most[layer.name])
            curves[layer.name] = Curve(_times(layer.size), share, share)
        else:
            rest = len(positions) - positions.index(layer.position)
            curves[layer.name] = Curve(_times((rest**2 + rest) * layer.size), 0, most[layer.name])
    return curves


ALLOCATIONS: dict[str, Callable[[list[Layer], Mapping[str, int]], Curves] | None] = {
    "global": None,
    "uniform": uniform,
    "erk": erk,
    "uniform-plus": uniform_plus,
    "igq": igq,
    "smart-ratio": smart_ratio,
}


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
        raise ArgumentError(f"`allocation` must keep the {total} weights that `sparsity` leaves; it keeps {kept:.6g} of"
                            f" {num}. Pass sparsity={1 - kept / num:.6g}, or other densities.")
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
    return Curve(_times(max(quota, 1e-9 * layer.size)), quota, most)


def _times(factor: float) -> Callable[[float], float]:
    return lambda scale: factor * scale


def _gas(size: int) -> Callable[[float], float]:
    return lambda scale: size / (1 + size / scale)


def _at(layers: list[Layer], position: int | None) -> list[Layer]:
    return [layer for layer in layers if layer.position == position]


def _first(kind: str, layers: list[Layer]) -> int | None:
    return min((layer.position for layer in layers if layer.kind == kind), default=None)


def _last(kind: str, layers: list[Layer]) -> int | None:
    return max((layer.position for layer in layers if layer.kind == kind), default=None)
