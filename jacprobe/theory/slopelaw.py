"""Laws on finitely many values: the squared slopes of an activation, or the energies of the rows of a weight matrix."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jacprobe.errors import ArgumentError, ShapeError

_NEGLIGIBLE = 1e-16  # total weight of the outermost quadrature nodes that are dropped: rounding of the sum of weights
_SAME = 1e-13  # relative distance of values that are one value
_SAME_ATOM = 1e-10  # relative distance of nodes of a flat piece from its atom
_FEW = 16  # at most so many values are taken for atoms, more for the nodes of a quadrature
_HEAVIER = 8  # an atom among quadrature nodes weighs so many times what its neighbours weigh
_GROUPS = 64
_AT_A_TIME = 2**15  # numbers of a block that stays in the cache
_SMALLEST = 1e-100  # of the largest value: less counts as so much, as its square must not underflow
_SERIES = 0.05  # argument up to which six terms of an inverse hyperbolic tangent are exact
_NO_POLE = 1e-280  # of a law whose density ends in a logarithm
_MOST = 2000  # values of a product of two laws that are kept apart


@dataclass(frozen=True, eq=False)
class Cells:
    """What lies between the nodes of a law: cells over whose logarithms a mass is spread evenly, and the atoms.

    Attributes
    ----------
    edges
        float64 (num_cells + 1,): positive, increasing.
    masses
        float64 (num_cells,).
    atoms
        float64 (num_atoms,): values that are no part of the cells.
    """

    edges: NDArray[np.float64]
    masses: NDArray[np.float64]
    atoms: NDArray[np.float64]

    def coarser(self, size: int) -> Cells:
        """Return groups of `size` neighbouring cells as one."""
        starts = np.arange(0, len(self.masses), size)
        return Cells(np.append(self.edges[starts], self.edges[-1]), np.add.reduceat(self.masses, starts), self.atoms)

    def matched(self, mass: float, mean: float, mean_square: float) -> Cells:
        """Return the cells drawn a little together, so that mass and unnormalised first two moments are as given."""
        masses = self.masses * (mass / self.masses.sum())
        logs = np.log(self.edges / self.edges[-1])

        def drawn(power: float) -> NDArray:
            edges = np.exp(power * logs)
            return edges * (mean / (masses @ (np.diff(edges) / (power * np.diff(logs)))))

        low, high = 0.5, 2.0
        for _ in range(50):
            power = (low + high) / 2
            square = masses @ (np.diff(drawn(power) ** 2) / (2 * power * np.diff(logs)))
            low, high = (low, power) if square > mean_square else (power, high)
        return Cells(drawn(power), masses, self.atoms)


@dataclass(frozen=True, eq=False)
class SlopeLaw:
    """The law of a nonnegative number that takes finitely many values, such as phi'(h)^2.

    Exact where the number has atoms only (ReLU, hard tanh), a quadrature of its law where it is continuous: every
    analytic transform away from the values is then as good as the quadrature.

    Attributes
    ----------
    values
        float64 (num_values,): distinct, increasing, >= 0.
    weights
        float64 (num_values,): positive, of sum 1.
    cells
        What lies between the nodes, where that is known; else it is guessed from them.
    """

    values: NDArray[np.float64]
    weights: NDArray[np.float64]
    cells: Cells | None = None

    def __repr__(self) -> str:
        if len(self.values) > 4:
            return f"SlopeLaw of {len(self.values)} values from {self.values.min():.4g} to {self.values.max():.4g}"
        atoms = zip(self.weights, self.values, strict=True)
        return "SlopeLaw(" + ", ".join(f"{weight:.4g} at {value:.4g}" for weight, value in atoms) + ")"

    @classmethod
    def of(cls, values: ArrayLike, weights: ArrayLike | None = None, *, name: str = "slope") -> SlopeLaw:
        """Return the law of `values` with `weights` (default: equal ones), which are normalised to sum 1.

        Raises
        ------
        ShapeError
            They are no two sequences of one length, or empty.
        ArgumentError
            A value is negative or not finite, a weight negative, the weights do not sum to 1, or no value is positive.
        """
        values = np.atleast_1d(np.asarray(values, dtype=np.float64))
        weights = np.full(values.shape, 1 / max(values.size, 1)) if weights is None else np.asarray(weights, np.float64)
        if values.ndim != 1 or values.size == 0 or np.shape(weights) != values.shape:
            raise ShapeError(f"`{name}` must be values and as many weights, at least one; got shapes {values.shape} "
                             f"and {np.shape(weights)}. Pass (values, weights) as one-dimensional arrays.")
        if not (np.isfinite(values).all() and (values >= 0).all()):
            raise ArgumentError(f"`{name}` must hold finite values >= 0, squares; got {values.min()} to {values.max()}."
                                " Pass phi'(h)^2, not phi'(h).")
        if not ((weights >= 0).all() and abs(weights.sum() - 1) < 1e-6):
            raise ArgumentError(f"`{name}` must have weights >= 0 that sum to 1; got the sum {weights.sum()}."
                                " Divide them by their sum.")
        if not (weights[values > 0] > 0).any():
            raise ArgumentError(f"`{name}` must have a positive value; got zeros only. Such a layer passes no signal.")
        return cls(*_merged(values, weights))

    @classmethod
    def sampled(cls, values: ArrayLike, *, name: str = "slope") -> SlopeLaw:
        """Return the law that `values` are equally likely draws of: of more than 64, the means of 64 groups of equals.

        Mean and mean square are those of the draws. Raises as ``of`` does.
        """
        law = cls.of(values, name=name)
        if len(law.values) <= _GROUPS:
            return law
        values = np.sort(np.asarray(values, dtype=np.float64))
        positive = values[values > 0]
        groups = np.array_split(positive, _GROUPS)
        means, weights = np.array([part.mean() for part in groups]), np.array([len(part) for part in groups])
        means = _drawn(means, weights / len(values), 1.0, float((positive**2).sum()) / len(values))
        zeros = len(values) - len(positive)
        return cls.of(np.append(means, [0.0] * (zeros > 0)), np.append(weights, [zeros] * (zeros > 0)) / len(values))

    def with_cells(self, cells: Cells) -> SlopeLaw:
        """Return the law with `cells`, drawn a little to its own moments."""
        rest = ~_within(self.values, cells.atoms)
        values, weights = self.values[rest], self.weights[rest]
        cells = cells.matched(float(weights.sum()), float(weights @ values), float(weights @ values**2))
        return SlopeLaw(self.values, self.weights, cells)

    @property
    def support(self) -> NDArray[np.float64]:
        """The positive values."""
        return self.values[self.values > 0]

    @property
    def masses(self) -> NDArray[np.float64]:
        """The weights of the positive values."""
        return self.weights[self.values > 0]

    @property
    def live(self) -> float:
        """The mass of the positive values: the share of live units; exactly 1 where 0 is no value."""
        return float(self.masses.sum()) if self.values[0] == 0 else 1.0

    def moment(self, order: int) -> float:
        """Return the mean of the given power of the number."""
        return float(self.weights @ self.values**order)

    @property
    def relative_variance(self) -> float:
        """Variance over squared mean."""
        return float(self.weights @ (self.values / self.moment(1) - 1) ** 2)

    def atoms(self) -> NDArray[np.bool_]:
        """Return which values are atoms rather than nodes of a quadrature: all of few, else those that stand out."""
        if self.cells:
            return _within(self.values, self.cells.atoms)
        if len(self.values) <= _FEW:
            return np.ones(len(self.values), dtype=bool)
        padded = np.concatenate([[0.0], self.weights, [0.0]])
        return (self.weights > _HEAVIER * np.maximum(padded[:-2], padded[2:])) | (self.values == 0)

    def coarser(self, size: int) -> SlopeLaw:
        """Return the law with groups of `size` neighbouring nodes as one, the mean and mean square as they were."""
        atoms = self.atoms()
        values, weights = self.values[~atoms], self.weights[~atoms]
        if len(values) < 8 * size:
            return self
        starts = np.arange(0, len(values), size)
        sums = np.add.reduceat(weights, starts)
        means = _drawn(np.add.reduceat(weights * values, starts) / sums, sums, 1.0, float(weights @ values**2))
        joined = np.concatenate([self.values[atoms], means]), np.concatenate([self.weights[atoms], sums])
        law = SlopeLaw(*_merged(*joined))
        return law.with_cells(self.cells.coarser(size)) if self.cells else law

    def times(self, other: SlopeLaw) -> SlopeLaw:
        """Return the law of the product with an independent number of law `other`; close values of many are joined."""
        values = np.multiply.outer(self.values, other.values).ravel()
        return SlopeLaw(*_joined(*_merged(values, np.multiply.outer(self.weights, other.weights).ravel())))

    def ends(self) -> tuple[float, float, float, float]:
        """Return the least and the largest positive value, and the masses of the poles there."""
        if self.cells is None:
            return *self.support[[0, -1]], *self.masses[[0, -1]]
        low = min([self.cells.edges[0], *self.cells.atoms[self.cells.atoms > 0]])
        return low, self.support[-1], _NO_POLE, self.masses[-1]

    def transform(self, points: NDArray, *, sharp: bool = False) -> tuple[NDArray, NDArray]:
        """Return M(points) = mean of value / (point - value), and its derivative, of the shape (num_points,).

        Close to the law, the sum over the nodes of a quadrature has a pole at each where M has none. Nodes that are no
        atoms are therefore spread evenly over the logarithms up to the next ones, unless `sharp`. Known cells are left
        out only for points right of the law: where it reaches down to 0, nodes miss what lies below the least of them.
        """
        size = max(1, _AT_A_TIME // len(self.support))
        blocks = [self._transform(points[i : i + size, None], sharp) for i in range(0, len(points), size)]
        return np.concatenate([first for first, _ in blocks]), np.concatenate([second for _, second in blocks])

    def _transform(self, points: NDArray, sharp: bool) -> tuple[NDArray, NDArray]:
        """Return M and its derivative at points (num_points, 1)."""
        values, charges, low, high, rates = self._parts
        if sharp and (self.cells is None or points.real.min() > self.support[-1]):
            values, charges, low = self.support, self.masses * self.support, ()
        inverse = 1 / (points - values)
        charges = charges.astype(points.dtype)
        first = inverse @ charges
        inverse *= inverse
        second = -(inverse @ charges)
        if len(low):
            rates = rates.astype(points.dtype)
            below, above = points - low, points - high
            first += _log_ratio(below, above, high - low) @ rates
            second += ((low - high) / (below * above)) @ rates
        return first, second

    @cached_property
    def _parts(self) -> tuple[NDArray, ...]:
        """Atoms and their charges; lower and upper ends of the spread nodes, and their weights per log of value."""
        values, weights, sharp = self.support, self.masses, self.atoms()[self.values > 0]
        if self.cells:
            edges = self.cells.edges
            rates = self.cells.masses / np.diff(np.log(edges))
            return values[sharp], (weights * values)[sharp], edges[:-1], edges[1:], rates
        if (~sharp).sum() < 3:
            sharp = np.ones(len(values), dtype=bool)
        atoms = values[sharp], (weights * values)[sharp]
        return *atoms, *(_spread(values[~sharp], weights[~sharp]) if not sharp.all() else ((), (), ()))


def _within(values: NDArray, atoms: NDArray) -> NDArray[np.bool_]:
    """Return which values are one of the atoms."""
    return (np.abs(values[:, None] - atoms) <= _SAME_ATOM * atoms).any(1)


def _spread(values: NDArray, weights: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Return intervals that cover the logarithms of the values, lower and upper ends, and weights per log of value.

    The values are drawn together a little first, so that the mean and the mean square stay what they were.
    """
    mean_square = weights @ values**2
    logs = np.log(values)
    widths = np.diff(np.concatenate([logs[:1], (logs[1:] + logs[:-1]) / 2, logs[-1:]]))
    square = (np.expm1(2 * widths) / (2 * widths)) / (np.expm1(widths) / widths) ** 2  # of a spread value, by its own
    drawn = _drawn(values, weights, square, mean_square)
    low = drawn * widths / np.expm1(widths)  # keeps the mean of each value
    return low, low * np.exp(widths), weights / widths


