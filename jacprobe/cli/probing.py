"""What the commands share that probe model files: the model and its inputs, the result with its sources."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import nn

    from jacprobe.checkpoint import Checkpoint
    from jacprobe.results import SpectrumSet

_NUM_INPUTS = 100


@dataclass(frozen=True)
class Inputs:
    """Which inputs to probe on: those of `jacprobe.load_data`, but at most 100 where `num` does not say more."""

    data: str = "random"
    split: str = "train"
    num: int | None = None
    root: Path | None = None
    seed: int | None = None

    def samples(self, shape: tuple[int, ...] | None) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return images, and labels where there are any; random images have this shape."""
        import jacprobe as jp
        from jacprobe.errors import ArgumentError

        if self.data == "random" and shape is None:
            raise ArgumentError("`data` must be named where the file tells no input shape; got none. Pass --data"
                                " digits, an array file, or --input-shape for random inputs.")
        wanted = self.num if self.num is not None or Path(self.data).suffix else _NUM_INPUTS
        images, labels = jp.load_data(self.data, split=self.split, num=wanted, root=self.root, seed=self.seed,
                                      input_shape=shape, progress=True)
        num = len(images) if self.num is not None else _NUM_INPUTS
        return images[:num], None if labels is None else labels[:num]

    @property
    def facts(self) -> dict[str, object]:
        """For the provenance of a result."""
        from jacprobe.data.standard import STANDARD_NAMES

        split = self.split if self.data in STANDARD_NAMES else None
        return {"data": shared_name(self.data), "split": split, "seed": self.seed}


@dataclass(frozen=True)
class Subject:
    """The model of a file and the inputs to probe it on."""

    file: Path
    checkpoint: Checkpoint
    net: nn.Module
    images: torch.Tensor
    labels: torch.Tensor | None
    inputs: Inputs

    def spectra(self, **arguments: object) -> SpectrumSet:
        """Return its spectra with the facts of the file and the data; notes on the file go to stderr."""
        import jacprobe as jp

        result = jp.spectra(self.net, self.images, **arguments)
        for note in self.checkpoint.notes:
            print(f"{self.file.name}: {note}", file=sys.stderr)
        facts = {"file": self.file.name, "sha256": self.checkpoint.sha256, "format": self.checkpoint.format}
        return dataclasses.replace(result, model={**facts, **result.model},
                                   provenance={**self.inputs.facts, **result.provenance})


def read_subject(file: Path, inputs: Inputs, *, model: str | None, asked: tuple[int, ...] | None, trust_file: bool,
                 is_for_weights: bool = False) -> Subject:
    """Return the model of `file` with inputs that fit it.

    `asked` is the shape that --input-shape names; `is_for_weights` keeps `model` for files that bring no network.
    """
    import jacprobe as jp
    from jacprobe.checkpoint import build_model
    from jacprobe.errors import ArgumentError

    checkpoint = jp.read_checkpoint(file, trust_file=trust_file)
    shape = asked or checkpoint.input_shape
    images, labels = inputs.samples(shape)
    if shape is not None and tuple(images.shape[1:]) != tuple(shape):
        raise ArgumentError(f"`data` must have samples of shape {tuple(shape)}, as {'--input-shape' if asked else file}"
                            f" says; {inputs.data} has {tuple(images.shape[1:])}. Choose other data.")
    has_own = checkpoint.module is not None or checkpoint.spec is not None
    model = None if is_for_weights and has_own else model
    net = build_model(checkpoint, model=model, input_shape=shape or tuple(images.shape[1:]))
    return Subject(file, checkpoint, net, images, labels, inputs)


def shared_name(data: str) -> str:
    """Return a path as others may see it: of an absolute one, which may name a user, only the name.

    Examples
    --------
    >>> shared_name("/home/ada/images.npy"), shared_name("data/images.npy"), shared_name("digits")
    ('images.npy', 'data/images.npy', 'digits')
    """
    return Path(data).name if Path(data).is_absolute() else data


def solver_arguments(**options: object) -> Mapping[str, object]:
    """Return the options that were given, as arguments of `jacprobe.spectra`, which has its own defaults."""
    return {name: value for name, value in options.items() if value is not None}


def inputs_label(result: SpectrumSet) -> str:
    """Say on which inputs this was probed, as far as it tells."""
    facts = result.provenance
    num = facts.get("num_inputs", max((s.num_inputs for s in result), default=0))
    if facts.get("data") is None:
        return f"{num} inputs"
    if facts["data"] == "random":
        return f"{num} random inputs (standard normal, not data; see --data)"
    return f"{num} inputs from {facts['data']}" + (f" ({facts['split']})" if facts.get("split") else "")
