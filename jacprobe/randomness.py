"""Seeds and generators: randomness never enters through the global state."""

from __future__ import annotations

import hashlib
from numbers import Integral

import torch

from jacprobe.errors import ArgumentError, DtypeError


def make_generator(seed: int | torch.Generator, *, purpose: str | None = None) -> torch.Generator:
    """Return `seed` if it is a generator, else one on the CPU that is seeded with the integer, maybe one of NumPy.

    Parameters
    ----------
    purpose
        What is drawn, such as "scores". Integers are the same for everything that a user does: without it the random
        scores of seed 0 would be drawn from the numbers that made the weights of seed 0, and follow them.

    Raises
    ------
    DtypeError
        It is neither.
    ArgumentError
        The integer does not fit into 64 bits.
    """
    if isinstance(seed, torch.Generator):
        return seed
    if isinstance(seed, bool) or not isinstance(seed, Integral):
        raise DtypeError(f"`seed` must be an integer or a torch.Generator; got {seed!r}. Pass a seed such as 0.")
    if not -(2**63) <= seed < 2**64:
        raise ArgumentError(f"`seed` must fit into 64 bits; got {seed}. Pass a seed such as 0.")
    return torch.Generator().manual_seed(int(seed) if purpose is None else salted(int(seed), purpose))


def salted(seed: int, purpose: str) -> int:
    """Return a seed for one purpose, independent of those for others.

    Examples
    --------
    >>> salted(0, "scores") == salted(0, "inputs")
    False
    """
    return int.from_bytes(hashlib.sha256(f"{purpose}:{seed}".encode()).digest()[:7], "big")


def drawn_seed(seed: int | torch.Generator) -> int:
    """Return the integer `seed`, or one that the generator draws: for work that starts several generators from it.

    Raises
    ------
    DtypeError, ArgumentError
        As `make_generator`.
    """
    generator = make_generator(seed)
    return int(torch.randint(2**62, (), generator=generator)) if seed is generator else int(seed)
