"""A training on its way: one iteration after the other, and all that is needed to go on from any of them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from jacprobe.training.data import Labelled, batches
from jacprobe.training.evaluation import batch_error, evaluation
from jacprobe.training.history import History
from jacprobe.training.plain import PlainCopy
from jacprobe.training.precision import Precision
from jacprobe.training.settings import Training
from jacprobe.training.updates import Descent


@dataclass
class Best:
    """The evaluation of the lowest test error so far, and the weights and buffers of it."""

    iteration: int
    error: float
    tensors: dict[str, Tensor]


class Course:
    """The state of a training.

    Parameters
    ----------
    plain
        The network, whose weights are trained in place.
    data
        What it learns.
    held_out
        What it is evaluated on, by split.
    training
        The settings.
    precision
        In which it runs.

    Attributes
    ----------
    iteration
        How many updates were made.
    history
        What was logged.
    best
        Kept where the test data choose.
    """

    def __init__(self, plain: PlainCopy, data: Labelled, held_out: Mapping[str, Labelled], training: Training,
                 precision: Precision):
        self.iteration, self.history, self.best = 0, History(), None
        self._plain, self._held_out, self._training, self._precision = plain, held_out, training, precision
        self._batch = batches(data, training)
        self._descent = Descent(plain.trained, momentum=training.momentum, l2=training.l2)
        self._device = data.inputs.device
        self._begin, self._seconds_before = time.perf_counter(), 0.0

    @property
    def is_done(self) -> bool:
        return self.iteration == self._training.iterations or self.history.diverged is not None

    @property
    def seconds(self) -> float:
        """Wall time since the beginning, without that between interruption and resumption."""
        return self._seconds_before + time.perf_counter() - self._begin

    def advance(self) -> None:
        """Make one iteration; if its loss is not finite, it is found out at the latest 50 iterations later."""
        iteration = self.iteration + 1
        inputs, labels = self._batch(iteration)
        with torch.enable_grad(), self._precision.running():
            outputs = self._plain.net(inputs)
            loss = nn.functional.cross_entropy(outputs, labels)
        gradients = self._precision.gradients(loss, self._descent.parameters)
        error = batch_error(outputs.detach(), labels) if self._training.logs(iteration) else None
        if self.history.note_batch(iteration, loss, error):
            self.history.settle()
            if self.history.diverged is not None:
                return
        if gradients is not None:
            self._descent.step(gradients, self._training.rate_at(iteration))
        self.iteration = iteration
        if self._training.evaluates(iteration):
            self._evaluate()

    def _evaluate(self) -> None:
        self.history.settle()
        if self.history.diverged is not None:
            return
        errors = {}
        for split, data in self._held_out.items():
            loss, errors[split] = evaluation(self._plain.net, data, self._precision)
            self.history.note_evaluation(self.iteration, split, loss, errors[split])
        if not all(bool(parameter.isfinite().all()) for parameter in self._descent.parameters):
            self.history.diverged = self.iteration
        elif self._training.protocol == "paper" and (self.best is None or errors["test"] < self.best.error):
            self.best = Best(self.iteration, errors["test"], _copies(self._plain.tensors()))

    def contents(self) -> dict[str, object]:
        """Return tensors and plain values from which `take` goes on as if nothing had happened."""
        self.history.settle()
        scale = self._precision.scale
        return {
            "iteration": self.iteration,
            "seconds": self.seconds,
            "tensors": self._plain.tensors(),
            "velocities": self._descent.velocities,
            "history": self.history.tensors(),
            "diverged": self.history.diverged,
            "best": None if self.best is None else asdict(self.best),
            "scale": None if scale is None else [scale.factor, scale.num_good],
            "random": _random_states(self._device),
        }

    @torch.no_grad()
    def take(self, contents: Mapping) -> None:
        """Put everything as it was when `contents` were taken of a course of the same arguments."""
        self.iteration, self._seconds_before = contents["iteration"], contents["seconds"]
        self._plain.load(contents["tensors"])
        for velocity, saved in zip(self._descent.velocities, contents["velocities"], strict=True):
            velocity.copy_(saved)
        self.history = History.of_tensors(contents["history"], contents["diverged"])
        self.best = None if contents["best"] is None else Best(**contents["best"])
        if self._precision.scale is not None:
            self._precision.scale.factor, self._precision.scale.num_good = contents["scale"]
        torch.set_rng_state(contents["random"]["cpu"])
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(contents["random"]["cuda"], self._device)


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in tensors.items()}


def _random_states(device: torch.device) -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    return states | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})
