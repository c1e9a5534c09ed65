"""A layer as free probability sees it: its widths, the kind of its weights, and the law of its slopes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from numpy.typing import ArrayLike

from jacprobe.errors import ArgumentError, ShapeError, UnknownNameError
from jacprobe.theory.slopelaw import SlopeLaw

KEPT_ENERGY = {"gaussian": 0.0, "orthogonal": 1.0}


@dataclass(frozen=True, eq=False)
class LayerLaw:
    """One layer D W of a wide random network, D = diag(phi'(h)).

    Attributes
    ----------
    out_dim, in_dim
        Widths; only their ratios matter.
    weight
        "gaussian": independent entries of variance ``sigma_w2 / in_dim``, also after a random mask (then `sigma_w2`
        is that of the dense matrix times the density). "orthogonal": every singular value is ``sqrt(sigma_w2)``. A
        number e in [0, 1]: an orthogonal matrix that keeps the share e of its energy under a mask without structure;
        it behaves as ``sqrt(e) Q + sqrt(1 - e) X``, X Gaussian.
    sigma_w2
        Variance of the weights times `in_dim`; for "orthogonal" and kept energies the mean square of the
        ``min(out_dim, in_dim)`` singular values, as it is after the mask.
    slope
        Law of phi'(h)^2 over the units, (values, weights) or a `SlopeLaw`; None for a linear layer.
    row_energies, column_energies
        Relative energies of the rows and columns of the weight matrix where a mask made them unequal, one for each row
        or any sample of them; only their ratios matter. None: all equal. They are taken as independent of the slopes.

    Raises
    ------
    ArgumentError, UnknownNameError, ShapeError
        A width is no positive integer, the weight is no such kind, `sigma_w2` is not positive and finite, or a law
        is none.

    References
    ----------
    Pennington, Schoenholz and Ganguli 2017, Resurrecting the sigmoid in deep learning through dynamical isometry, and
    2018, The emergence of spectral universality in deep networks.

    Examples
    --------
    >>> LayerLaw(100, 100, "orthogonal", 2.0, slope=([0, 1], [0.5, 0.5])).gain  # ReLU at criticality
    1.0
    """

    out_dim: int
    in_dim: int
    weight: str | float = "gaussian"
    sigma_w2: float = 1.0
    slope: SlopeLaw | tuple[ArrayLike, ArrayLike] | None = None
    row_energies: ArrayLike | None = None
    column_energies: ArrayLike | None = None

    def __post_init__(self):
        for name in ("out_dim", "in_dim"):
            value = getattr(self, name)
            if isinstance(value, bool) or int(value) != value or value < 1:
                raise ArgumentError(f"`{name}` must be a positive integer; got {value!r}. Pass the width of the layer.")
        if isinstance(self.weight, str):
            if self.weight not in KEPT_ENERGY:
                raise UnknownNameError("weight", self.weight, KEPT_ENERGY, "Or pass a kept energy from 0 to 1.")
        elif not 0 <= self.weight <= 1:
            raise ArgumentError(f"`weight` must be a name or a kept energy in [0, 1]; got {self.weight!r}. Kept energy "
                                "is the squared norm of the masked matrix over that of the dense one.")
        if not (math.isfinite(self.sigma_w2) and self.sigma_w2 > 0):
            raise ArgumentError(f"`sigma_w2` must be positive and finite; got {self.sigma_w2!r}. 1 is critical for a "
                                "linear layer, 2 for ReLU.")
        if self.slope is not None and not isinstance(self.slope, SlopeLaw):
            object.__setattr__(self, "slope", SlopeLaw.of(*self.slope))
        for name in ("row_energies", "column_energies"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _relative(getattr(self, name), name))

    @property
    def kept_energy(self) -> float:
        """Share of an orthogonal matrix in the weights: 0 for Gaussian ones, 1 for orthogonal ones."""
        return KEPT_ENERGY[self.weight] if isinstance(self.weight, str) else float(self.weight)

    @property
    def fan_in_scaled(self) -> bool:
        """Whether `sigma_w2` is a variance times `in_dim` rather than a mean square of singular values."""
        return self.weight == "gaussian"

    @property
    def gain(self) -> float:
        """chi = sigma_w2 E[phi'(h)^2]."""
        return self.sigma_w2 * (1.0 if self.slope is None else self.slope.moment(1))


def check_chain(layers: Sequence[LayerLaw]) -> None:
    """Refuse an empty list and widths that do not fit.

    Raises
    ------
    ArgumentError, ShapeError
        There is no layer; a layer has another `in_dim` than the `out_dim` before it.
    """
    if not layers:
        raise ArgumentError("`layers` must hold at least one layer; got none. Pass a list of LayerLaw.")
    for number, (before, after) in enumerate(zip(layers, layers[1:], strict=False), start=1):
        if before.out_dim != after.in_dim:
            raise ShapeError(f"`layers` must fit together: `in_dim` of layer {number} must be {before.out_dim}, the "
                             f"`out_dim` before it; got {after.in_dim}. List them from the input to the output.")


def _relative(energies: ArrayLike | SlopeLaw, name: str) -> SlopeLaw:
    """Return the law of the energies over their mean."""
    law = energies if isinstance(energies, SlopeLaw) else SlopeLaw.sampled(energies, name=name)
    return SlopeLaw(law.values / law.moment(1), law.weights)
