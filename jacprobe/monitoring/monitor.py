"""Statistics of a model's Jacobian singular values, recorded while it trains."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from jacprobe.errors import ArgumentError, JacprobeError, JacprobeWarning
from jacprobe.modelstate import check_is_module, unwrapped
from jacprobe.monitoring.pacing import Pace
from jacprobe.monitoring.recordfile import RecordFile, check_record_path, frame_of
from jacprobe.monitoring.scalarwriter import ScalarWriter, check_target
from jacprobe.monitoring.settings import check_share, checked_steps, first_inputs, settings_of
from jacprobe.monitoring.statistics import Record, by_name, check_statistics, records_of
from jacprobe.probe.checks import check_count, check_positive
from jacprobe.probe.probing import Probing
from jacprobe.probe.trace import OutputChoice
from jacprobe.results import Spectrum

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class Monitor:
    """Records statistics of the Jacobian singular values of a model every few training steps.

    The first record, of step 0, is made at once. Call ``step()`` after every ``optimizer.step()``. The model is left
    untouched, and nothing of the training changes: neither gradients and modes nor the random states.

    Parameters
    ----------
    model
        Any module that ``jacprobe.spectra`` takes, also compiled, masked or wrapped.
    inputs
        (num, ...) floating point; `num_inputs` of them, the first, are probed every time.
    every
        Steps between two records.
    statistics
        Columns of ``SpectrumSet.summary``, such as "mean", "std", "min", "max", "cond", "ldi", "mean_square"; see
        ``jacprobe.monitoring.STATISTICS``.
    kind, segments, output
        What is probed, as in ``jacprobe.spectra``.
    path
        A CSV file to which every record is appended. `resume` allows it to exist, with the same settings.
    resume
        Continue a file: `start` is the step at which training goes on, and later records are dropped, as they will
        come again; by default the last one in the file.
    start
        Steps that were taken already.
    tensorboard
        Folder of a run, or a ``SummaryWriter``, for scalars named ``statistic/segment``.
    max_share
        A record that is due is left out while recording would take more than this share of the time of training, so
        that fast steps have fewer records; None records all of them, at the same steps in every run.
    num_inputs
        How many inputs are probed; None for all.
    method, num_values, num_probes, seed, memory, work, epsilon
        As in ``jacprobe.spectra``. The default `work` leaves large layers with estimates of ``mean_square`` and
        ``relative_variance``. How a segment is solved is chosen once, by the weights of the first record.

    Raises
    ------
    ArgumentError, UnknownNameError, DtypeError, ShapeError
        An argument is wrong, `path` has other settings, or the package tensorboard is missing.
    OutputError, DataError
        `path` exists and `resume` is False, cannot be written, or is no such file.
    ModelError, NonFiniteError, BudgetError
        As ``jacprobe.spectra``.

    Examples
    --------
    >>> net = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Tanh(), nn.Linear(4, 2, bias=False))
    >>> for layer in (net[0], net[2]):
    ...     _ = nn.init.eye_(layer.weight)
    >>> monitor = Monitor(net, torch.zeros(2, 4), every=10, statistics=("mean", "max"), max_share=None)
    >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=1)
    >>> for _ in range(20):
    ...     net(torch.zeros(8, 4)).sum().backward()
    ...     optimizer.step()
    ...     recorded = monitor.step()
    >>> monitor.frame().query("statistic == 'mean'")[["step", "segment", "value", "label"]].round(4)
        step segment   value  label
    0      0       0  1.0000  exact
    2      0       2  1.0000  exact
    4     10       0  0.3487  exact
    6     10       2  0.3487  exact
    8     20       0  0.1216  exact
    10    20       2  0.1216  exact
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: Tensor | np.ndarray,
        *,
        every: int = 100,
        statistics: Sequence[str] = ("mean", "std", "max", "mean_square"),
        kind: str | Sequence[str] = "layers",
        segments: Iterable[tuple[str, str]] = (),
        output: OutputChoice | None = None,
        path: str | os.PathLike | None = None,
        resume: bool = False,
        start: int | None = None,
        tensorboard: str | os.PathLike | SummaryWriter | None = None,
        max_share: float | None = 0.05,
        num_inputs: int | None = 4,
        method: str = "auto",
        num_values: int = 1,
        num_probes: int | None = None,
        seed: int = 0,
        memory: float | str | None = None,
        work: float = 1e10,
        epsilon: float = 0.1,
    ):
        begin = time.perf_counter()
        check_is_module(model)
        check_count("every", every)
        self._statistics = check_statistics(statistics)
        self._epsilon = check_positive("epsilon", epsilon, "It is the half-width of the band around 1.")
        start = None if start is None else checked_steps("start", start, "Leave it out for 0.")
        if path is not None:
            check_record_path(path, resume=resume)
        if tensorboard is not None:
            check_target(tensorboard)
        self._pace, self._every = Pace(every, check_share(max_share)), every
        self._name = type(unwrapped(model)).__name__
        chosen = first_inputs(inputs, num_inputs)
        self._probing = Probing(
            model, chosen, kind=kind, segments=segments, output=output, accuracy="standard", device=None, dtype=None,
            method=method, num_values=num_values, num_probes=num_probes, num_steps=40, seed=seed, memory=memory,
            work=work)
        self._spectra = by_name(self._probing.run(progress=False))
        if not self._spectra:
            raise ArgumentError("`kind` must name something that the model has; got nothing to record, as no module"
                                " has weights. Pass kind='end_to_end'.")
        settings = settings_of(self._spectra, chosen, self._probing.provenance, model=self._name, every=every,
                               statistics=list(self._statistics), epsilon=self._epsilon, num_values=num_values,
                               num_probes=num_probes)
        self._writer = None if tensorboard is None else ScalarWriter(tensorboard)  # where it fails, `path` is not there
        self._file = None if path is None else RecordFile(path, settings, resume=resume, start=start)
        self._records: list[Record] = [] if self._file is None else list(self._file.records)
        latest = self._records[-1].step if self._records else 0
        self._num_steps = latest if start is None else start
        if self._writer is not None:
            self._writer.describe(self._spectra)
        if not self._records or latest != self._num_steps:
            self._keep(self._spectra)
        self._pace.charge(time.perf_counter() - begin)

    @property
    def num_steps(self) -> int:
        """Training steps so far."""
        return self._num_steps

    @property
    def seconds(self) -> float:
        """Time that recording took so far."""
        return self._pace.spent

    def step(self, number: int | None = None) -> bool:
        """Count one training step, and record if it is due.

        Parameters
        ----------
        number
            How many steps have been taken; by default one more than before.

        Returns
        -------
        bool
            Whether a record was made.

        Raises
        ------
        ArgumentError
            `number` is no whole number, or not larger than before.
        OutputError
            The record cannot be written.

        Warns
        -----
        JacprobeWarning
            The model cannot be probed any more, as its weights are not finite or its layers have other shapes: the
            record has no values, and training may go on.
        """
        before = self._num_steps
        now = before + 1 if number is None else checked_steps("number", number, "Count every step once.")
        if now <= before:
            raise ArgumentError(f"`number` must be larger than the {before} steps so far; got {number}. Count every"
                                " step once.")
        self._num_steps = now
        due = self._pace.is_due(before, now)
        return self.record() if due else False

    def record(self) -> bool:
        """Record now, whatever is due; False if this step has a record already."""
        if self._records and self._records[-1].step == self._num_steps:
            return False
        if self._probing.provenance["device"].startswith("cuda"):
            torch.cuda.synchronize()  # what training has started is not the monitor's time
        with self._pace.recording():
            self._keep(self._measured())
        return True

    def _measured(self) -> dict[str, Spectrum]:
        try:
            self._spectra = by_name(self._probing.again())
        except JacprobeError as error:  # no reason to lose a training run
            warnings.warn(f"no statistics at step {self._num_steps}: {error}", JacprobeWarning, stacklevel=4)
            return {name: _nothing(spectrum, str(error)) for name, spectrum in self._spectra.items()}
        return self._spectra

    def _keep(self, spectra: dict[str, Spectrum]) -> None:
        found = records_of(self._num_steps, spectra, self._statistics, self._epsilon)
        self._records += found
        for sink in (self._file, self._writer):
            if sink is not None:
                sink.append(found)

    def frame(self) -> pd.DataFrame:
        """Return a row per number: ``step, segment, statistic, value, label, standard_error``.

        `label` is that of the spectrum (exact, bounded, estimated), and "none" where the value is not known; `max` of
        a bounded or estimated spectrum is a lower bound. Only estimates have a `standard_error`.
        """
        return frame_of(self._records)

    def callback(self):
        """Return a callback for Lightning's ``Trainer`` that calls ``step`` after every step of the optimiser.

        Raises
        ------
        ArgumentError
            The package lightning is missing.
        """
        from jacprobe.monitoring.lightningcallback import lightning_monitor

        return lightning_monitor()(monitor=self)

    def latest(self) -> pd.DataFrame:
        """Return the values of the last record, a row per segment and a column per statistic."""
        frame = self.frame()
        last = frame[frame["step"] == frame["step"].max()]
        values = last.pivot(index="segment", columns="statistic", values="value")
        table = values.loc[list(self._spectra), list(self._statistics)].rename_axis(columns=None).reset_index()
        known = last[last["label"] != "none"]
        labels = dict(zip(known["segment"], known["label"], strict=True))
        return table.assign(label=[labels.get(segment, "none") for segment in table["segment"]])

    def close(self) -> None:
        """Close the TensorBoard run that was opened here."""
        if self._writer is not None:
            self._writer.close()

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        num_records = len({record.step for record in self._records})
        return (f"Monitor of {self._name}: {', '.join(self._statistics)} of {len(self._spectra)} segments every"
                f" {self._every} steps; {num_records} records, the last at step {self._records[-1].step}")

    def _repr_html_(self) -> str:
        return f"<p>{escape(repr(self))}</p>" + self.latest().to_html(index=False, border=0, na_rep="",
                                                                      float_format="{:.4g}".format)


def _nothing(spectrum: Spectrum, reason: str) -> Spectrum:
    return Spectrum(spectrum.segment, spectrum.kind, spectrum.source, spectrum.target, spectrum.out_dim,
                    spectrum.in_dim, spectrum.num_inputs, modules=spectrum.modules, reason=reason)
