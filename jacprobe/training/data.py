"""Labelled samples: checked, split, and given out batch by batch in an order that only a seed decides."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from jacprobe.errors import ArgumentError, DtypeError, NonFiniteError, ShapeError
from jacprobe.randomness import make_generator, salted
from jacprobe.training.augmentation import augmented
from jacprobe.training.settings import Training


class Labelled(NamedTuple):
    """Inputs (num, ...) and class numbers (num,) int64."""

    inputs: Tensor
    labels: Tensor


def split_validation(data: object, *, share: float = 0.1, seed: int = 0) -> tuple[Labelled, Labelled]:
    """Set a random share of labelled samples apart, to validate on.

    Parameters
    ----------
    data
        (inputs, labels), tensors or arrays of equal length.
    share
        ``int(share * num)`` samples go to the validation, as in the paper's code.
    seed
        Which they are.

    Returns
    -------
    train, validation
        Pairs of (inputs, labels), each in the order of `data`.

    Raises
    ------
    ArgumentError
        `share` is not above 0 and below 1, or one part would be empty.
    DtypeError, ShapeError, NonFiniteError
        `data` are no labelled samples, or `seed` is no seed.

    Examples
    --------
    >>> train, validation = split_validation((torch.rand(50, 3), torch.arange(50) % 2))
    >>> len(train.labels), len(validation.labels)
    (45, 5)
    """
    inputs, labels = check_labelled(data, "data")
    if isinstance(share, bool) or not isinstance(share, Real) or not 0 < share < 1:
        raise ArgumentError(f"`share` must be above 0 and below 1; got {share!r}. Try 0.1.")
    num = int(share * len(inputs))
    if num == 0:
        raise ArgumentError(f"`share` must leave samples to validate on; got {share} of {len(inputs)}. Give a larger"
                            " share.")
    if isinstance(seed, Integral) and not isinstance(seed, bool):
        seed = int(seed)
    order = torch.randperm(len(inputs), generator=make_generator(seed, purpose="validation"))
    parts = [part.sort().values.to(inputs.device) for part in (order[num:], order[:num])]
    train, validation = (Labelled(inputs[part], labels[part.to(labels.device)]) for part in parts)
    return train, validation


def check_labelled(data: object, what: str) -> Labelled:
    """Return (inputs, labels), the argument called `what`, as tensors that pair.

    Raises
    ------
    DtypeError
        They are no pair of tensors or arrays, or the labels are no class numbers.
    ShapeError
        There is no sample, no axis of samples, or not one label for each.
    NonFiniteError
        An input is NaN or infinite.
    """
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise DtypeError(f"`{what}` must be a pair (inputs, labels); got {type(data).__name__}. Pass two tensors; those"
                         " of a loader can be joined with torch.cat.")
    inputs, labels = (_tensor(part, what) for part in data)
    if inputs.ndim < 2 or len(inputs) == 0:
        raise ShapeError(f"`{what}` must hold at least one sample, (num, ...); got inputs of shape"
                         f" {tuple(inputs.shape)}. Put the axis of samples first.")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise DtypeError(f"`{what}` must have class numbers as labels; got {labels.dtype}. Convert them with long().")
    if labels.shape != inputs.shape[:1]:
        raise ShapeError(f"`{what}` must have one label per sample; got {len(inputs)} inputs and labels of shape"
                         f" {tuple(labels.shape)}. Pair them.")
    if inputs.is_floating_point() and not torch.stack(inputs.aminmax()).isfinite().all():  # ten times as fast as a map
        bad = int((~inputs.isfinite()).flatten(1).any(1).nonzero()[0])
        raise NonFiniteError(f"`{what}` must be finite; sample {bad} holds NaN or infinity. Remove or repair it.")
    return Labelled(inputs.detach(), labels.long())


def _tensor(part: object, what: str) -> Tensor:
    if isinstance(part, np.ndarray):
        try:
            return torch.from_numpy(part.astype(part.dtype.newbyteorder("="), order="C"))
        except TypeError as error:
            raise DtypeError(f"`{what}` must hold numbers that torch knows; got {part.dtype}. Convert it with"
                             " astype('float32').") from error
    if not isinstance(part, Tensor):
        raise DtypeError(f"`{what}` must hold tensors or arrays; got {type(part).__name__}. Pass (inputs, labels).")
    return part


class Order:
    """Which samples make which batch: permutation after permutation, without a gap between them.

    The permutation of each pass comes from the seed and the number of the pass alone, so that training can begin at
    any iteration.
    """

    def __init__(self, num: int, batch_size: int, seed: int):
        self._num, self._batch_size, self._seed = num, batch_size, seed
        self._epoch, self._permutation = -1, torch.empty(0, dtype=torch.int64)

    def batch(self, iteration: int) -> Tensor:
        """Return the indices of the batch of an iteration, the first of which is 1, (batch_size,) int64."""
        epoch, begin = divmod((iteration - 1) * self._batch_size, self._num)
        found = self._pass(epoch)[begin : begin + self._batch_size]
        if len(found) < self._batch_size:
            found = torch.cat([found, self._pass(epoch + 1)[: self._batch_size - len(found)]])
        return found

    def _pass(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(salted(self._seed, f"order of pass {epoch}"))
            self._epoch, self._permutation = epoch, torch.randperm(self._num, generator=generator)
        return self._permutation


def batches(data: Labelled, training: Training) -> Callable[[int], Labelled]:
    """Return a function from iteration to batch, augmented; inputs share one memory, which the next batch takes."""
    order = Order(len(data.inputs), training.batch_size, training.order_seed)
    inputs = data.inputs.new_empty(training.batch_size, *data.inputs.shape[1:])
    if data.inputs.ndim == 4 and not data.inputs.is_contiguous():
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    labels = data.labels.new_empty(training.batch_size)

    def batch(iteration: int) -> Labelled:
        chosen = order.batch(iteration).to(data.inputs.device, non_blocking=True)
        torch.index_select(data.inputs, 0, chosen, out=inputs)
        torch.index_select(data.labels, 0, chosen, out=labels)
        if not training.augmentation:
            return Labelled(inputs, labels)
        seed = salted(training.order_seed, f"augmentation of batch {iteration}")
        changed = augmented(inputs, training.augmentation, torch.Generator().manual_seed(seed))
        return Labelled(changed, labels)

    return batch
