"""The numbers of the sensitivity figures, apart from their drawing."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from jacprobe.errors import ArgumentError, DtypeError, NonFiniteError, ShapeError

STATISTICS = {"min": 0.0, "q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95, "max": 1.0}
_TAIL = 0.001  # of the scores of one parameter, at most, lie below the first bin of a logarithmic axis
_JITTER = 0.36  # half of the width of a strip of points, in slots


class Scored(NamedTuple):
    """The scores of a parameter, flattened, and which of them are kept (None where no masks are given)."""

    values: np.ndarray
    kept: np.ndarray | None


def sensitivity_data(scores: Mapping[str, Tensor], *, masks: Mapping[str, Tensor] | None = None) -> pd.DataFrame:
    """Return how the scores are distributed in each parameter: one row per parameter.

    Parameters
    ----------
    scores
        Real tensors by parameter name, such as `jacprobe.scores` returns.
    masks
        Masks of the same names and shapes.

    Returns
    -------
    DataFrame
        Columns: parameter, shape (a text such as 100x784), num_weights; share, of the sum of all absolute scores; zeros
        and kept, the shares in [0, 1] of weights that score exactly zero and that the masks keep (NaN without masks);
        mean, min, q05, q25, median, q75, q95, max of all scores of the parameter, zeros included.

    Raises
    ------
    DtypeError, ShapeError, ArgumentError, NonFiniteError
        `scores` are no such mapping, or `masks` do not fit them.

    Examples
    --------
    >>> scores = {"fc1.weight": torch.tensor([[0.0, 0.1, 0.2]]), "fc2.weight": torch.tensor([[0.7]])}
    >>> sensitivity_data(scores)[["parameter", "share", "zeros", "median"]].round(2)
        parameter  share  zeros  median
    0  fc1.weight    0.3   0.33     0.1
    1  fc2.weight    0.7   0.00     0.7
    """
    scored = check_scores(scores, masks)
    total = sum(np.abs(values).sum() for values, _ in scored.values())
    rows = []
    for name, (values, kept) in scored.items():
        rows.append({
            "parameter": name,
            "shape": "x".join(map(str, scores[name].shape)) or "1",
            "num_weights": values.size,
            "share": np.abs(values).sum() / total if total else 0.0,
            "zeros": float((values == 0).mean()),
            "kept": np.nan if kept is None else float(kept.mean()),
            "mean": float(values.mean()),
            **dict(zip(STATISTICS, np.quantile(values, list(STATISTICS.values())).tolist(), strict=True)),
        })
    return pd.DataFrame(rows)


def sensitivity_bins(
    scores: Mapping[str, Tensor],
    *,
    masks: Mapping[str, Tensor] | None = None,
    num_bins: int = 60,
    log: bool | None = None,
) -> pd.DataFrame:
    """Return the histograms that ``draw_sensitivity`` draws: one row per parameter and bin.

    Parameters
    ----------
    scores, masks
        As for ``sensitivity_data``.
    num_bins
        Number of bins of equal width, the same for all parameters; in the logarithm where `log`.
    log
        Whether the axis is logarithmic; by default where no score is negative. Zeros are then in no bin.

    Returns
    -------
    DataFrame
        Columns: parameter; low and high, the ends of the bin; share, of the weights of the parameter that lie in it;
        kept, the share that also is kept (NaN without masks). The last bin holds its upper end too. On a logarithmic
        axis up to 0.1 % of the scores of a parameter lie below the first bin.

    Raises
    ------
    DtypeError, ShapeError, ArgumentError, NonFiniteError
        As ``sensitivity_data``; or `num_bins` is no positive whole number; or `log` with negative scores.

    Examples
    --------
    >>> sensitivity_bins({"weight": torch.tensor([0.0, 1.0, 1.0, 100.0])}, num_bins=2)[["low", "high", "share"]]
        low   high  share
    0   1.0   10.0   0.50
    1  10.0  100.0   0.25
    """
    scored = check_scores(scores, masks)
    edges = bin_edges(scored, num_bins, log=is_log(scored, log))
    rows = []
    for name, (values, kept) in scored.items():
        shares = np.histogram(values, edges)[0] / values.size
        held = np.full(num_bins, np.nan) if kept is None else np.histogram(values[kept], edges)[0] / values.size
        rows.append(pd.DataFrame({"parameter": name, "low": edges[:-1], "high": edges[1:], "share": shares,
                                  "kept": held}))
    return pd.concat(rows, ignore_index=True)


def sensitivity_points(scores: Mapping[str, Tensor], *, num_points: int = 950, seed: int = 0) -> pd.DataFrame:
    """Return the points that ``draw_sensitivity_scatter`` draws: at most `num_points` of each parameter.

    They are drawn without replacement, and jittered about the position of their parameter.

    Parameters
    ----------
    scores
        As for ``sensitivity_data``.
    num_points
        Points per parameter; all of a smaller one.
    seed
        Of the choice and of the jitter. The points of a parameter do not depend on the parameters after it.

    Returns
    -------
    DataFrame
        Columns: parameter; index, into the flattened parameter, increasing; position, 0, 1, ... plus the jitter; score.

    Raises
    ------
    DtypeError, ArgumentError, NonFiniteError
        `scores` are no such mapping, or `num_points` or `seed` is no such number.
    """
    scored = check_scores(scores, None)
    _check_whole("num_points", num_points, 1)
    _check_whole("seed", seed, 0)
    rng = np.random.default_rng(seed)
    rows = []
    for position, (name, (values, _)) in enumerate(scored.items()):
        index = np.sort(rng.choice(values.size, min(num_points, values.size), replace=False))
        jitter = rng.uniform(-_JITTER, _JITTER, index.size)
        rows.append(pd.DataFrame({"parameter": name, "index": index, "position": position + jitter,
                                  "score": values[index]}))
    return pd.concat(rows, ignore_index=True)


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


def _check_whole(what: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ArgumentError(f"`{what}` must be a whole number of at least {least}; got {value!r}. Try {least + 60}.")


def is_log(scored: Mapping[str, Scored], log: bool | None) -> bool:
    """Return whether the axis of scores is logarithmic: as asked for, by default where no score is negative."""
    negative = [name for name, (values, _) in scored.items() if values.min() < 0]
    if log and negative:
        raise ArgumentError(f"`log` must be False where scores are negative; those of {negative[0]!r} are. Leave it out"
                            " for a linear axis.")
    return not negative if log is None else bool(log)


def bin_edges(scored: Mapping[str, Scored], num_bins: int, *, log: bool) -> np.ndarray:
    """Return the common ends of the bins, of all scores; on a logarithmic axis of those that are not zero."""
    _check_whole("num_bins", num_bins, 1)
    if not log:
        low, high = (extreme(extreme(values) for values, _ in scored.values()) for extreme in (min, max))
        pad = 0 if high > low else abs(high) / 2 or 1.0
        return np.linspace(low - pad, high + pad, num_bins + 1)
    positive = [values[values > 0] for values, _ in scored.values()]
    positive = [values for values in positive if values.size]
    if not positive:
        return np.geomspace(0.1, 1, num_bins + 1)
    low = min(np.quantile(values, _TAIL, method="lower") for values in positive)
    high = max(values.max() for values in positive)
    if high / low < 1 + 1e-6:  # one value, or nearly; it needs a bin around it
        return np.geomspace(low / 2, high * 2, num_bins + 1)
    edges = np.geomspace(low, high, num_bins + 1)
    edges[[0, -1]] = low, high  # rounding must not lose the extremes
    return edges


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
