"""What a training gives back."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from torch import nn

from jacprobe.training.settings import Training

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """A trained network and the numbers on the way to it.

    Attributes
    ----------
    model
        A new model with the weights after iteration `selected`, or where a diverged run stopped; its masks are those of
        the one given.
    history
        A row per logged batch and per evaluation, with the columns `iteration` (from 1), `split` ("batch",
        "validation" or "test"), `loss` (cross-entropy) and `error` (in percent). Numbers of a batch are from before the
        update of its iteration, with the network in training mode; evaluations are from after it.
    selected
        The iteration that counts by the protocol; None if the run diverged.
    error
        Test error in percent there; NaN if the run diverged or there are no test data.
    diverged
        The first iteration with a loss that is not finite, at which the run stopped; None if there is none.
    seconds
        Wall time of all parts of the run.
    training
        The settings.
    """

    model: nn.Module
    history: pd.DataFrame
    selected: int | None
    error: float
    diverged: int | None
    seconds: float
    training: Training

    def __repr__(self) -> str:
        name = type(self.model).__name__
        if self.diverged is not None:
            return (f"TrainingRun({name}, diverged at iteration {self.diverged:,} of {self.training.iterations:,}: the"
                    " loss is not finite)")
        known = "no test data" if self.error != self.error else f"test error {self.error:.2f} %"
        which = "" if self.selected == self.training.iterations else f" at iteration {self.selected:,}"
        return f"TrainingRun({name}, {self.training.iterations:,} iterations, {known}{which}, {self.seconds:.1f} s)"

    def _repr_html_(self) -> str:
        last = self.history.groupby("split", sort=False).tail(1)
        return f"<p>{escape(repr(self))}</p>" + last.to_html(index=False, border=0, float_format="{:.4g}".format)
