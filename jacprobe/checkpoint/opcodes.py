"""What a pickle would import, read from its opcodes without executing one."""

from __future__ import annotations

import pickletools
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO

_READS = {"GET", "BINGET", "LONG_BINGET"}
_WRITES = {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}
_EXTENSIONS = {"EXT1", "EXT2", "EXT4"}


@dataclass(frozen=True)
class PickleFacts:
    """The classes and functions one pickle names, its protocol, and the last integer in it."""

    names: frozenset[str]
    protocol: int
    integer: int | None


def scan_pickle(stream: BytesIO) -> PickleFacts:
    """Read one pickle of any protocol from `stream`, up to and including its STOP.

    The two names of STACK_GLOBAL are followed through the memo; where a hand-made pickle hides them, the name is
    ``?``, which nothing allows.

    Raises
    ------
    ValueError
        The bytes are no complete pickle.

    Examples
    --------
    >>> import collections, pickle
    >>> facts = scan_pickle(BytesIO(pickle.dumps(collections.Counter("aa"), protocol=4)))
    >>> sorted(facts.names), facts.protocol
    (['collections.Counter'], 4)
    """
    names, protocol, integer = set(), 0, None
    memo: dict[int, object] = {}
    pushed: list[object] = []  # what the opcodes so far left on top, strings only; None for anything else
    for opcode, argument, _ in _operations(stream):
        if opcode.name == "PROTO":
            protocol = max(protocol, argument)
        elif opcode.name in ("GLOBAL", "INST"):
            names.add(argument.replace(" ", ".", 1))
            pushed.append(None)
        elif opcode.name == "STACK_GLOBAL":
            parts = [part if isinstance(part, str) else "?" for part in pushed[-2:]]
            names.add(".".join(parts) or "?")
            pushed.append(None)
        elif opcode.name in _EXTENSIONS:
            names.add(f"copyreg.extension_{argument}")
            pushed.append(None)
        elif opcode.name in _WRITES:
            memo[len(memo) if argument is None else argument] = pushed[-1] if pushed else None
        elif opcode.name in _READS:
            pushed.append(memo.get(argument))
        else:
            pushed.append(argument if isinstance(argument, str) else None)
            integer = argument if type(argument) is int else integer
    return PickleFacts(frozenset(names), protocol, integer)


def _operations(stream: BytesIO) -> Iterator[tuple[pickletools.OpcodeInfo, object, int | None]]:
    """List the opcodes; pickletools decodes the backslashes in a name, and warns of odd ones, where no reader does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return iter(list(pickletools.genops(stream)))


def list_names(names: Iterable[str], *, limit: int = 5) -> str:
    """Return names from a file as one printable phrase: at most `limit` of them, each cut at 80 characters."""
    ordered = sorted(names)
    shown = ["".join(c if c.isprintable() else "?" for c in name)[:80] for name in ordered[:limit]]
    more = f" and {len(ordered) - limit} more" if len(ordered) > limit else ""
    return ", ".join(shown) + more
