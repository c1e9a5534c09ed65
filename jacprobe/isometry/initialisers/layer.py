"""What an initialiser sees of a layer, and what it gives back."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from jacprobe.errors import ModelError
from jacprobe.isometry.checks import check_weight
from jacprobe.modelstate import AFFINE, plain_name, unwrapped


@dataclass(frozen=True)
class Layer:
    """A linear or convolutional `module` and its qualified `name`, empty where the module is the whole model.

    The weight is `groups` blocks of shape (rows, cols, *kernel), one below the other. A row is an output channel, and
    of a transposed convolution, which is the adjoint of a convolution with that weight, an input channel: the singular
    values are those of the convolution from cols to rows.
    """

    name: str
    module: nn.Module

    def parameter(self, attribute: str = "weight") -> str:
        """Return the qualified name of a parameter of the module."""
        return plain_name(f"{self.name}.{attribute}" if self.name else attribute)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the weight."""
        return tuple(self.module.weight.shape)

    @property
    def groups(self) -> int:
        """Number of blocks; 1 for a linear layer."""
        return getattr(self.module, "groups", 1)

    @property
    def rows(self) -> int:
        """Of one block."""
        return self.shape[0] // self.groups

    @property
    def cols(self) -> int:
        """Of one block."""
        return self.shape[1]

    @property
    def kernel(self) -> tuple[int, ...]:
        """Number of taps along each spatial axis; empty for a linear layer."""
        return self.shape[2:]

    @property
    def centre(self) -> tuple[int, ...]:
        """The middle tap; of an even number the one before, which "same" padding puts on the position itself."""
        return tuple((size - 1) // 2 for size in self.kernel)

    @property
    def transposed(self) -> bool:
        """Whether it is a transposed convolution."""
        return getattr(self.module, "transposed", False)

    @property
    def fan_in(self) -> int:
        """Number of weights into one output channel at one position (of stride 1, where it is transposed)."""
        return (self.rows if self.transposed else self.cols) * math.prod(self.kernel)

    @property
    def fan_out(self) -> int:
        """Number of weights out of one input channel, which feeds its own group only."""
        return (self.cols if self.transposed else self.rows) * math.prod(self.kernel)

    def assembled(self, blocks: Sequence[Tensor]) -> Tensor:
        """Return the weight of which `blocks`, (rows, cols, *kernel) each, are the groups."""
        return torch.cat(list(blocks)).reshape(self.shape)

    def at_centre(self, blocks: Sequence[Tensor]) -> Tensor:
        """Return the weight that is zero but at the middle tap, where each group has its block, (rows, cols)."""
        weight = torch.zeros(self.shape, dtype=blocks[0].dtype)
        weight[(..., *self.centre)] = torch.cat(list(blocks))
        return weight


@dataclass(frozen=True, eq=False)
class Drawn:
    """New values of a layer: its `weight` and `bias`, float64, None for zeros, and `masks` of them by attribute."""

    weight: Tensor
    bias: Tensor | None = None
    masks: Mapping[str, Tensor] = field(default_factory=dict)


Draw = Callable[[Layer, torch.Generator], Drawn]


def affine_layers(model: nn.Module) -> list[Layer]:
    """Return the linear and convolutional layers of the model inside its wrappers, in the order of registration.

    Raises
    ------
    ModelError, DtypeError
        The weight or bias of one is masked or otherwise derived; a weight has no entries or is complex.
    """
    layers = []
    for name, module in unwrapped(model).named_modules():
        if not isinstance(module, AFFINE):
            continue
        for attribute in ("weight", "bias"):
            if attribute not in module._parameters:
                raise ModelError(f"`model` must have plain parameters; the {attribute} of {name!r} is masked or"
                                 " computed from others. Initialise before pruning.")
        layers.append(Layer(name, module))
        check_weight(layers[-1].parameter(), module.weight)
    return layers
