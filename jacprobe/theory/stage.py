"""One layer of a prediction: plain facts from which its law follows, and the length that it hands on."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from jacprobe.theory.activations import ACTIVATIONS, Activation
from jacprobe.theory.layerlaw import LayerLaw
from jacprobe.theory.slopecells import slope_law
from jacprobe.theory.slopelaw import Cells, SlopeLaw

_ONE = SlopeLaw.of([1.0])
_NODES = 64  # of a law of many units or of a product: more cost time and do not show
_ALIKE = 1.3  # largest ratio of lengths whose slope laws are taken for one, with exact gains


@dataclass(frozen=True, eq=False)
class Stage:
    """A layer D W: what ``LayerLaw`` needs, by plain facts.

    Attributes
    ----------
    name
        Of the layer.
    out_dim, in_dim, weight, sigma_w2
        As for ``LayerLaw``.
    q
        Length: mean square of the pre-activations; None where only slopes are given.
    sigma_b2
        Mean square of the biases.
    phi
        Activation; None for a linear layer.
    rows, columns
        Relative energies of rows and columns where they are unequal. The length of a unit, and so its slope, follows
        the energy of its row.
    slope
        Law of the squared slopes where it is given rather than computed.
    reasons
        Why the law is an approximation.
    """

    name: str
    out_dim: int
    in_dim: int
    weight: str | float
    sigma_w2: float
    q: float | None = None
    sigma_b2: float = 0.0
    phi: Activation | None = None
    rows: SlopeLaw | None = None
    columns: SlopeLaw | None = None
    slope: SlopeLaw | None = None
    reasons: tuple[str, ...] = ()

    @classmethod
    def of_law(cls, name: str, law: LayerLaw) -> Stage:
        return cls(name, law.out_dim, law.in_dim, law.weight, law.sigma_w2, rows=law.row_energies,
                   columns=law.column_energies, slope=law.slope)

    @property
    def variance(self) -> float:
        """Variance of a weight times the fan-in: the factor of lengths."""
        return self.sigma_w2 * (1 if self.weight == "gaussian" else min(self.out_dim, self.in_dim) / self.out_dim)

    @cached_property
    def law(self) -> LayerLaw:
        """The layer as free probability sees it."""
        return LayerLaw(self.out_dim, self.in_dim, self.weight, self.sigma_w2, self._slopes, None, self.columns)

    @cached_property
    def _slopes(self) -> SlopeLaw | None:
        """Law of phi'(h)^2 times the relative energy of the unit's row."""
        if self.phi is None:
            return self.slope.times(self.rows) if self.slope and self.rows else self.slope or self.rows
        if self.rows is None:
            return slope_law(self.phi, self.q)
        parts = [(energy, mass, *self.phi.slope_law(q)) for energy, mass, q in self._units if energy]
        dead = sum(mass for energy, mass, _ in self._units if not energy)
        values = np.concatenate([[0.0] * (dead > 0), *(energy * slopes for energy, _, slopes, _ in parts)])
        weights = np.concatenate([[dead] * (dead > 0), *(mass * weights for _, mass, _, weights in parts)])
        return _coarse(SlopeLaw.of(values, weights))

    @property
    def _units(self) -> list[tuple[float, float, float]]:
        """Relative energy of the row, share and length of every kind of unit."""
        rows = self.rows or _ONE
        return [(float(energy), float(mass), energy * (self.q - self.sigma_b2) + self.sigma_b2)
                for energy, mass in zip(rows.values, rows.weights, strict=True)]

    def mean_square(self) -> float:
        """Return the mean square of what the layer hands on."""
        if self.phi is None:
            return self.q
        return sum(mass * self.phi.second_moment(q) for _, mass, q in self._units)

    def to_dict(self) -> dict:
        """Return the facts as plain values of JSON."""
        named = self.phi is not None and ACTIVATIONS.get(self.phi.name) is self.phi
        slope, rows = (self._slopes, None) if self.phi is not None and not named else (self.slope, self.rows)
        return {"name": self.name, "out_dim": self.out_dim, "in_dim": self.in_dim, "weight": self.weight,
                "sigma_w2": self.sigma_w2, "q": self.q, "sigma_b2": self.sigma_b2,
                "activation": self.phi.name if named else None, "rows": _plain(rows), "columns": _plain(self.columns),
                "slope": _plain(slope), "reasons": list(self.reasons)}

    @classmethod
    def from_dict(cls, facts: dict) -> Stage:
        facts = dict(facts)
        name = facts.pop("activation")
        laws = {key: facts[key] and _from_plain(*facts[key]) for key in ("rows", "columns", "slope")}
        return cls(**{**facts, **laws, "reasons": tuple(facts["reasons"])}, phi=ACTIVATIONS[name] if name else None)


def joined(stages: list[Stage]) -> list[LayerLaw]:
    """Return the laws of the layers of a product, those of nearly equal lengths with one slope law.

    A product of equal layers is solved in a fraction of the time. Gains stay exact, relative variances to first order:
    laws move by about 0.001. Energies of columns go to the slopes before them.
    """
    laws = [stage.law for stage in stages]
    for i, following in enumerate(laws[1:]):
        if following.column_energies is not None:
            slopes = _coarse((laws[i].slope or _ONE).times(following.column_energies))
            laws[i] = dataclasses.replace(laws[i], slope=slopes)
            laws[i + 1] = dataclasses.replace(following, column_energies=None)
    open_ones = [i for i, stage in enumerate(stages)
                 if stage.phi is not None and stage.rows is None and laws[i].slope is stage.law.slope]
    open_ones.sort(key=lambda i: (stages[i].phi.name, stages[i].q))
    while open_ones:
        first = stages[open_ones[0]]
        group = [i for i in open_ones if stages[i].phi is first.phi and stages[i].q <= _ALIKE * first.q]
        q = float(np.exp(np.mean([np.log(stages[i].q) for i in group])))
        slopes = slope_law(first.phi, q)
        for i in group:
            gain = laws[i].slope.moment(1) / slopes.moment(1)
            laws[i] = dataclasses.replace(laws[i], sigma_w2=laws[i].sigma_w2 * gain, slope=slopes)
        open_ones = [i for i in open_ones if i not in group]
    return laws


def _coarse(law: SlopeLaw) -> SlopeLaw:
    """Return the law with at most about `_NODES` positive values: neighbours of equal mass become their mean."""
    if len(law.support) <= _NODES:
        return law
    masses = law.masses
    cells = np.floor((np.cumsum(masses) - masses / 2) / masses.sum() * _NODES).astype(int)
    sums = np.bincount(cells, masses)
    means = np.bincount(cells, masses * law.support)[sums > 0] / sums[sums > 0]
    zero = int(law.values[0] == 0)
    return SlopeLaw.of(np.append(means, [0.0] * zero), np.append(sums[sums > 0], [law.weights[0]] * zero))


def _plain(law: SlopeLaw | None) -> list | None:
    """Return values and weights, and behind them the edges, masses and atoms of cells."""
    cells = law and law.cells
    between = [cells.edges, cells.masses, cells.atoms] if cells else []
    return law and [part.tolist() for part in (law.values, law.weights, *between)]


def _from_plain(values: list, weights: list, *between: list) -> SlopeLaw:
    law = SlopeLaw.of(values, weights)
    return law.with_cells(Cells(*map(np.array, between))) if between else law
