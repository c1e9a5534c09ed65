"""Seeds and generators: randomness never enters through the global state."""

from __future__ import annotations

import hashlib

import torch

from jacprobe.errors import DtypeError


def make_generator(seed: int | torch.Generator, *, purpose: str | None = None) -> torch.Generator:
    """Return `seed` if it is a generator, else one on the CPU that is seeded with the integer.

    Parameters
    ----------
    purpose
        What is drawn, such as "scores". Integers are the same for everything that a user does: without it the random
        scores of seed 0 would be drawn from the numbers that made the weights of seed 0, and follow them.

    Raises
    ------
    DtypeError
        It is neither.
    """
    if isinstance(seed, torch.Generator):
        return seed
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise DtypeError(f"`seed` must be an integer or a torch.Generator; got {seed!r}. Pass a seed such as 0.")
    return torch.Generator().manual_seed(seed if purpose is None else salted(seed, purpose))


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
    DtypeError
        It is neither.
    """
    generator = make_generator(seed)
    return seed if isinstance(seed, int) else int(torch.randint(2**62, (), generator=generator))
