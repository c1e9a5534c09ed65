"""Formulas that say how dense each layer shall be, as curves that rise with one scale for all layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple


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


def uniform(layers: list[Layer], most: Mapping[str, int]) -> Curves:
    """Return equal densities."""
    return {layer.name: Curve(times(layer.size), 0, most[layer.name]) for layer in layers}


def erk(layers: list[Layer], most: Mapping[str, int]) -> Curves:
    """Return densities in proportion to the sum over the product of a parameter's sizes, at most 1.

    What a dense layer cannot take goes to the others. References: Erdős-Rényi-Kernel, Evci et al. 2020.
    """
    return {layer.name: Curve(times(sum(layer.shape) or 1), 0, most[layer.name]) for layer in layers}


def uniform_plus(layers: list[Layer], most: Mapping[str, int]) -> Curves:
    """Return equal densities, except that the first convolution stays dense and the last fully connected layer keeps
    at least 20 %, each with its bias. References: Gale et al. 2019.
    """
    curves = uniform(layers, most)
    for layer in _at(layers, _first("conv", layers)):
        curves[layer.name] = Curve(times(layer.size), most[layer.name], most[layer.name])
    for layer in _at(layers, _last("linear", layers)):
        least = min(math.ceil(0.2 * layer.size), most[layer.name])
        curves[layer.name] = Curve(times(layer.size), least, most[layer.name])
    return curves


def igq(layers: list[Layer], most: Mapping[str, int]) -> Curves:
    """Return densities 1 / (1 + F n) of parameters of n entries, with F as the total asks for.

    References: ideal gas quotas, Vysogorets and Kempe 2023.
    """
    return {layer.name: Curve(_gas(layer.size), 0, most[layer.name]) for layer in layers}


def smart_ratio(layers: list[Layer], most: Mapping[str, int]) -> Curves:
    """Return densities in proportion to (L - l)^2 + (L - l) for layer l of L, at most 1, and 0.3 for the last fully
    connected layer, more only where all others are dense already.

    Layers count from 0 in the order in which the model registers them, without the last fully connected one.
    References: Su et al. 2020.
    """
    last = _last("linear", layers)
    positions = sorted({layer.position for layer in layers} - {last})
    curves = {}
    for layer in layers:
        if layer.position == last:
            share = min(round(0.3 * layer.size), most[layer.name])
            curves[layer.name] = Curve(times(layer.size), share, share)
        else:
            rest = len(positions) - positions.index(layer.position)
            curves[layer.name] = Curve(times((rest**2 + rest) * layer.size), 0, most[layer.name])
    return curves


ALLOCATIONS: dict[str, Callable[[list[Layer], Mapping[str, int]], Curves] | None] = {
    "global": None,
    "uniform": uniform,
    "erk": erk,
    "uniform-plus": uniform_plus,
    "igq": igq,
    "smart-ratio": smart_ratio,
}


def times(factor: float) -> Callable[[float], float]:
    return lambda scale: factor * scale


def _gas(size: int) -> Callable[[float], float]:
    return lambda scale: size / (1 + size / scale)


def _at(layers: list[Layer], position: int | None) -> list[Layer]:
    return [layer for layer in layers if layer.position == position]


def _first(kind: str, layers: list[Layer]) -> int | None:
    return min((layer.position for layer in layers if layer.kind == kind), default=None)


def _last(kind: str, layers: list[Layer]) -> int | None:
    return max((layer.position for layer in layers if layer.kind == kind), default=None)
