"""The forward pass as a sum over paths: activation functions are left out, and what is known of its graph is kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from jacprobe.modelstate import AFFINE
from jacprobe.pruning.network import Network

_NAMES = ("relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "softplus", "sigmoid", "tanh",
          "hardtanh", "hardsigmoid", "hardswish", "logsigmoid", "softsign", "tanhshrink", "softshrink", "hardshrink",
          "rrelu", "prelu", "threshold", "sin", "dropout", "alpha_dropout", "feature_alpha_dropout", "dropout1d",
          "dropout2d", "dropout3d", "batch_norm")
# what becomes the identity; batch norm is one at its initial statistics, and dropout in evaluation mode
IDENTITIES: frozenset[Callable] = frozenset(
    found for place in (torch, F, Tensor) for name in _NAMES for found in
    (getattr(place, name, None), getattr(place, f"{name}_", None)) if found is not None)


@dataclass(frozen=True)
class Survey:
    """What one pass showed.

    Attributes
    ----------
    cuts
        Numbers of the calls whose result every path from input to output passes through.
    layers
        Per run of a linear or convolutional module, in order, the number of its last call and its name.
    """

    cuts: set[int]
    layers: list[tuple[int, str]]

    def chain(self) -> list[str]:
        """Return the names of the layers on every path, in order, that run once."""
        names = [name for _, name in self.layers]
        return [name for number, name in self.layers if number in self.cuts and names.count(name) == 1]


class Paths(TorchFunctionMode):
    """Run torch functions with activation functions as the identity.

    Without `cuts` it surveys the graph. With them it divides the result of each such call by a power of two near its
    largest entry: all paths pass through it, so that this changes nothing but the unit of the output, and nothing
    overflows however deep the network is.
    """

    def __init__(self, inputs: Tensor, cuts: set[int] | None = None):
        super().__init__()
        self.number, self._cuts = 0, cuts
        self._produced = {id(inputs): 0}
        self._last_use: list[int] = [0]
        self._alone: list[bool] = [False]
        self._held: list[object] = [inputs]  # an address must not come twice

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function in IDENTITIES:
            given = args[0] if args else kwargs["input"]
            result = given.view_as(given)  # a new object: the old one may be used beside it
        else:
            result = function(*args, **kwargs)
        if not _holds_tensor(result):
            return result
        self.number += 1
        if self._cuts is None:
            self._note((args, kwargs), result)
        elif self.number in self._cuts:
            return self._rescaled(result)
        return result

    def _note(self, given: tuple, result: object) -> None:
        arguments = [leaf for leaf in pytree.tree_leaves(given) if isinstance(leaf, Tensor)]
        used = [self._produced[id(leaf)] for leaf in arguments if id(leaf) in self._produced]
        self._last_use.append(self.number)
        results = [leaf for leaf in pytree.tree_leaves(result) if isinstance(leaf, Tensor)]
        written = any(leaf is argument for leaf in results for argument in arguments)
        self._alone.append(bool(used) and isinstance(result, Tensor) and not written)
        for index in used:
            self._last_use[index] = self.number
        if used:
            self._produced.update((id(leaf), self.number) for leaf in results)
            self._held.append(results)

    def _rescaled(self, result: Tensor) -> Tensor:
        largest = float(result.detach().abs().max()) if result.numel() else 0.0
        if not 0 < largest < math.inf:
            return result
        return result * 2.0 ** -math.frexp(largest)[1]

    def cuts(self) -> set[int]:
        """Return the numbers of the results after which nothing older is used."""
        cuts, latest = set(), 0
        for number, last in enumerate(self._last_use):
            if latest <= number and self._alone[number]:
                cuts.add(number)
            latest = max(latest, last)
        return cuts


def _holds_tensor(result: object) -> bool:
    return isinstance(result, Tensor) or (isinstance(result, (tuple, list)) and any(isinstance(x, Tensor)
                                                                                    for x in result))


def survey_paths(network: Network, inputs: Tensor) -> Survey:
    """Return the cuts of the forward pass, and its layers in order; hooks last as long as ``opened``."""
    layers: list[tuple[int, str]] = []
    with torch.no_grad(), Paths(inputs) as paths:
        for name, module in network.model.named_modules():
            if isinstance(module, AFFINE):
                module.register_forward_hook(lambda *_, name=name: layers.append((paths.number, name)))
        network.run(inputs)
    return Survey(paths.cuts(), list(layers))


def run_paths(network: Network, state: dict[str, Tensor], inputs: Tensor, cuts: set[int]) -> Tensor:
    """Return the output of `network` without activation functions, divided by some power of two."""
    with Paths(inputs, cuts):
        return network.run(inputs, state)
