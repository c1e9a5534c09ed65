"""One order for what several sequences hold."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TypeVar

_Key = TypeVar("_Key", bound=Hashable)


def merged_order(sequences: Iterable[Iterable[_Key]]) -> list[_Key]:
    """Return the elements of all `sequences` once: what the first ones lack follows its predecessor.

    Examples
    --------
    >>> merged_order([["fc1", "fc3"], ["fc1", "fc2", "fc3"]])
    ['fc1', 'fc2', 'fc3']
    """
    order: list[_Key] = []
    for sequence in sequences:
        index = 0
        for key in sequence:
            if key not in order:
                order.insert(index, key)
            index = order.index(key) + 1
    return order
