"""A callback for Lightning, whose class is made on first use: importing Lightning takes seconds, where it is there."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from functools import cache

import numpy as np
from torch import Tensor, nn

from jacprobe.errors import ArgumentError
from jacprobe.monitoring.monitor import Monitor

_PACKAGES = {"lightning": "lightning.pytorch", "pytorch_lightning": "pytorch_lightning"}


@cache
def lightning_monitor() -> type:
    """Return the class ``jacprobe.monitoring.LightningMonitor``.

    Raises
    ------
    ArgumentError
        The package lightning is missing.
    """

    class LightningMonitor(_callback_class()):
        """Records statistics of Jacobian singular values after every few steps of the optimiser.

        Values go to the trainer's loggers too, as ``statistic/segment``. Only the first process records.

        Parameters
        ----------
        inputs, settings
            As in ``jacprobe.Monitor``.
        model
            Takes the LightningModule and returns what is probed, such as ``lambda module: module.net``; by default the
            LightningModule itself.
        monitor
            A ready one, in place of all these.

        Attributes
        ----------
        monitor
            The ``jacprobe.Monitor``, from the start of training.
        """

        def __init__(self, inputs: Tensor | np.ndarray | None = None, *,
                     model: Callable[[nn.Module], nn.Module] | None = None, monitor: Monitor | None = None,
                     **settings: object):
            if (inputs is None) == (monitor is None):
                got = "neither" if inputs is None else "both"
                raise ArgumentError(f"`inputs` must be given, or `monitor`; got {got}. Pass a few training inputs.")
            super().__init__()
            self.monitor = monitor
            self._inputs, self._model, self._settings = inputs, model, settings

        def on_train_start(self, trainer, pl_module) -> None:
            if not trainer.is_global_zero:
                return
            if self.monitor is None:
                model = pl_module if self._model is None else self._model(pl_module)
                start = {"start": trainer.global_step} if trainer.global_step else {}
                self.monitor = Monitor(model, self._inputs, **{**start, **self._settings})
            self._log(trainer)

        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
            if not trainer.is_global_zero or trainer.global_step <= self.monitor.num_steps:  # gradients accumulate
                return
            if self.monitor.step(trainer.global_step):
                self._log(trainer)

        def on_train_end(self, trainer, pl_module) -> None:
            if trainer.is_global_zero:
                self.monitor.close()

        def _log(self, trainer) -> None:
            table = self.monitor.latest().set_index("segment").drop(columns="label")
            values = {f"{statistic}/{segment}": value for statistic in table.columns
                      for segment, value in table[statistic].dropna().items()}
            for logger in trainer.loggers:
                logger.log_metrics(values, step=self.monitor.num_steps)

    LightningMonitor.__module__, LightningMonitor.__qualname__ = "jacprobe.monitoring", "LightningMonitor"  # to pickle
    return LightningMonitor


def _callback_class() -> type:
    for package, module in _PACKAGES.items():
        if importlib.util.find_spec(package) is not None:
            return importlib.import_module(module).Callback
    raise ArgumentError("`lightning` must be installed for its callback; it is missing. Install it: pip install"
                        " lightning.")
