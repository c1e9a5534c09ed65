"""Losses per sample, with labels and without."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from jacprobe.errors import ArgumentError, ModelError, UnknownNameError
from jacprobe.pruning.network import named_failures

LossFn = Callable[[Tensor, Tensor], Tensor]


def _labels(outputs: Tensor, labels: Tensor) -> Tensor:
    labels = labels.to(outputs.dtype) if labels.is_floating_point() else labels.long()  # probabilities or classes
    return F.cross_entropy(outputs, labels, reduction="none")


def _check_labels(outputs: Tensor, labels: Tensor) -> None:
    """Refuse classes that do not exist: torch skips the samples of one, -100, and a GPU cannot go on after others."""
    if labels.is_floating_point() or outputs.ndim < 2 or not labels.numel():
        return
    if not 0 <= labels.min() <= labels.max() < outputs.shape[1]:
        raise IndexError(f"labels lie in [{labels.min()}, {labels.max()}], not in [0, {outputs.shape[1]})")


def _uniform(outputs: Tensor, labels: Tensor | None) -> Tensor:
    return -F.log_softmax(outputs, 1).mean(1)


def _raw(outputs: Tensor, labels: Tensor | None) -> Tensor:
    return -(outputs * F.log_softmax(outputs, 1)).sum(1)


def _softmax(outputs: Tensor, labels: Tensor | None) -> Tensor:
    return -(outputs.softmax(1) * F.log_softmax(outputs, 1)).sum(1)


def _output_norm(outputs: Tensor, labels: Tensor | None) -> Tensor:
    return outputs.flatten(1).square().sum(1) / 2


def _absolute_jacobian(jacobian: Tensor) -> Tensor:
    return jacobian.abs().sum((1, 2))


def _frobenius_jacobian(jacobian: Tensor) -> Tensor:
    return torch.linalg.vector_norm(jacobian, dim=(1, 2))


@dataclass(frozen=True)
class Loss:
    """A loss per sample.

    Attributes
    ----------
    name
        As the caller gave it, for messages.
    function
        ``(outputs, labels)`` to one number per sample, or ``(jacobian,)`` where `of_jacobian`.
    labelled, random_labels, of_jacobian
        Whether it needs labels, draws them at random, looks at the Jacobian of the outputs by the inputs.
    temperature
        The outputs are divided by it.
    """

    name: str
    function: Callable[..., Tensor]
    labelled: bool = False
    random_labels: bool = False
    of_jacobian: bool = False
    temperature: float = 1.0

    def __call__(self, network: Callable[[Tensor], Tensor], inputs: Tensor, labels: Tensor | None) -> Tensor:
        """Return the loss of every sample, `(num_inputs,)`.

        Raises
        ------
        ModelError
            The model or the loss raises, or does not give one finite number per sample.
        """
        what = "" if labels is None else f" and {labels.dtype} labels of shape {tuple(labels.shape)}"
        task = f"{'classify' if self.labelled else 'fit'} `data`; inputs of shape {tuple(inputs.shape)}{what}"
        with named_failures(task, "Check shapes and classes."):
            outputs = network(inputs.requires_grad_() if self.of_jacobian else inputs)
            if outputs.ndim == 0 or len(outputs) != len(inputs):
                raise ValueError(f"the output has shape {tuple(outputs.shape)}")
            outputs = outputs / self.temperature if self.temperature != 1 else outputs
            if self.function is _labels:
                _check_labels(outputs, labels)
            found = self.function(_jacobian(outputs, inputs) if self.of_jacobian else outputs,
                                  *([] if self.of_jacobian else [labels]))
            if found.ndim > 1 and len(found) == len(inputs):  # one number per pixel or token
                found = found.flatten(1).sum(1)
            if found.shape != (len(inputs),):
                raise ValueError(f"`loss` gave shape {tuple(found.shape)}, not one number per sample (use"
                                 " reduction='none')")
        if not found.isfinite().all():
            raise ModelError("`model` must give a finite loss on `data`; got NaN or infinity. Rescale its weights.")
        return found


LOSSES: dict[str, Loss] = {
    "labels": Loss("labels", _labels, labelled=True),
    "uniform": Loss("uniform", _uniform),
    "raw": Loss("raw", _raw),
    "softmax": Loss("softmax", _softmax),
    "random-labels": Loss("random-labels", _labels, random_labels=True),
    "output-norm": Loss("output-norm", _output_norm),
    "jacobian-1": Loss("jacobian-1", _absolute_jacobian, of_jacobian=True),
    "jacobian-2": Loss("jacobian-2", _frobenius_jacobian, of_jacobian=True),
}


def make_loss(loss: str | LossFn | Loss, *, temperature: float = 1.0) -> Loss:
    """Return the loss of that name, or the callable ``(outputs, labels)`` as a loss.

    Parameters
    ----------
    loss
        "labels": cross-entropy with the labels. "uniform": with 1/C for every class. "raw", "softmax": with the
        network's own outputs or softmax outputs in place of the labels, through which the gradient passes too (with
        softmax that is the entropy). "random-labels": with labels drawn uniformly. "output-norm": half the squared
        norm of the outputs. "jacobian-1", "jacobian-2": the sum of the absolute entries and the Frobenius norm of the
        Jacobian of the outputs by the inputs, at a backward pass per output. A callable gets the outputs and the
        labels of a batch and returns one number per sample.
    temperature
        By which the outputs are divided.

    Raises
    ------
    UnknownNameError
        No such loss.
    ArgumentError
        The temperature is not positive.

    References
    ----------
    Lee et al. 2020, section 5.2 and Table 4; it does not write out the losses by predictions.
    """
    if isinstance(temperature, bool) or not isinstance(temperature, (int, float)) or not 0 < temperature < float("inf"):
        raise ArgumentError(f"`temperature` must be a positive number; got {temperature!r}. Use 1 to leave outputs be.")
    if isinstance(loss, str):
        if loss not in LOSSES:
            raise UnknownNameError("loss", loss, LOSSES, "Or pass a callable.")
        found = LOSSES[loss]
    elif callable(loss):
        found = Loss(getattr(loss, "__name__", "loss"), loss, labelled=True)
    else:
        raise UnknownNameError("loss", loss, LOSSES, "Or pass a callable.")
    return Loss(found.name, found.function, found.labelled, found.random_labels, found.of_jacobian, float(temperature))


def _jacobian(outputs: Tensor, inputs: Tensor) -> Tensor:
    """Return `(num_inputs, out_dim, in_dim)` with a graph behind it, one backward pass per output."""
    columns = outputs.flatten(1).sum(0)
    rows = [torch.autograd.grad(entry, inputs, create_graph=True, materialize_grads=True, allow_unused=True)[0]
            for entry in columns]
    return torch.stack([row.flatten(1) for row in rows], 1)
