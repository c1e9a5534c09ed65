"""Seeds and generators: randomness never enters through the global state."""

from __future__ import annotations

import torch

from jacprobe.errors import DtypeError


def make_generator(seed: int | torch.Generator) -> torch.Generator:
    """Return `seed` if it is a generator on the CPU, else a generator seeded with the integer.

    Raises
    ------
    DtypeError
        It is neither.
    """
    if isinstance(seed, torch.Generator):
        return seed
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise DtypeError(f"`seed` must be an integer or a torch.Generator; got {seed!r}. Pass a seed such as 0.")
    return torch.Generator().manual_seed(seed)


def drawn_seed(seed: int | torch.Generator) -> int:
    """Return the integer `seed`, or one that the generator draws: for work that starts several generators from it.

    Raises
    ------
    DtypeError
        It is neither.
    """
    generator = make_generator(seed)
    return seed if isinstance(seed, int) else int(torch.randint(2**62, (), generator=generator))
