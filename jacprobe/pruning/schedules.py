"""In how many rounds, and how fast, the weights go: from the counts of each round to the final masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from jacprobe.errors import ArgumentError, UnknownNameError
from jacprobe.masks import Masks
from jacprobe.progress import progress_bar
from jacprobe.pruning.allocation import Allocator
from jacprobe.pruning.selection import available, select

RoundScore = Callable[["Masks | None"], dict[str, Tensor]]


def one_shot(num: int, num_kept: int, num_rounds: int) -> list[int]:
    """Return `num_kept` alone."""
    return [num_kept]


def exponential(num: int, num_kept: int, num_rounds: int) -> list[int]:
    """Return the counts num (num_kept / num)^(t / T) for t = 1 to T: each round removes the same share.

    References: Tanaka et al. 2020; de Jorge et al. 2021.
    """
    share = num_kept / max(num, 1)
    return [round(num * share ** (t / num_rounds)) for t in range(1, num_rounds)] + [num_kept]


def linear(num: int, num_kept: int, num_rounds: int) -> list[int]:
    """Return counts that fall by the same number in each round."""
    return [num - round((num - num_kept) * t / num_rounds) for t in range(1, num_rounds + 1)]


SCHEDULES: dict[str, Callable[[int, int, int], list[int]]] = {
    "one-shot": one_shot,
    "exponential": exponential,
    "linear": linear,
}


def round_counts(schedule: str, num: int, num_kept: int, num_rounds: int) -> list[int]:
    """Return the number of kept weights after each round, from `num` down to exactly `num_kept`.

    Raises
    ------
    UnknownNameError
        There is no such schedule.
    ArgumentError
        `num_rounds` is no positive whole number.

    Examples
    --------
    >>> round_counts("exponential", 1000, 10, 4), round_counts("linear", 1000, 10, 4)
    ([316, 100, 32, 10], [752, 505, 258, 10])
    """
    if schedule not in SCHEDULES:
        raise UnknownNameError("schedule", schedule, SCHEDULES)
    if isinstance(num_rounds, bool) or not isinstance(num_rounds, int) or num_rounds < 1:
        raise ArgumentError(f"`num_rounds` must be a positive whole number; got {num_rounds!r}. 1 is one shot.")
    return SCHEDULES[schedule](num, num_kept, num_rounds)


def falling(num: int, counts: list[int]) -> list[int]:
    """Return the counts without those that remove nothing: such a round changes no nested masks; one count at least.

    Examples
    --------
    >>> falling(10, [10, 7, 7, 5]), falling(10, [10, 10])
    ([7, 5], [10])
    """
    return [count for count, before in zip(counts, [num, *counts], strict=False) if count < before] or counts[-1:]


def run_rounds(
    score: RoundScore, counts: list[int], allocator: Allocator, *, eligible: Mapping[str, Tensor],
    revival: bool = False, progress: bool | None = None,
) -> Masks:
    """Return the masks after all rounds: in each, the weights are scored under the masks so far, and the lowest go.

    Parameters
    ----------
    score
        Maps the masks of the round before, None in the first, to scores.
    counts
        Number kept after each round.
    allocator
        Says how many each parameter keeps.
    eligible
        Bool tensor per name: the weights that may be kept at all, where not all may. Without `revival` only those of
        the round before may, so masks are nested.
    """
    masks, allowed = None, eligible
    shown = False if len(counts) == 1 else progress  # one score shows its own
    for num_kept in progress_bar(counts, desc="rounds", unit="round", progress=shown):
        scores = score(masks)
        quotas = allocator.quotas(num_kept, available(scores, allowed))
        masks = select(scores, num_kept=num_kept, quotas=quotas, floors=allocator.floors, eligible=allowed)
        allowed = eligible if revival else masks
    return masks
