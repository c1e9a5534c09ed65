"""What a repair gives back: the new model, a row per layer, and what to be careful with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    import pandas as pd

_CONCENTRATED = 0.3  # share of small weights from which the active density is no longer the nominal one


@dataclass(frozen=True, eq=False)
class Repair:
    """A repaired model and the numbers of each layer, before and after.

    Attributes
    ----------
    model
        A new model; its masks are those of the one given.
    rows
        The rows of `table`.
    """

    model: nn.Module
    rows: tuple[Mapping[str, object], ...]

    @property
    def table(self) -> pd.DataFrame:
        """A row per layer.

        Columns: ``layer, shape, kept, density, method, objective, gain``; ``score_before, score_after``, the paper's
        orthogonality score ``||V'V - I||_F`` of the layer's weights over its gain, a convolution flat and by group;
        ``floor``, the least score that any weights on this mask have, the root of the singular values that must be 0;
        ``residual``, the distance from isometry that is left in the objective's sense, over its floor;
        ``zeros_before, zeros``, singular values under 1 % of the gain; ``small_before, small_after``, the share of kept
        weights below 5 % of their root mean square; ``participation_before, participation_after``, of kept weights,
        ``(sum w^2)^2 / (kept sum w^4)``; ``steps, seconds, converged, reason``.
        """
        import pandas as pd  # so that initial weights do not wait for it

        return pd.DataFrame(list(self.rows))

    @property
    def score_before(self) -> float:
        """Mean score over the layers before: `jacprobe.orthogonality_score`, of the weights over their gains."""
        return self._mean("score_before")

    @property
    def score_after(self) -> float:
        """Mean score over the layers after."""
        return self._mean("score_after")

    @property
    def warnings(self) -> tuple[str, ...]:
        """What must be known before the repaired network is used; maybe nothing."""
        rows = [row for row in self.rows if row["small_after"] >= max(_CONCENTRATED, 1.5 * row["small_before"])]
        if not rows:
            return ()
        worst = max(rows, key=lambda row: row["small_after"])
        kept = sum(row["kept"] for row in self.rows)
        active = sum(row["kept"] * (1 - row["small_after"]) for row in self.rows)
        total = sum(row["kept"] / row["density"] for row in self.rows)
        return (f"the kept weights of {_listed([row['layer'] for row in rows])} have collapsed towards signed"
                f" permutations: {worst['small_after']:.0%} of those of {worst['layer']} are below 5 % of their root"
                f" mean square ({worst['small_before']:.0%} before). The mask says density {kept / total:.2%}, but only"
                f" {active / total:.2%} is active. A mask with more weights in these layers, objective='spread' or"
                " method='rescale' keeps them active.",)

    def __repr__(self) -> str:
        zeros = sum(row["zeros"] for row in self.rows)
        return (f"Repair of {len(self.rows)} layers: orthogonality score {self.score_before:.3g} before,"
                f" {self.score_after:.3g} after, {zeros} singular values at 0")

    def _repr_html_(self) -> str:
        columns = ["layer", "shape", "density", "score_before", "score_after", "floor", "zeros", "small_after"]
        table = self.table[columns].to_html(index=False, border=0, float_format="{:.3g}".format)
        return f"<p>{escape(repr(self))}</p>{table}" + "".join(f"<p>{escape(text)}</p>" for text in self.warnings)

    def _mean(self, column: str) -> float:
        return sum(row[column] for row in self.rows) / len(self.rows)


def _listed(names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
