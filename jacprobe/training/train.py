"""Train a network: from arguments to a result."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from jacprobe.devices import check_device
from jacprobe.errors import DtypeError, ModelError
from jacprobe.modelstate import check_model
from jacprobe.progress import progress_bar
from jacprobe.randomness import salted
from jacprobe.training.agreement import check_fit, check_outputs
from jacprobe.training.course import Course
from jacprobe.training.data import Labelled, check_labelled
from jacprobe.training.interruption import Interruption
from jacprobe.training.plain import PlainCopy
from jacprobe.training.precision import Precision
from jacprobe.training.resumption import Resumption, facts_of
from jacprobe.training.run import TrainingRun
from jacprobe.training.settings import Training, whole_number

_DEFAULTS = Training()


def train(
    model: nn.Module,
    data: object,
    *,
    training: Training = _DEFAULTS,
    validation: object = None,
    test: object = None,
    device: str | torch.device | None = None,
    checkpoint: str | os.PathLike | None = None,
    checkpoint_every: int = 1_000,
    progress: bool | None = None,
) -> TrainingRun:
    """Train a copy of `model` by stochastic gradient descent on the cross-entropy.

    Removed weights of a masked model stay exactly zero, and cost nothing in the loop: a plain network is trained, whose
    gradients are masked. Parameters that require no gradient stay as they are.

    Parameters
    ----------
    model
        A classifier, (num, ...) to (num, num_classes), with masks by ``Masks.apply`` or ``torch.nn.utils.prune`` or
        dense; it is left untouched, and so are the global random states.
    data
        (inputs, labels): tensors or arrays, labels as class numbers. Floating inputs are cast to the model's dtype.
    training
        The settings, the paper's for MNIST by default.
    validation, test
        As `data`; the network is evaluated on them now and then.
    device
        Where to train; by default where the model is. The data are brought there once. The result is where `model` is.
    checkpoint
        A file in which the state is kept: every `checkpoint_every` iterations, at Ctrl-C and at the end. If it exists,
        training goes on from it, and gives the very bits that it would have given without the interruption (on a GPU
        as far as its kernels repeat themselves).
    checkpoint_every
        Iterations between two writings of `checkpoint`.
    progress
        Whether to show progress on stderr; default only on a terminal.

    Returns
    -------
    TrainingRun
        The trained model, which carries its masks; the history; and the error that counts by ``training.protocol``. A
        run whose loss is no longer finite stops, and says so in `diverged`.

    Raises
    ------
    DtypeError, ShapeError, NonFiniteError, ArgumentError, UnknownNameError
        An argument is wrong; `checkpoint` belongs to another training; or labels are no outputs of the model.
    ModelError
        The model has nothing to train, or does not take the inputs.
    CheckpointError, OutputError
        `checkpoint` cannot be read or written.

    References
    ----------
    Lee et al. 2020, appendix B, and the published code.

    Examples
    --------
    >>> inputs = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    >>> labels = (inputs[:, 0] > 0).long()
    >>> run = train(nn.Linear(4, 2), (inputs, labels), test=(inputs, labels), training=Training(iterations=200))
    >>> run.error < 5, run.selected, sorted(set(run.history["split"]))
    (True, 200, ['batch', 'test'])
    """
    check_model(model)
    if not isinstance(training, Training):
        raise DtypeError(f"`training` must be a jacprobe.Training; got {type(training).__name__}. Pass Training(...).")
    given = {"data": data, "validation": validation, "test": test}
    samples = {name: None if name != "data" and value is None else check_labelled(value, name)
               for name, value in given.items()}
    check_fit(samples, training)
    every = whole_number("checkpoint_every", checkpoint_every, 1)
    own = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    place = check_device(device, own)
    precision = Precision(training.precision, place)
    file = None
    if checkpoint is not None:
        file = Resumption(checkpoint, facts_of(model, samples, training, place))
    with _own_randomness(training.order_seed, place):
        course, plain = _course(model, samples, training, precision, place)
        if file is not None and (contents := file.contents()) is not None:
            course.take(contents)
        _run(course, training, file, every, progress)
    return _result(model, plain, course, training)


def _run(course: Course, training: Training, file: Resumption | None, every: int, progress: bool | None) -> None:
    """Go on to the end; at an interruption write the file first."""
    bar = progress_bar(total=training.iterations, initial=course.iteration, desc="train", progress=progress)
    with bar, Interruption(active=file is not None) as interruption:
        while not course.is_done:
            course.advance()
            bar.update()
            if file is not None and (course.is_done or interruption.requested or course.iteration % every == 0):
                file.write(course.contents())
            if interruption.requested:
                raise KeyboardInterrupt


def _course(model: nn.Module, samples: dict[str, Labelled | None], training: Training, precision: Precision,
            device: torch.device) -> tuple[Course, PlainCopy]:
    """Bring network and data to the device and see that they fit each other."""
    channels_last = training.precision == "mixed" and samples["data"].inputs.ndim == 4
    plain = PlainCopy(model, device, channels_last=channels_last)
    if not plain.trained:
        raise ModelError("`model` must have parameters that require gradients; it has none. Set requires_grad.")
    dtype = next((entry.parameter.dtype for entry in plain.trained), None)
    there = {name: _brought(found, device, dtype, channels_last) for name, found in samples.items()
             if found is not None}
    check_outputs(plain.net, there, precision)
    data = there.pop("data")
    return Course(plain, data, there, training, precision), plain


def _brought(samples: Labelled, device: torch.device, dtype: torch.dtype, channels_last: bool) -> Labelled:
    order = torch.channels_last if channels_last else torch.contiguous_format
    inputs = samples.inputs.to(device=device, dtype=dtype if samples.inputs.is_floating_point() else None)
    return Labelled(inputs.contiguous(memory_format=order), samples.labels.to(device).contiguous())


def _result(model: nn.Module, plain: PlainCopy, course: Course, training: Training) -> TrainingRun:
    history, diverged = course.history.frame(), course.history.diverged
    selected, error = None, math.nan
    if diverged is None:
        selected = training.iterations
        if course.best is not None:
            selected = course.best.iteration
            plain.load(course.best.tensors)
        errors = history.query("split == 'test' and iteration == @selected")["error"]
        error = float(errors.iloc[0]) if len(errors) else math.nan
    return TrainingRun(plain.written(model), history, selected, error, diverged, course.seconds, training)


@contextmanager
def _own_randomness(seed: int, device: torch.device) -> Iterator[None]:
    """Draw what modules draw in training from the seed, and leave the global random states as they were."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(salted(seed, "noise"))  # torch.manual_seed would seed all GPUs, for good
        for gpu in devices:
            with torch.cuda.device(gpu):
                torch.cuda.manual_seed(salted(seed, "noise"))
        yield
