"""Atoms of deep laws, by the dimensions of the subspaces that the layers share: what no density shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jacprobe.theory.bands import Table
from jacprobe.theory.freeproduct import diagonal_laws
from jacprobe.theory.layerlaw import LayerLaw
from jacprobe.theory.slopelaw import SlopeLaw

_NEARLY = -0.3  # share of the inputs by which an atom fails to be: the density still has a sharp peak there
_FEWEST = 4  # nodes that tell a density
_ROUNDING = 1e-12


@dataclass(frozen=True)
class SlopesAlone:
    """A product that is one diagonal matrix between isometries: its law is that of the slopes."""

    law: SlopeLaw
    scale: float  # mean square of the isometries
    share: float  # of the inputs that pass the isometries

    def parts(self) -> tuple[list[tuple[float, float]], list[Table], float]:
        """Return atoms above 0, the continuous rest, and no defect."""
        squares, weights = self.law.values * self.scale, self.law.weights * self.share
        atoms = self.law.atoms()
        positive = squares > 0
        sharp, rest = atoms & positive, ~atoms & positive
        if rest.sum() < _FEWEST and not self.law.cells:
            sharp, rest = positive, ~positive & rest
        found = list(zip(np.sqrt(squares[sharp]).tolist(), weights[sharp].tolist(), strict=True))
        cells = self.law.cells
        between = (np.log(cells.edges * self.scale), cells.masses * self.share) if cells else ()
        return found, [Table(np.log(squares[rest]), weights[rest], *between)] if rest.any() else [], 0.0


def slopes_alone(layers: Sequence[LayerLaw]) -> SlopesAlone | None:
    """Return the single law of slopes where nothing else shapes the spectrum, or None."""
    laws, inputs = diagonal_laws(layers), layers[0].in_dim
    if len(laws) != 1 or not _isometric(layers):
        return None
    (law, dim), lost = laws[0], _lost(layers)
    if inputs - lost != dim:
        return None
    return SlopesAlone(law, _scale(layers), dim / inputs)


def peaks_of(layers: Sequence[LayerLaw]) -> list[tuple[float, float]]:
    """Return s^2 > 0 and its mass over the inputs for every atom, and with what it lacks, <= 0, where one nearly forms.

    The atoms of weight w of a diagonal matrix of width N confine an input to a subspace of codimension (1 - w) N,
    and a narrowing isometry to one of codimension the units it loses. Subspaces in general position meet in what
    the sum of codimensions leaves. Gaussian weights leave nothing.
    """
    if not _isometric(layers):
        return []
    inputs = layers[0].in_dim
    found = [(_scale(layers), 1 - _lost(layers) / inputs)]
    for law, dim in diagonal_laws(layers):
        chosen = law.atoms() & (law.values > 0)
        choices = list(zip(law.values[chosen], law.weights[chosen], strict=True))
        found = [(square * value, left - (1 - weight) * dim / inputs)
                 for square, left in found for value, weight in choices]
        found = [pair for pair in found if pair[1] > _NEARLY]
    return [(float(square), float(left) if abs(left) > _ROUNDING else 0.0) for square, left in found]


def _isometric(layers: Sequence[LayerLaw]) -> bool:
    return all(layer.kept_energy == 1 for layer in layers)


def _lost(layers: Sequence[LayerLaw]) -> int:
    return sum(max(0, layer.in_dim - layer.out_dim) for layer in layers)


def _scale(layers: Sequence[LayerLaw]) -> float:
    return float(np.exp(sum(np.log(layer.sigma_w2) for layer in layers)))
