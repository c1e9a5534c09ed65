"""Random probe vectors that depend on the seed, the input and the probe alone, not on how the work is split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jacprobe.randomness import make_generator


def base_seed(seed: int | torch.Generator) -> int:
    """Return `seed`, or a seed that is drawn from a generator."""
    generator = make_generator(seed)
    return int(torch.randint(2**62, (), generator=generator)) if seed is generator else seed


@dataclass(frozen=True)
class Streams:
    """Independent streams of random vectors for each of some inputs, which go by their numbers in a larger run."""

    seed: int
    inputs: tuple[int, ...]

    def gaussian(self, probes: Sequence[int], dim: int) -> Tensor:
        """Return standard normal vectors, float32 (num_inputs, num_probes, dim) on the CPU."""
        drawn = torch.empty(len(self.inputs), len(probes), dim, dtype=torch.float32, device="cpu")
        for vector, generator in self._each(drawn, probes):
            vector.normal_(generator=generator)
        return drawn

    def signs(self, probes: Sequence[int], dim: int) -> Tensor:
        """Return Rademacher vectors, entries -1 or 1 with equal chance, float32 (num_inputs, num_probes, dim)."""
        drawn = torch.empty(len(self.inputs), len(probes), dim, dtype=torch.float32, device="cpu")
        for vector, generator in self._each(drawn, probes):
            vector.random_(0, 2, generator=generator)
        return drawn.mul_(2).sub_(1)

    def _each(self, drawn: Tensor, probes: Sequence[int]) -> Iterator[tuple[Tensor, torch.Generator]]:
        """Yield every vector with a generator, by a hash that keeps the streams of all inputs and probes apart."""
        for i, one in enumerate(self.inputs):
            for p, other in enumerate(probes):
                state = np.random.SeedSequence([self.seed % 2**64, one, other]).generate_state(2)
                yield drawn[i, p], torch.Generator().manual_seed(int(state[0]) * 2**31 + int(state[1]) // 2)
