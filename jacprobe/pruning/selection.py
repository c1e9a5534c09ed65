"""From scores to masks with an exact count: the highest scores are kept, of equal ones those of lower index."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from jacprobe.errors import ArgumentError, NonFiniteError
from jacprobe.masks import Masks

_CHUNK = 1 << 22  # entries at a time, so that no temporary is as large as the scores


def select(
    scores: Mapping[str, Tensor],
    *,
    num_kept: int,
    quotas: Mapping[str, int] | None = None,
    floors: Mapping[str, int] | None = None,
    eligible: Mapping[str, Tensor] | None = None,
) -> Masks:
    """Keep exactly `num_kept` entries, those of the highest scores.

    Parameters
    ----------
    scores
        Tensor of any real dtype and shape per name. Among equal scores the lower index is kept; indices run through
        the tensors in the order of the names.
    num_kept
        Number of entries to keep in all.
    quotas
        Number to keep of each tensor, `num_kept` in all; None for one threshold over all tensors.
    floors
        With one threshold: number that each tensor keeps at least, where it has as many. The others give way.
    eligible
        Bool tensor per name: entries that may be kept, where not all may. The others do not compete, whatever they
        score, so what is removed stays removed also where scores are signed or minus infinity.

    Raises
    ------
    NonFiniteError
        A score is NaN.
    ArgumentError
        More shall be kept than may be, or the floors are more than `num_kept`.

    Notes
    -----
    One working copy of the competing scores is partitioned around the threshold, in linear time without a sort; the
    rest goes by chunks.
    """
    flat = {name: score.detach().cpu().reshape(-1) for name, score in scores.items()}
    for name, score in flat.items():
        if score.numel() and score.is_floating_point() and score.amax().isnan():  # which passes NaN on
            raise NonFiniteError(f"`scores` must not be NaN; those of {name!r} are. Check the data and the weights.")
    allowed = {name: eligible[name].reshape(-1) for name in flat if name in (eligible or {})}
    if quotas is None and floors:
        quotas = _raised(flat, allowed, num_kept, floors)
    kept = _highest(flat, allowed, num_kept) if quotas is None else {}
    for name in quotas or {}:
        kept |= _highest({name: flat[name]}, allowed, quotas[name])
    return Masks({name: kept[name].reshape(scores[name].shape) for name in flat})


def available(scores: Mapping[str, Tensor], eligible: Mapping[str, Tensor] | None) -> dict[str, int]:
    """Return how many entries of each tensor may be kept."""
    return {name: int(eligible[name].count_nonzero()) if name in (eligible or {}) else score.numel()
            for name, score in scores.items()}


def _highest(flat: dict[str, Tensor], allowed: dict[str, Tensor], num_kept: int) -> dict[str, Tensor]:
    """Return flat masks of the `num_kept` highest scores of all the given tensors together."""
    counts = available(flat, allowed)
    num_removed = sum(counts.values()) - num_kept
    if num_removed < 0 or num_kept < 0:
        raise ArgumentError(f"`num_kept` must lie in [0, {sum(counts.values())}], the entries that may be kept;"
                            f" got {num_kept}. Ask for another sparsity.")
    if not num_kept or not num_removed:
        return {name: torch.zeros(len(score), dtype=torch.bool) if not num_kept else
                allowed.get(name, torch.ones(len(score), dtype=torch.bool)) for name, score in flat.items()}
    dtype = _common(flat)
    threshold, num_ties = _threshold(flat, allowed, sum(counts.values()), num_removed, dtype)
    kept = {name: torch.empty(len(score), dtype=torch.bool) for name, score in flat.items()}
    for name, part in _chunks(flat):
        score = flat[name][part].to(dtype)
        above = score > threshold
        if num_ties:
            ties = score == threshold
            if name in allowed:
                ties &= allowed[name][part]
            here = int(ties.count_nonzero())
            if here > num_ties:
                ties[ties.nonzero().flatten()[num_ties:]] = False
            num_ties -= min(here, num_ties)
            above |= ties
        kept[name][part] = above & allowed[name][part] if name in allowed else above
    return kept


def _threshold(flat: dict[str, Tensor], allowed: dict[str, Tensor], num: int, num_removed: int,
               dtype: torch.dtype) -> tuple[Tensor, int]:
    """Return the lowest score that is kept, and how many of those that equal it are kept.

    NumPy's partition is faster than ``torch.kthvalue`` and carries no indices, which would be twice the scores.
    """
    copy = torch.empty(num, dtype=dtype)
    end = 0
    for name, part in _chunks(flat):
        score = flat[name][part]
        score = score[allowed[name][part]] if name in allowed else score
        copy[end : end + len(score)] = score
        end += len(score)
    copy.numpy().partition(num_removed)
    threshold = copy[num_removed].clone()
    return threshold, sum(int((part == threshold).count_nonzero()) for part in copy[num_removed:].split(_CHUNK))


def _raised(flat: dict[str, Tensor], allowed: dict[str, Tensor], num_kept: int,
            floors: Mapping[str, int]) -> dict[str, int]:
    """Return how many entries each tensor keeps under one threshold, where none goes below its floor.

    A tensor that falls below gets its floor, and the others share the rest, until none falls below.
    """
    least = {name: min(floors.get(name, 0), count) for name, count in available(flat, allowed).items()}
    if sum(least.values()) > num_kept:
        raise ArgumentError(f"`min_kept` must leave enough weights for every layer; the layers keep at least"
                            f" {sum(least.values())} and the sparsity keeps {num_kept}. Lower one of them.")
    quotas: dict[str, int] = {}
    while True:
        free = {name: score for name, score in flat.items() if name not in quotas}
        rest = num_kept - sum(quotas.values())
        found = {name: int(mask.count_nonzero()) for name, mask in _highest(free, allowed, rest).items()}
        below = {name: least[name] for name, count in found.items() if count < least[name]}
        if not below:
            return quotas | found
        quotas |= below


def _common(flat: dict[str, Tensor]) -> torch.dtype:
    """Return a dtype that NumPy knows and that holds all scores: whole numbers stay exact among themselves."""
    found = {score.dtype for score in flat.values()}
    if not any(dtype.is_floating_point for dtype in found):
        return torch.int64
    narrow = all(dtype.is_floating_point and dtype.itemsize <= 4 for dtype in found)
    return torch.float32 if narrow else torch.float64


def _chunks(flat: dict[str, Tensor]) -> Iterator[tuple[str, slice]]:
    for name, score in flat.items():
        for begin in range(0, len(score), _CHUNK):
            yield name, slice(begin, begin + _CHUNK)
