"""One probing: arguments checked, segments surveyed, spectra found, and found again once weights have changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from jacprobe.errors import ArgumentError, UnknownNameError
from jacprobe.probe import segments as parts
from jacprobe.probe.budget import memory_budget
from jacprobe.probe.checks import check_count, check_pairs, check_positive
from jacprobe.probe.choice import METHODS, Request
from jacprobe.probe.measurement import Measurement
from jacprobe.probe.session import Session
from jacprobe.probe.trace import OutputChoice
from jacprobe.provenance import environment
from jacprobe.randomness import drawn_seed
from jacprobe.results import Spectrum

KINDS = {"layers": parts.layers, "modules": parts.modules, "end_to_end": parts.end_to_end,
         "cumulative": parts.cumulative}


class Probing:
    """Spectra of one model on one set of inputs; parameters and errors are those of ``jacprobe.spectra``.

    Attributes
    ----------
    provenance
        How the numbers come about, as plain values.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: Tensor | np.ndarray,
        *,
        kind: str | Sequence[str],
        segments: Iterable[tuple[str, str]],
        output: OutputChoice | None,
        accuracy: str,
        device: str | torch.device | None,
        dtype: str | torch.dtype | None,
        method: str,
        num_values: int,
        num_probes: int | None,
        num_steps: int,
        seed: int | torch.Generator,
        memory: float | str | None,
        work: float,
    ):
        work = check_positive("work", work, "It is a number of operations; leave it out for the default.")
        _check_method(method, accuracy)
        counts = {"num_values": num_values, "num_steps": num_steps,
                  "num_probes": 1 if num_probes is None else num_probes}
        for name, count in counts.items():
            check_count(name, count)
        seed = drawn_seed(seed)
        self._kinds, self._pairs = _check_kinds(kind), check_pairs(segments)
        if not self._kinds and not self._pairs:
            raise ArgumentError("`kind` must name what to probe where there are no `segments`; got none. Leave it out"
                                " for layers and end to end.")
        self._session = session = Session(model, inputs, output=output, accuracy=accuracy, dtype=dtype, device=device)
        self._request = Request(method, accuracy == "relative", session.dtype != torch.float64, num_values, num_probes,
                                num_steps, seed, memory_budget(memory, session.device), work, len(session.inputs))
        self._measurement: Measurement | None = None
        self.provenance = {
            **environment(),
            "device": str(session.device),
            "dtype": str(session.dtype).removeprefix("torch."),
            "accuracy": accuracy,
            "method": method,
            "seed_of_probes": seed,
            "memory": self._request.memory,
            "work": work,
            "num_inputs": len(session.inputs),
            "input_shape": list(session.inputs.shape[1:]),
        }

    def run(self, progress: bool | None) -> list[Spectrum]:
        """Survey the segments and solve them."""
        with self._session.opened():
            measurement = Measurement(self._session, self._request)
            measurement.survey([KINDS[kind] for kind in self._kinds], self._pairs)
            found = measurement.run(progress)
        self._measurement = measurement
        self._session.release()
        return found

    def again(self) -> list[Spectrum]:
        """Solve the same segments in the same way, by the weights that the model has by now.

        Every product of factors is compared with the model in float64 again, as the floor needs it.
        """
        if self._measurement is None:
            return self.run(progress=False)
        with self._session.reopened():
            self._measurement.restart()
            found = self._measurement.run(progress=False)
        self._session.release()
        return found


def _check_method(method: str, accuracy: str) -> None:
    if method not in METHODS:
        raise UnknownNameError("method", method, METHODS)
    if accuracy == "relative" and method not in ("auto", "exact"):
        raise ArgumentError(f"`method` must be left out with accuracy 'relative'; got {method!r}. Leave one of them"
                            " out.")


def _check_kinds(kind: str | Sequence[str]) -> list[str]:
    kinds = list(kind) if isinstance(kind, Iterable) and not isinstance(kind, str) else [kind]
    for name in kinds:
        if name not in KINDS:
            raise UnknownNameError("kind", name, KINDS)
    return list(dict.fromkeys(kinds))
