"""Masks seen as connections between units: fan-in, fan-out, dead units, structural rank."""

from __future__ import annotations

import math
from dataclasses import dataclass

import scipy.sparse
from torch import Tensor, nn

_TRANSPOSED = nn.modules.conv._ConvTransposeNd


@dataclass(frozen=True)
class Connections:
    """Kept weights of one layer between its units; a unit of a convolution is a channel.

    Attributes
    ----------
    kept
        bool (groups, out_units / groups, in_units / groups, taps); groups share no connection.
    """

    kept: Tensor

    @classmethod
    def of(cls, mask: Tensor, module: nn.Module) -> Connections | None:
        """Arrange the mask of a weight of `module`; None for a bias or another parameter with a single axis."""
        if mask.ndim < 2:
            return None
        groups = getattr(module, "groups", 1) if isinstance(module, nn.modules.conv._ConvNd) else 1
        kept = mask.reshape(groups, mask.shape[0] // groups, mask.shape[1], math.prod(mask.shape[2:]))
        if isinstance(module, _TRANSPOSED):  # has its inputs first
            kept = kept.transpose(1, 2)
        return cls(kept)

    @property
    def fan_in(self) -> Tensor:
        """Number of kept weights into each output unit, (out_units,)."""
        return self.kept.sum((2, 3)).flatten()

    @property
    def fan_out(self) -> Tensor:
        """Number of kept weights out of each input unit, (in_units,)."""
        return self.kept.sum((1, 3)).flatten()

    @property
    def full_rank(self) -> int:
        """Smaller side of the matrix (out_units, in_units * taps), over groups together."""
        groups, outputs, inputs, taps = self.kept.shape
        return groups * min(outputs, inputs * taps)

    @property
    def structural_rank(self) -> int:
        """Largest rank that any values of the kept weights can give that matrix, by a maximum matching."""
        if self.kept.all():
            return self.full_rank
        matrices = (scipy.sparse.csr_array(part.flatten(1).numpy()) for part in self.kept)
        return sum(int(scipy.sparse.csgraph.structural_rank(matrix)) for matrix in matrices)


def unit_facts(connections: Connections | None) -> dict[str, float | int | None]:
    """Return the columns of a report that come from the units; all None for a bias.

    Examples
    --------
    >>> import torch
    >>> mask = torch.tensor([[True, True, False], [False, False, False]])
    >>> facts = unit_facts(Connections.of(mask, nn.Linear(3, 2)))
    >>> facts["fan_in_mean"], facts["fan_out_max"], facts["dead_inputs"], facts["dead_outputs"], facts["rank_shortfall"]
    (1.0, 1, 1, 1, 1)
    """
    facts: dict[str, float | int | None] = {}
    for name in ("fan_in", "fan_out"):
        fan = None if connections is None else getattr(connections, name)
        known = fan is not None and len(fan) > 0
        facts[f"{name}_min"] = int(fan.min()) if known else None
        facts[f"{name}_mean"] = fan.double().mean().item() if known else None
        facts[f"{name}_max"] = int(fan.max()) if known else None
    known = connections is not None
    rank, full = (connections.structural_rank, connections.full_rank) if known else (None, None)
    return {
        **facts,
        "dead_inputs": int((connections.fan_out == 0).sum()) if known else None,
        "dead_outputs": int((connections.fan_in == 0).sum()) if known else None,
        "structural_rank": rank,
        "rank_shortfall": full - rank if known else None,
    }
