"""The numbers of the histograms of sensitivity, apart from their drawing."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from torch import Tensor

from jacprobe.errors import ArgumentError
from jacprobe.plotting.arguments import check_whole
from jacprobe.plotting.sensitivity.scores import Scored, check_scores

STATISTICS = {"min": 0.0, "q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95, "max": 1.0}
_TAIL = 0.001  # of the scores of one parameter, at most, lie below the first bin of a logarithmic axis


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
    >>> import torch
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
    >>> import torch
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


def is_log(scored: Mapping[str, Scored], log: bool | None) -> bool:
    """Return whether the axis of scores is logarithmic: as asked for, by default where no score is negative."""
    negative = [name for name, (values, _) in scored.items() if values.min() < 0]
    if log and negative:
        raise ArgumentError(f"`log` must be False where scores are negative; those of {negative[0]!r} are. Leave it out"
                            " for a linear axis.")
    return not negative if log is None else bool(log)


def bin_edges(scored: Mapping[str, Scored], num_bins: int, *, log: bool) -> np.ndarray:
    """Return the common ends of the bins, of all scores; on a logarithmic axis of those that are not zero."""
    check_whole(num_bins, "num_bins", 1, 60)
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
