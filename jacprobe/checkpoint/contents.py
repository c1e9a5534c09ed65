"""What a model file holds, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from jacprobe.masks import Masks

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


class LayerRow(NamedTuple):
    """One weight of at least two dimensions."""

    name: str
    shape: tuple[int, ...]
    sparsity: float


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The content of a model file, read without running any of it.

    Parameters
    ----------
    path
        The file.
    format
        "jacprobe checkpoint", "state dict", "safetensors" or "pickled module".
    sha256
        Of the file's bytes.
    size
        Bytes.
    spec
        Name and arguments of one of jacprobe's networks; jacprobe checkpoints only.
    state_dict
        Tensors by plain parameter name, exactly zero where masked; None for a pickled module.
    masks
        Masks found in the file, maybe none.
    module
        The pickled module, without pruning hooks and with zeros where masked; None for all other files.
    input_shape
        Shape of one input; jacprobe checkpoints only.
    provenance
        Facts that the writer noted.
    notes
        What was changed or chosen while reading.
    """

    path: Path
    format: str
    sha256: str
    size: int
    spec: Mapping[str, Any] | None = None
    state_dict: Mapping[str, Tensor] | None = field(default=None, repr=False)
    masks: Masks = field(default_factory=lambda: Masks({}))
    module: nn.Module | None = field(default=None, repr=False)
    input_shape: tuple[int, ...] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = ()

    @property
    def parameters(self) -> dict[str, Tensor]:
        """Parameters by plain name. In a state dict: every tensor but the statistics of normalisation layers."""
        if self.module is not None:
            return dict(self.module.named_parameters())
        return {name: t for name, t in self.state_dict.items() if name.rpartition(".")[2] not in _STATISTICS}

    @property
    def num_parameters(self) -> int:
        """Number of entries of all parameters, removed ones included."""
        return sum(tensor.numel() for tensor in self.parameters.values())

    @property
    def layers(self) -> list[LayerRow]:
        """The weights of two and more dimensions: name, shape, and share removed by the mask, else of exact zeros."""
        rows = []
        for name, tensor in self.parameters.items():
            if tensor.ndim >= 2:
                removed = ~self.masks[name] if name in self.masks else tensor.detach() == 0
                rows.append(LayerRow(name, tuple(tensor.shape), int(removed.sum()) / max(tensor.numel(), 1)))
        return rows
