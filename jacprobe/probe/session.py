"""One model and its inputs, checked and ready to be traced in any precision."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from jacprobe.devices import check_device
from jacprobe.errors import ModelError
from jacprobe.modelstate import check_model, detached_state, preserved, unwrapped
from jacprobe.probe.checks import check_inputs, check_samples
from jacprobe.probe.defaults import PLAIN, Defaults
from jacprobe.probe.precision import full_precision, working_dtype
from jacprobe.probe.segments import weighted_modules
from jacprobe.probe.survey import stack_samples
from jacprobe.probe.trace import Observer, OutputChoice, Trace, run, trace


class Session:
    """A model with its state copied to the working precision and device, and its inputs.

    Use it inside ``opened``: the model is in evaluation mode there, and given back untouched.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: Tensor | np.ndarray,
        *,
        output: OutputChoice | None,
        accuracy: str,
        dtype: str | torch.dtype | None,
        device: str | torch.device | None,
    ):
        check_model(model)
        self.model = unwrapped(model)
        self.output = output
        floating = next((t for t in [*model.parameters(), *model.buffers()] if t.is_floating_point()), None)
        inputs = check_inputs(inputs)
        self.device = check_device(device, inputs.device if floating is None else floating.device)
        self.dtype = working_dtype(inputs.dtype if floating is None else floating.dtype, accuracy, dtype)
        self.inputs = inputs.to(self.dtype)
        self._runs_in_other = self.device.type != "mps"  # which knows no float64
        self.weighted = weighted_modules(self.model)
        with torch.inference_mode(False):  # tensors made in that mode can never carry a gradient
            self.state = detached_state(self.model, dtype=self.dtype, device=self.device)
        self._channels_last, self._defaults = False, Defaults.current()

    @contextlib.contextmanager
    def opened(self) -> Iterator[Session]:
        """Enter evaluation mode and full precision, check that samples are independent, and restore everything."""
        with self._calm():
            few = stack_samples(self.inputs).to(self.device)
            self._lay_out(few[:2])
            check_samples(lambda x: self._run(self.state, x), few)
            yield self

    @contextlib.contextmanager
    def reopened(self) -> Iterator[Session]:
        """Do as ``opened`` with the weights that the model has by now; that samples are independent is known."""
        check_model(self.model)
        with self._calm():
            self.state = detached_state(self.model, dtype=self.dtype, device=self.device,
                                        channels_last=self._channels_last)
            yield self

    def release(self) -> None:
        """Let go of the copies of the weights until the session is reopened."""
        self.state = {}

    @contextlib.contextmanager
    def _calm(self) -> Iterator[None]:
        with preserved(self.model), full_precision(self.device), torch.inference_mode(False), PLAIN.active():
            yield

    def _run(self, state: dict[str, Tensor], inputs: Tensor) -> Tensor:
        with self._defaults.active():
            return run(self.model, state, inputs, output=self.output)

    def _trace(self, state: dict[str, Tensor], inputs: Tensor, observe: Observer | None = None) -> Trace:
        with self._defaults.active():
            return trace(self.model, state, inputs, output=self.output, weighted=self.weighted, observe=observe)

    def _lay_out(self, few: Tensor) -> None:
        """Run convolutions of images pixel by pixel in memory, which CPUs do faster, where the model allows it.

        A ``view`` in a forward or backward pass may not.
        """
        convolves = any(isinstance(module, nn.Conv2d) for module in self.weighted.values())
        if self.device.type != "cpu" or self.dtype != torch.float32 or few.ndim != 4 or not convolves:
            return
        state = detached_state(self.model, dtype=self.dtype, device=self.device, channels_last=True)
        with contextlib.suppress(ModelError, RuntimeError):
            leaf = few.contiguous(memory_format=torch.channels_last).requires_grad_()
            result = self._run(state, leaf.clone())
            torch.autograd.grad(result.sum(), leaf)
            self.state, self._channels_last = state, True

    def some(self, count: int) -> Tensor:
        """Return `count` of the inputs, evenly spread."""
        return stack_samples(self.inputs, count)

    def trace(self, inputs: Tensor, copies: int = 1, observe: Observer | None = None) -> Trace:
        """Trace the model on `inputs`, each `copies` times, in the working precision."""
        batch = inputs.to(self.device)
        batch = batch.repeat(copies, *[1] * (inputs.ndim - 1)) if copies > 1 else batch
        batch = batch.contiguous(memory_format=torch.channels_last) if self._channels_last else batch
        return self._trace(self.state, batch, observe)

    def trace_fewer(self, than: int) -> Trace:
        """Trace another number of samples than `than`, to see which dimensions of which sites are the batch."""
        return self.trace(stack_samples(self.inputs)[: 3 if than == 2 else 2])

    def survey_traces(self) -> tuple[Trace, Trace]:
        """Trace a few samples, and another number of them."""
        few = stack_samples(self.inputs)
        return self.trace(few), self.trace_fewer(len(few))

    def trace_other(self, inputs: Tensor) -> Trace | None:
        """Trace `inputs` in float64, or in float32 where the model is in float64; None where it cannot run so.

        A constant of fixed type in a forward makes it fail, or leaves a part of it in its own precision.
        """
        if not self._runs_in_other:
            return None
        other = torch.float32 if self.dtype == torch.float64 else torch.float64
        state = detached_state(self.model, dtype=other, device=self.device)
        batch = inputs.to(device=self.device, dtype=other)
        found = None
        with contextlib.suppress(ModelError):
            found = self._trace(state, batch)
        self._runs_in_other = found is not None and found.dtypes == {other}
        return found if self._runs_in_other else None
