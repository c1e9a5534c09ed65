"""Gradients of losses by the weights, summed over data: the same however the samples are batched."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from jacprobe.errors import ModelError, NonFiniteError, UnknownNameError
from jacprobe.modelstate import run_on
from jacprobe.progress import progress_bar
from jacprobe.pruning.batches import Batch, Batches
from jacprobe.pruning.context import Scoring
from jacprobe.pruning.losses import Loss
from jacprobe.pruning.network import Network, named_failures, opened
from jacprobe.pruning.sums import RunningSum

ACCUMULATIONS = ("sum", "mean", "absolute")
_CHUNK_FLOATS = 2**23  # kept for the backward pass of one chunk: large enough for full speed, small enough for a cache
_MAX_CHUNK = 4096
_PER_SAMPLE_FLOATS = 2**24  # gradients of single samples that are held at once

Sums = dict[str, RunningSum]


@contextlib.contextmanager
def opened_on_data(
    model: nn.Module, names: list[str], scoring: Scoring, loss: Loss, what: str, *, shared: bool = False,
    chosen: Callable[[Network, Batches], Batches] | None = None,
) -> Iterator[tuple[Network, Batches]]:
    """Yield the network of `model` and the batches that the score `what` is computed from.

    Parameters
    ----------
    shared
        Whether large weights are read in place where the forward pass writes into none; see ``opened``.
    chosen
        Picks from the batches of the data.

    Raises
    ------
    ArgumentError, DtypeError, ShapeError, ModelError
        The data are no batches for this loss, or the model does not take them, or mixes samples.
    """
    batches = Batches.of(scoring.data, what, labelled=loss.labelled)
    with opened(model, names, scoring, trial=batches if shared else None) as network:
        yield network, prepared(network, batches if chosen is None else chosen(network, batches), loss)


def prepared(network: Network, batches: Batches, loss: Loss) -> Batches:
    """Return `batches` in sizes at which the network is fast, and with labels where the loss draws them.

    Where batch norm takes the statistics of each batch, the batches stay as they are.

    Raises
    ------
    ModelError
        The model does not take the data, or mixes samples.
    """
    inputs, labels = batches.first()
    few, labels = network.placed(inputs[:2], labels[:2] if labels is not None else None)
    if loss.random_labels:
        with torch.no_grad():
            outputs = network.run(few.clone())
        seed = int(torch.randint(2**62, (), generator=network.scoring.generator))
        batches = replace(batches, drawn=(outputs.shape[1] if outputs.ndim > 1 else 1, seed))
        labels = torch.zeros(len(few), dtype=torch.int64, device=network.device)
    if network.scoring.batch_norm == "train":
        return batches
    kept = _floats_kept(network, loss, few.clone(), labels)
    _check_apart(network, few)
    num_floats = max(_CHUNK_FLOATS, sum(leaf.numel() for leaf in network.leaves.values()))  # adding takes time too
    return batches.resized(max(1, min(_MAX_CHUNK, num_floats * len(few) // max(kept, 1))))


def _floats_kept(network: Network, loss: Loss, inputs: Tensor, labels: Tensor | None) -> int:
    """Return how many numbers a forward pass keeps for the backward pass, besides the weights."""
    own = {tensor.untyped_storage().data_ptr() for tensor in network.state.values()}
    sizes: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        kept_alive = loss(network, inputs, labels)  # until all is counted, so that no address comes twice
    del kept_alive
    return sum(sizes.values())


def _check_apart(network: Network, few: Tensor) -> None:
    """Check that the output of neither of two samples depends on the other."""
    if len(few) < 2:
        return
    with torch.no_grad():
        pair, *twins = (network.run(few[index]) for index in ([0, 1], [0, 0], [1, 1]))
    near = torch.finfo(pair.dtype).eps ** 0.5
    far = near * float(pair.abs().nan_to_num(0, posinf=0).amax())  # what is not finite is refused with the loss
    for own, twin in zip(pair, twins, strict=True):
        if not torch.allclose(own, twin[0], rtol=near, atol=far, equal_nan=True):
            raise ModelError("`model` must treat samples one by one, and alike in every pass; the output of one changes"
                             " with another. Look for a wrong batch dimension, statistics of the batch or random"
                             " numbers, or pass batch_norm='train' to have the batches as they are given.")


def steps(network: Network, batches: Batches, what: str) -> Iterator[Batch]:
    """Yield batches on the device of the network, under a progress bar."""
    progress = network.scoring.progress
    for inputs, labels in progress_bar(batches, desc=what, unit="batch", progress=progress):
        yield network.placed(inputs, labels)


def summed_gradients(network: Network, batches: Batches, loss: Loss) -> tuple[Sums, int]:
    """Return the signed sums over all samples of the gradients by the leaves, and the number of samples.

    No gradient but that of one weight is held besides the sums.
    """
    sums = {name: RunningSum(leaf) for name, leaf in network.leaves.items()}
    handles = [leaf.register_post_accumulate_grad_hook(_folding(sums[name])) for name, leaf in network.leaves.items()]
    num = 0
    try:
        for inputs, labels in steps(network, batches, batches.what):
            losses = loss(network, inputs, labels)
            num += len(inputs)
            if losses.requires_grad:
                with differentiable():
                    losses.sum().backward(inputs=list(network.leaves.values()))
            del losses
    finally:
        for handle in handles:
            handle.remove()
    return sums, num


def _folding(total: RunningSum) -> Callable[[Tensor], None]:
    def fold(leaf: Tensor) -> None:
        total.add(leaf.grad)
        leaf.grad = None

    return fold


def summed_sample_gradients(network: Network, batches: Batches, loss: Loss,
                            function: Callable[[Tensor], Tensor]) -> tuple[Sums, int]:
    """Return the sums over all samples of `function` of the gradient of each sample, and the number of samples.

    Raises
    ------
    ModelError
        Batch norm mixes the samples of a batch.
    """
    if network.scoring.batch_norm == "train":
        raise ModelError("`batch_norm` must be 'paper' or 'eval' for gradients of single samples; got 'train'. Batch"
                         " statistics mix the samples.")
    sums = {name: RunningSum(leaf) for name, leaf in network.leaves.items()}
    num_floats = sum(leaf.numel() for leaf in network.leaves.values())
    num = 0
    for inputs, labels in steps(network, batches.resized(max(1, min(256, _PER_SAMPLE_FLOATS // num_floats))),
                                batches.what):
        for gradients in _sample_gradients(network, loss, inputs, labels):
            for name, total in sums.items():
                total.add(function(gradients[name]).sum(0))
        num += len(inputs)
    return sums, num


def _sample_gradients(network: Network, loss: Loss, inputs: Tensor, labels: Tensor | None) -> Iterator[dict]:
    """Yield the gradients by name, with an axis of samples in front, of all samples at once or one by one."""
    loss(network, inputs.clone(), labels)  # which says what is wrong with the data
    found = None if loss.of_jacobian else _vectorised(network, loss, inputs, labels)
    if found is not None:
        yield found
        return
    leaves = list(network.leaves.values())
    for index in range(len(inputs)):
        one = slice(index, index + 1)
        losses = loss(network, inputs[one].clone(), None if labels is None else labels[one])
        with differentiable():
            gradients = torch.autograd.grad(losses.sum(), leaves, allow_unused=True, materialize_grads=True)
        yield {name: gradient[None] for name, gradient in zip(network.leaves, gradients, strict=True)}


def _vectorised(network: Network, loss: Loss, inputs: Tensor, labels: Tensor | None) -> dict[str, Tensor] | None:
    """Return the gradients of all samples in one pass; None for a model or loss that ``vmap`` cannot run."""
    def of_sample(leaves: dict[str, Tensor], sample: Tensor, label: Tensor | None) -> Tensor:
        state = network.substituted(leaves)
        outputs = run_on(network.model, state, sample[None]) / loss.temperature
        return loss.function(outputs, None if label is None else label[None]).sum()

    leaves = {name: leaf.detach() for name, leaf in network.leaves.items()}
    axes = (None, 0, None if labels is None else 0)
    with warnings.catch_warnings(action="ignore"), contextlib.suppress(Exception):
        # a warning says that an operation is slow there; whatever is wrong with the model itself shows one by one
        return torch.func.vmap(torch.func.grad(of_sample), in_dims=axes)(leaves, inputs, labels)
    return None


def differentiable() -> contextlib.AbstractContextManager:
    """Name a model whose backward pass fails, as that of an operation without second derivatives does."""
    return named_failures("have derivatives", "Replace the operation, or choose another score.")


def scaled(network: Network, values: dict[str, Tensor], *, signed: bool = False) -> dict[str, Tensor]:
    """Scale `values` in place so that their absolute values sum to 1, and return them on the CPU.

    Raises
    ------
    NonFiniteError
        A value is NaN or infinite; the message names the parameter.
    ModelError
        All values are zero.
    """
    norm = 0.0
    for name, value in values.items():
        part = _absolute_sum(value)
        if not part < float("inf"):
            raise NonFiniteError(f"`scores` must be finite; those of {name!r} are not. Check the data and rescale the"
                                 " weights.")
        norm += part
    if not norm > 0:
        raise ModelError("`model` must have a loss that depends on its weights; every score is zero."
                         " The network is disconnected or its gradient vanishes.")
    unit = 2.0 ** max(-120, min(120, -math.frexp(norm)[1]))  # the inverse of a tiny sum is infinite in float32
    return {name: (value if signed else value.abs_()).mul_(unit).mul_(1 / (norm * unit)).cpu()
            for name, value in values.items()}


def _absolute_sum(value: Tensor) -> float:
    """Return the sum of absolute values in double precision, without a copy of them all."""
    return sum(float(part.abs().sum(dtype=torch.float64)) for part in value.reshape(-1).split(2**20))


def check_accumulate(accumulate: str) -> None:
    """Check the name of a way to accumulate.

    Raises
    ------
    UnknownNameError
        No such way.
    """
    if accumulate not in ACCUMULATIONS:
        raise UnknownNameError("accumulate", accumulate, ACCUMULATIONS)
