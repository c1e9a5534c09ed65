"""How to train: rates, schedule, what is logged, and which iteration counts; plain values that JSON can hold."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from numbers import Integral, Real

from jacprobe.errors import ArgumentError, DtypeError, UnknownNameError
from jacprobe.training.augmentation import AUGMENTATIONS

PROTOCOLS = {  # name -> which evaluation is reported
    "paper": "the one of the lowest test error, as published: the test data choose",
    "clean": "the last one: nothing is chosen",
}
PRECISIONS = ("float32", "mixed")


@dataclass(frozen=True)
class Training:
    """Settings of stochastic gradient descent; the defaults are the paper's for MNIST.

    Attributes
    ----------
    iterations
        Number of updates, counted from 1.
    batch_size
        Samples per update.
    rate, drop_every, drop_factor
        The learning rate, divided by `drop_factor` after every `drop_every` iterations; None for a constant rate.
    momentum
        Of the updates, not Nesterov's: ``v = momentum v + gradient``, ``w = w - rate v``. The paper's tables have 0.9;
        its figures of training were made with 0.
    l2
        Factor of the penalty ``l2 sum w^2`` (no half; weight decay is twice as large) over weights and biases of linear
        and convolutional layers and all masked parameters. No loss in a history contains it.
    log_every, log_offset
        Batches whose loss is logged: `log_offset`, `log_offset` + `log_every`, and so on; as published 2, 12, 22.
    evaluate_every
        Iterations between evaluations on the validation and test data; the last iteration is always evaluated.
    augmentation
        Any of "flip" (left to right), "translate" (by up to 4 pixels) and "crop-pad" (each side by up to 8 pixels, and
        back to size). Each image gets a random choice of those named, from none to all.
    protocol
        Which iteration is reported: "clean" the last, "paper" that of the lowest test error, which flatters.
    order_seed
        Seed of all that is drawn in training: batches, augmentation, dropout. The same for all runs of the paper.
    precision
        "float32" trains in the dtype of the model. "mixed", on a GPU only, runs the network in bfloat16, or in float16
        where the GPU lacks that, with images in channels-last order.

    Raises
    ------
    ArgumentError, DtypeError, UnknownNameError
        A setting is outside its domain.

    References
    ----------
    Lee et al. 2020, appendix B; the penalty, the log and augmentation are those of the published code.

    Examples
    --------
    >>> training = Training(iterations=30, drop_every=10, momentum=0.0)
    >>> [training.rate_at(iteration) for iteration in (1, 10, 11, 30)]
    [0.1, 0.1, 0.01, 0.001]
    >>> [iteration for iteration in range(1, 31) if training.logs(iteration)]
    [2, 12, 22]
    >>> Training.of_settings(training.to_settings()) == training
    True
    """

    iterations: int = 80_000
    batch_size: int = 100
    rate: float = 0.1
    drop_every: int | None = 20_000
    drop_factor: float = 10.0
    momentum: float = 0.9
    l2: float = 0.00025
    log_every: int = 10
    log_offset: int = 2
    evaluate_every: int = 1_000
    augmentation: tuple[str, ...] = ()
    protocol: str = "clean"
    order_seed: int = 0
    precision: str = "float32"

    def __post_init__(self) -> None:
        for name in ("iterations", "batch_size", "log_every", "evaluate_every"):
            self._set(name, whole_number(name, getattr(self, name), 1))
        for name in ("log_offset", "order_seed"):
            self._set(name, whole_number(name, getattr(self, name), 0))
        if self.drop_every is not None:
            self._set("drop_every", whole_number("drop_every", self.drop_every, 1, "Pass None for a constant rate."))
        for name, above, below in (("rate", 0, math.inf), ("drop_factor", 0, math.inf)):
            self._set(name, _number(name, getattr(self, name), above, below, closed=False))
        self._set("momentum", _number("momentum", self.momentum, 0, 1, closed=True))
        self._set("l2", _number("l2", self.l2, 0, math.inf, closed=True))
        self._set("augmentation", _augmentation(self.augmentation))
        for name, valid in (("protocol", PROTOCOLS), ("precision", PRECISIONS)):
            if getattr(self, name) not in valid:
                raise UnknownNameError(name, getattr(self, name), valid)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def rate_at(self, iteration: int) -> float:
        """Return the learning rate of an iteration, the first of which is 1."""
        drops = 0 if self.drop_every is None else (iteration - 1) // self.drop_every
        return self.rate / self.drop_factor**drops

    def logs(self, iteration: int) -> bool:
        """Whether the loss of the batch of this iteration is logged."""
        return iteration >= self.log_offset and (iteration - self.log_offset) % self.log_every == 0

    def evaluates(self, iteration: int) -> bool:
        """Whether the network is evaluated after this iteration."""
        return iteration % self.evaluate_every == 0 or iteration == self.iterations

    def to_settings(self) -> dict[str, object]:
        """Return the settings as JSON gives them back."""
        return {**asdict(self), "augmentation": list(self.augmentation)}

    @classmethod
    def of_settings(cls, settings: Mapping[str, object]) -> Training:
        """Return the training of some settings, the others at their defaults.

        Raises
        ------
        UnknownNameError
            There is no such setting.
        ArgumentError, DtypeError
            A setting is outside its domain, or `settings` is no mapping.
        """
        if not isinstance(settings, Mapping):
            raise DtypeError(f"`settings` must map names to values; got {type(settings).__name__}. Pass a dict.")
        known = [field.name for field in fields(cls)]
        for name in settings:
            if name not in known:
                raise UnknownNameError("settings", name, known)
        return cls(**settings)


def whole_number(name: str, value: object, least: int, cure: str = "Give a whole number.") -> int:
    if isinstance(value, bool) or not isinstance(value, Integral) or not least <= value < 2**63:
        raise ArgumentError(f"`{name}` must be a whole number of at least {least}; got {value!r}. {cure}")
    return int(value)


def _number(name: str, value: object, low: float, high: float, *, closed: bool) -> float:
    """Return a float in [low, high) if `closed`, else in (low, high)."""
    fits = isinstance(value, Real) and not isinstance(value, bool) and low <= value < high and (closed or value > low)
    if not fits:
        domain = f"of at least {low}" if closed else f"above {low}"
        domain += "" if high == math.inf else f" and below {high}"
        raise ArgumentError(f"`{name}` must be a finite number {domain}; got {value!r}. See jacprobe.Training.")
    return float(value)


def _augmentation(names: object) -> tuple[str, ...]:
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise DtypeError(f"`augmentation` must be a sequence of names; got {names!r}. Pass a tuple such as ('flip',).")
    names = tuple(names)
    for name in names:
        if name not in AUGMENTATIONS:
            raise UnknownNameError("augmentation", name, AUGMENTATIONS)
    if len(set(names)) < len(names):
        raise ArgumentError(f"`augmentation` must name each kind once; got {names}. Leave the others out.")
    return names
