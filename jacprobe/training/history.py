"""What a training writes down as it goes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("batch", "validation", "test")
_WAITING = 50  # losses that may wait on a GPU, so that it need not be waited for at each


class History:
    """Rows of iteration, split, loss and error, and the first iteration whose loss is not finite.

    Attributes
    ----------
    rows
        Tuples (iteration, split, loss, error in percent), all finite.
    diverged
        The iteration whose loss is not finite, None as long as there is none.
    """

    def __init__(self) -> None:
        self.rows: list[tuple[int, str, float, float]] = []
        self.diverged: int | None = None
        self._waiting: list[tuple[int, Tensor, Tensor | None]] = []

    def note_batch(self, iteration: int, loss: Tensor, error: Tensor | None) -> bool:
        """Take the loss of a batch, and its error if it is to be logged; return whether `settle` is due."""
        self._waiting.append((iteration, loss.detach(), error))
        return loss.device.type == "cpu" or len(self._waiting) >= _WAITING

    def settle(self) -> None:
        """Read the losses that wait, up to the first that is not finite."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        losses = torch.stack([loss for _, loss, _ in waiting]).tolist()
        for (iteration, _, error), loss in zip(waiting, losses, strict=True):
            if not math.isfinite(loss):
                self.diverged = iteration
                return
            if error is not None:
                self.rows.append((iteration, "batch", loss, float(error)))

    def note_evaluation(self, iteration: int, split: str, loss: float, error: float) -> None:
        if math.isfinite(loss):
            self.rows.append((iteration, split, loss, error))
        elif self.diverged is None:
            self.diverged = iteration

    def frame(self) -> pd.DataFrame:
        """Return a row per logged batch and evaluation."""
        import pandas as pd  # which takes longer to import than all else here

        columns = {"iteration": "int64", "split": "object", "loss": "float64", "error": "float64"}
        return pd.DataFrame(self.rows, columns=list(columns)).astype(columns)

    def tensors(self) -> dict[str, Tensor]:
        """Return the rows as columns, bit by bit."""
        iterations, splits, losses, errors = zip(*self.rows, strict=True) if self.rows else ((), (), (), ())
        return {"iteration": torch.tensor(iterations, dtype=torch.int64),
                "split": torch.tensor([SPLITS.index(split) for split in splits], dtype=torch.uint8),
                "loss": torch.tensor(losses, dtype=torch.float64), "error": torch.tensor(errors, dtype=torch.float64)}

    @classmethod
    def of_tensors(cls, tensors: dict[str, Tensor], diverged: int | None) -> History:
        found = cls()
        columns = (tensors[name].tolist() for name in ("iteration", "split", "loss", "error"))
        found.rows = [(iteration, SPLITS[split], loss, error)
                      for iteration, split, loss, error in zip(*columns, strict=True)]
        found.diverged = diverged
        return found