def _drawn(values: NDArray, weights: NDArray, factors: NDArray | float, mean_square: float) -> NDArray:
    """Return powers of the values, rescaled to their mean, with ``weights @ (factors * drawn**2) = mean_square``."""
    logs, mean = np.log(values), weights @ values
    low, high = 0.5, 2.0
    for _ in range(50):
        power = (low + high) / 2
        drawn = np.exp(power * (logs - logs.max()))
        drawn *= mean / (weights @ drawn)
        low, high = (low, power) if weights @ (factors * drawn**2) > mean_square else (power, high)
    return drawn


def _log_ratio(below: NDArray, above: NDArray, difference: NDArray) -> NDArray:
    """Return log(below / above), also where their `difference` is small."""
    ratio = difference / (below + above)
    square = ratio * ratio
    result = ratio * (2 + square * (2 / 3 + square * (2 / 5 + square * (2 / 7 + square * (2 / 9 + square * (2 / 11))))))
    large = np.abs(ratio) > _SERIES
    result[large] = np.log(below[large] / above[large])
    return result


def _merged(values: NDArray, weights: NDArray) -> tuple[NDArray, NDArray]:
    """Return distinct increasing values with positive weights of sum 1, without what is too rare to matter."""
    values = np.where(values > 0, np.maximum(values, _SMALLEST * values.max()), 0.0)
    order = np.argsort(values, kind="stable")
    values, weights = values[order], weights[order]
    from_below, from_above = np.cumsum(weights), np.cumsum(weights[::-1])[::-1]
    kept = (weights > 0) & (from_below > _NEGLIGIBLE) & (from_above > _NEGLIGIBLE)
    values, weights = values[kept], weights[kept]
    starts = np.concatenate([[True], np.diff(values) > _SAME * values[1:]])
    sums = np.bincount(np.cumsum(starts) - 1, weights)
    return values[starts], sums / sums.sum()


def _joined(values: NDArray, weights: NDArray) -> tuple[NDArray, NDArray]:
    """Return at most `_MOST` values or so: those within one step of a logarithmic grid become their mean."""
    if len(values) <= _MOST:
        return values, weights
    positive = values > 0
    logs = np.log(values[positive])
    cells = np.floor((logs - logs[0]) / (logs[-1] - logs[0]) * _MOST).astype(int)
    sums = np.bincount(cells, weights[positive])
    means = np.bincount(cells, (weights * values)[positive])[sums > 0] / sums[sums > 0]
    zero = [] if positive.all() else [0.0]
    return np.concatenate([zero, means]), np.concatenate([weights[~positive], sums[sums > 0]])
