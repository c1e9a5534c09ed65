"""Scores and masks of a network, checked, and the threshold between kept and removed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from jacprobe.errors import ArgumentError, DtypeError, NonFiniteError, ShapeError


class Scored(NamedTuple):
    """The scores of a parameter, flattened, and which of them are kept (None where no masks are given)."""

    values: np.ndarray
    kept: np.ndarray | None


def check_scores(scores: object, masks: object = None) -> dict[str, Scored]:
    """Return `scores` and `masks` as checked arrays by name, float64 and bool."""
    if not isinstance(scores, Mapping):
        raise DtypeError(f"`scores` must map parameter names to tensors; got {type(scores).__name__}."
                         " Take what jacprobe.scores returns.")
    if not scores:
        raise ArgumentError("`scores` must hold at least one parameter; got an empty mapping. Score a model first.")
    arrays = {str(name): _array(str(name), score) for name, score in scores.items()}
    if masks is None:
        return {name: Scored(values, None) for name, values in arrays.items()}
    check_masks(masks, "masks")
    for name, score in scores.items():
        if name not in masks or masks[name].shape != score.shape:
            got = f"shape {tuple(masks[name].shape)}" if name in masks else f"only {', '.join(map(str, masks))}"
            raise ShapeError(f"`masks` must have {name!r} in the shape {tuple(score.shape)} of its scores; got {got}."
                             " Draw masks and scores of the same model.")
    return {name: Scored(values, masks[name].cpu().numpy().ravel()) for name, values in arrays.items()}


def check_masks(masks: object, what: str) -> None:
    """Check that `masks`, called `what` in messages, map names to bool tensors, at least one."""
    if not isinstance(masks, Mapping) or not all(isinstance(m, Tensor) and m.dtype == torch.bool
                                                 for m in masks.values()):
        raise DtypeError(f"`{what}` must map parameter names to bool tensors; got {type(masks).__name__}."
                         " Take what jacprobe.prune returns.")
    if not masks:
        raise ArgumentError(f"`{what}` must hold at least one mask; got none. Prune a model first.")


def _array(name: str, score: object) -> np.ndarray:
    if not isinstance(score, Tensor) or score.is_complex() or score.dtype == torch.bool:
        got = score.dtype if isinstance(score, Tensor) else type(score).__name__
        raise DtypeError(f"`scores` must hold real tensors; got {got} for {name!r}. Score a model first.")
    if not score.numel():
        raise ShapeError(f"`scores` must hold numbers; {name!r} is empty, of shape {tuple(score.shape)}. Leave it out.")
    values = score.detach().cpu().double().numpy().ravel()
    if bad := int((~np.isfinite(values)).sum()):
        raise NonFiniteError(f"`scores` must be finite; {name!r} has {bad} NaN or infinite of {values.size}."
                             " Check the model and the data.")
    return values


def threshold_of(scored: Mapping[str, Scored]) -> float | None:
    """Return the lowest kept score where one threshold over all parameters separates kept and removed, else None.

    None too where all or nothing is kept.
    """
    kept = [values[kept] for values, kept in scored.values() if kept is not None and kept.any()]
    removed = [values[~kept] for values, kept in scored.values() if kept is not None and not kept.all()]
    if not kept or not removed:
        return None
    lowest, highest = min(values.min() for values in kept), max(values.max() for values in removed)
    return float(lowest) if lowest >= highest else None
