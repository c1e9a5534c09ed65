"""What the commands share that score weights: the model of a file, the data, the arguments of a score."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer

if TYPE_CHECKING:
    from torch import Tensor, nn

    from jacprobe.checkpoint import Checkpoint
    from jacprobe.masks import Masks

PAPER_SETS = ("weights", "paper")


class Inputs(NamedTuple):
    """The data to score on, as `jacprobe.prune` takes them, and in words; None and "" where there are none."""

    data: object
    images: Tensor | None
    words: str

    def after(self, method: str) -> str:
        """Return the method with the data it saw."""
        return f"{method} on {self.words}" if self.words else method


def read_model(file: Path, *, model: str | None, shape: tuple[int, ...] | None, trust_file: bool, device: str | None
               ) -> tuple[Checkpoint, nn.Module]:
    """Return what is in a model file, and its model on `device`; notes go to stderr."""
    import torch

    import jacprobe as jp
    from jacprobe.checkpoint import build_model
    from jacprobe.devices import check_device

    place = check_device(device, torch.device("cpu"))
    checkpoint = jp.read_checkpoint(file, trust_file=trust_file)
    for note in checkpoint.notes:
        print(f"{file.name}: {note}", file=sys.stderr)
    return checkpoint, build_model(checkpoint, model=model, input_shape=shape or checkpoint.input_shape).to(place)


def read_inputs(data: str | None, *, split: str, num: int | None, root: Path | None, seed: int | None,
                shape: tuple[int, ...] | None) -> Inputs:
    """Return all samples of `data`, or `num` of them: signed sums of gradients change with every sample left out."""
    import jacprobe as jp
    from jacprobe.data.standard import STANDARD_NAMES

    if data is None:
        return Inputs(None, None, "")
    images, labels = jp.load_data(data, split=split, num=num, root=root, seed=seed, input_shape=shape, progress=True)
    if data == "random":
        words = f"{len(images)} random inputs (standard normal, not data; see --data)"
    else:
        words = f"{len(images)} inputs from {data}" + (f" ({split})" if data in STANDARD_NAMES else "")
    return Inputs(images if labels is None else (images, labels), images, words)


def score_arguments(loss: str | None, pairs: Sequence[str]) -> dict[str, object]:
    """Return the arguments of a score from --loss and from texts such as "temperature=200".

    Examples
    --------
    >>> score_arguments("uniform", ["temperature=200", "accumulate=mean", "input_shape=[1, 8, 8]"])
    {'loss': 'uniform', 'temperature': 200, 'accumulate': 'mean', 'input_shape': [1, 8, 8]}
    """
    arguments: dict[str, object] = {} if loss is None else {"loss": loss}
    for pair in pairs:
        name, separator, text = pair.partition("=")
        if not (separator and name.isidentifier() and text):
            raise typer.BadParameter(f"--argument must be NAME=VALUE; got {pair!r}.")
        try:
            arguments[name] = json.loads(text)
        except ValueError:
            arguments[name] = text
    return arguments


def prunable_set(names: Sequence[str]) -> str | list[str]:
    """Return the set that --prunable chooses: one of those with a name, or names and patterns; default the weights."""
    if not names:
        return "weights"
    return names[0] if len(names) == 1 and names[0] in PAPER_SETS else list(names)


def read_mask_file(path: Path, net: nn.Module | None) -> Masks:
    """Return the masks of a file, which must fit `net`; doubts go to stderr."""
    import jacprobe as jp

    with doubts_told(path.name):
        return jp.read_masks(path, model=net)


@contextmanager
def doubts_told(name: str) -> Iterator[None]:
    """Print the warnings that jacprobe raises on purpose in the block as lines on stderr; others stay warnings."""
    from jacprobe.errors import JacprobeWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", JacprobeWarning)
        yield
    for warning in caught:
        if issubclass(warning.category, JacprobeWarning):
            print(f"{name}: {warning.message}", file=sys.stderr)
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
