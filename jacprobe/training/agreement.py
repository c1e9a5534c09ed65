"""Do the arguments of a training agree: data with settings, device and network."""

from __future__ import annotations

import torch
from torch import nn

from jacprobe.errors import ArgumentError, JacprobeError, ModelError, ShapeError
from jacprobe.training.data import Labelled
from jacprobe.training.precision import Precision
from jacprobe.training.settings import Training


def check_fit(samples: dict[str, Labelled | None], training: Training) -> None:
    """Check that samples fit each other and the settings.

    Raises
    ------
    ArgumentError, ShapeError
        They do not.
    """
    inputs = samples["data"].inputs
    if training.batch_size > len(inputs):
        raise ArgumentError(f"`batch_size` must be at most the {len(inputs)} samples of `data`; got"
                            f" {training.batch_size}. Pass Training(batch_size=...).")
    if training.augmentation and inputs.ndim != 4:
        raise ShapeError(f"`data` must be images (num, channels, height, width) to be augmented; got shape"
                         f" {tuple(inputs.shape)}. Leave `augmentation` out.")
    for name in ("validation", "test"):
        held_out = samples[name]
        if held_out is not None and held_out.inputs.shape[1:] != inputs.shape[1:]:
            raise ShapeError(f"`{name}` must have inputs of the shape of `data`; got {tuple(held_out.inputs.shape[1:])}"
                             f" and {tuple(inputs.shape[1:])}. Pass samples of one kind.")
    if training.protocol == "paper" and samples["test"] is None:
        raise ArgumentError("`test` must be given for the protocol 'paper', which chooses by the test error; got None."
                            " Pass test data, or Training(protocol='clean').")


@torch.no_grad()
def check_outputs(net: nn.Module, samples: dict[str, Labelled], precision: Precision) -> None:
    """Check that the network takes two inputs, in evaluation mode, and that every label has an output.

    Raises
    ------
    ModelError
        It raises something, or gives no logits.
    ArgumentError
        Labels are no outputs.
    """
    few = samples["data"].inputs[:2]
    net.eval()
    try:
        with precision.running():
            outputs = net(few)
    except JacprobeError:
        raise
    except Exception as error:  # whatever a module raises at inputs that it does not take
        reason = (str(error).splitlines() or [""])[0].rstrip(".")[:150]
        raise ModelError(f"`model` must take inputs of shape {tuple(few.shape)}; it raised {type(error).__name__}:"
                         f" {reason}. Check data and model.") from error
    net.train()
    if not isinstance(outputs, torch.Tensor) or outputs.ndim != 2 or len(outputs) != len(few):
        got = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs).__name__
        raise ModelError(f"`model` must give (num, num_classes); got {got} for {len(few)} inputs. Wrap it so that it"
                         " returns its logits.")
    for name, found in samples.items():
        low, high = int(found.labels.min()), int(found.labels.max())
        if low < 0 or high >= outputs.shape[1]:
            raise ArgumentError(f"`{name}` must have labels from 0 to {outputs.shape[1] - 1}, one per output of the"
                                f" model; got {low} to {high}. Count classes from 0.")
