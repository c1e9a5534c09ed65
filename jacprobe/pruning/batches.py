"""Labelled data in any form, as batches that can be gone through again, merged, split and balanced."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from jacprobe.errors import ArgumentError, DtypeError, ShapeError
from jacprobe.modelstate import unwrapped
from jacprobe.pruning.context import Scoring

Batch = tuple[Tensor, Tensor | None]


@dataclass(frozen=True)
class Batches:
    """Checked batches of (inputs, labels), the same in every pass.

    Attributes
    ----------
    data
        (inputs, labels), or an iterable of such batches. Labels are None where none are needed and none are given.
    what
        The score that needs them, for messages.
    labelled
        Whether every batch must have labels.
    size
        Samples per batch, whatever the batches of `data` are; None for those of `data`.
    drawn
        (number of classes, seed): labels are drawn at random in place of those given; None for those given.
    """

    data: object
    what: str
    labelled: bool = True
    size: int | None = None
    drawn: tuple[int, int] | None = None

    @classmethod
    def of(cls, data: object, what: str, *, labelled: bool = True) -> Batches:
        """Check the form of `data`; an iterator, which gives its batches once, will be read into a list.

        Raises
        ------
        ArgumentError, DtypeError
            It is None, no iterable, or inputs and labels do not pair.
        """
        if data is None:
            raise ArgumentError(f"`data` must be given for {what!r}; got None. Pass (inputs, labels) or a data loader.")
        if (isinstance(data, tuple) and _is_pair(data)) or (isinstance(data, Tensor) and not labelled):
            data = [data]
        if not isinstance(data, Iterable):
            raise DtypeError(f"`data` must be (inputs, labels) or an iterable of such batches; got"
                             f" {type(data).__name__}. Pass a loader of labelled batches.")
        return cls(_Replayed(data) if isinstance(data, Iterator) else data, what, labelled)

    def __iter__(self) -> Iterator[Batch]:
        batches = self._given()
        if self.size is not None:
            batches = _resized(batches, self.size)
        if self.drawn is None:
            yield from batches
            return
        num_classes, seed = self.drawn
        generator = torch.Generator().manual_seed(seed)
        for inputs, _ in batches:  # one by one from one stream: the same labels however the samples are batched
            yield inputs, torch.randint(num_classes, (len(inputs),), generator=generator)

    def _given(self) -> Iterator[Batch]:
        empty = True
        for batch in self.data:
            inputs, labels = self._checked(batch)
            if len(inputs):
                empty = False
                yield inputs, labels
        if empty:
            raise ArgumentError("`data` must hold at least one sample; got none. Check the loader.")

    def _checked(self, batch: object) -> Batch:
        if isinstance(batch, Tensor) and not self.labelled:
            batch = (batch, None)
        if not _is_pair(batch) or (self.labelled and batch[1] is None):
            got = "no labels" if _is_pair(batch) else type(batch).__name__
            raise DtypeError(f"`data` must give (inputs, labels) tensors; got {got}."
                             " Pass a loader of labelled batches.")
        inputs, labels = batch
        if inputs.ndim == 0:
            raise ShapeError("`data` must have a first dimension of samples; got inputs that are one number."
                             " Stack the samples.")
        if labels is not None and (labels.ndim == 0 or len(inputs) != len(labels)):
            got = "one number" if labels.ndim == 0 else len(labels)
            raise ArgumentError(f"`data` must pair inputs and labels; got {len(inputs)} and {got}."
                                " Give one label per sample.")
        return inputs, labels

    def resized(self, size: int | None) -> Batches:
        return replace(self, size=size)

    def first(self) -> Batch:
        """Return the first batch."""
        return next(iter(self))

    def together(self) -> Batch:
        """Return all samples as one batch."""
        return _joined(list(self))


class _Replayed:
    """The items of an iterator, as often as one likes; it is read at the first pass."""

    def __init__(self, iterator: Iterator):
        self._iterator: Iterator | None = iterator
        self._items: list[object] = []

    def __iter__(self) -> Iterator:
        if self._iterator is not None:
            self._items, self._iterator = list(self._iterator), None
        return iter(self._items)


def _is_pair(data: object) -> bool:
    """Whether it is (inputs, labels), or (inputs, None)."""
    if not isinstance(data, (tuple, list)) or len(data) != 2 or not isinstance(data[0], Tensor):
        return False
    return data[1] is None or isinstance(data[1], Tensor)


def _resized(batches: Iterable[Batch], size: int) -> Iterator[Batch]:
    """Merge small batches and split large ones into batches of `size` samples, the last of what is left."""
    waiting: list[Batch] = []
    num_waiting = 0
    for inputs, labels in batches:
        if waiting and not _can_join(waiting[-1], (inputs, labels)):
            yield _joined(waiting)
            waiting, num_waiting = [], 0
        begin = 0
        while begin < len(inputs):
            end = min(len(inputs), begin + size - num_waiting)
            waiting.append((inputs[begin:end], None if labels is None else labels[begin:end]))
            num_waiting += end - begin
            begin = end
            if num_waiting == size:
                yield _joined(waiting)
                waiting, num_waiting = [], 0
    if waiting:
        yield _joined(waiting)


def _can_join(one: Batch, other: Batch) -> bool:
    """Whether two batches differ in nothing but the number of samples; images of several sizes do, for one."""
    def kind(part: Tensor | None) -> object:
        return None if part is None else (part.shape[1:], part.dtype, part.device)

    return [kind(part) for part in one] == [kind(part) for part in other]


def _joined(parts: list[Batch]) -> Batch:
    if len(parts) == 1:
        return parts[0]
    inputs = torch.cat([inputs for inputs, _ in parts])
    return inputs, None if parts[0][1] is None else torch.cat([labels for _, labels in parts])


def balanced(batches: Batches, per_class: int, num_classes: int, generator: torch.Generator) -> Batches:
    """Return one batch with `per_class` samples of each class, drawn without replacement, class by class.

    Raises
    ------
    ArgumentError
        A class has fewer samples, or labels are no class numbers, or none of these classes.
    """
    inputs, labels = batches.together()
    if labels.ndim != 1 or labels.is_floating_point() or labels.is_complex():
        raise ArgumentError(f"`data` must have class numbers as labels to be balanced; got {labels.dtype} of shape"
                            f" {tuple(labels.shape)}. Pass `per_class=None` to take all samples as they are.")
    if not 0 <= labels.min() <= labels.max() < num_classes:
        raise ArgumentError(f"`data` must have labels from 0 to {num_classes - 1}, one per output of the model; got"
                            f" {labels.min()} to {labels.max()}. Leave the others out, or count classes from 0.")
    chosen = []
    for number in range(num_classes):
        members = (labels == number).nonzero().flatten().cpu()
        if len(members) < per_class:
            raise ArgumentError(f"`data` must hold at least {per_class} samples of every class; got {len(members)} of"
                                f" class {number}. Pass more data, a smaller `per_class`, or None to take all samples.")
        chosen.append(members[torch.randperm(len(members), generator=generator)[:per_class]])
    index = torch.cat(chosen).to(inputs.device)
    return replace(batches, data=[(inputs[index], labels[index.to(labels.device)])])


def input_shape_of(model: nn.Module, scoring: Scoring, input_shape: object, what: str) -> tuple[int, ...]:
    """Return the shape of one input: as given, else of `scoring.data`, else the one that the model was built for.

    Raises
    ------
    ArgumentError
        It is known from nowhere.
    ShapeError
        It is no sequence of positive integers.
    """
    if input_shape is None and scoring.data is not None:
        return tuple(Batches.of(scoring.data, what, labelled=False).first()[0].shape[1:])
    if input_shape is None:
        spec = getattr(unwrapped(model), "jacprobe_spec", None)
        input_shape = spec["arguments"].get("input_shape") if isinstance(spec, dict) and "arguments" in spec else None
    if input_shape is None:
        raise ArgumentError(f"`input_shape` must be given for {what!r}; got None. Pass the shape of one input, such as"
                            " (1, 28, 28), or `data`.")
    shape = tuple(input_shape) if isinstance(input_shape, (tuple, list)) else ()
    if not shape or not all(isinstance(side, int) and side > 0 for side in shape):
        raise ShapeError(f"`input_shape` must hold positive whole numbers; got {input_shape!r}. Try (1, 28, 28).")
    return shape
