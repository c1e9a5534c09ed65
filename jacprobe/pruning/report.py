"""What a mask leaves of a network: a table by parameter, totals, and flags."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from numbers import Integral

import pandas as pd
import torch
from torch import Tensor, nn

from jacprobe.errors import ArgumentError, ModelError, ShapeError
from jacprobe.masks import Masks
from jacprobe.modelstate import Owned, check_module, owned_parameters
from jacprobe.pruning.arguments import check_masks, check_options, check_scores
from jacprobe.pruning.dataflow import record
from jacprobe.pruning.effective import Paths, find_paths
from jacprobe.pruning.flags import Flag, find_flags
from jacprobe.pruning.prunable import prunable_names
from jacprobe.pruning.units import Connections, unit_facts

COUNTS = ("total", "kept", "effective", "fan_in_min", "fan_in_max", "fan_out_min", "fan_out_max", "dead_inputs",
          "dead_outputs", "dense_macs", "sparse_macs", "structural_rank", "rank_shortfall")
QUANTILES = {"score_min": 0.0, "score_q25": 0.25, "score_median": 0.5, "score_q75": 0.75, "score_max": 1.0}


@dataclass(frozen=True, eq=False)
class MaskReport:
    """What masks leave of a network.

    Attributes
    ----------
    masks, effective
        The kept weights, and those of them on a path from the input to the output.
    is_connected
        Whether any such path exists.
    flags
        What is wrong, the gravest first.
    rows
        The rows of `table`.
    """

    masks: Masks
    effective: Masks
    is_connected: bool
    flags: tuple[Flag, ...]
    rows: tuple[Mapping[str, object], ...]

    @property
    def table(self) -> pd.DataFrame:
        """A row per prunable parameter.

        Columns: ``parameter, shape, total, kept, density, effective`` (kept and on a path); ``fan_in_{min,mean,max}``,
        kept weights into each output unit, and ``fan_out_{min,mean,max}`` out of each input unit (of convolutions:
        filters and channels); ``dead_inputs, dead_outputs``, units without any; ``dense_macs, sparse_macs``, products
        for one sample with all and with the kept weights; ``structural_rank`` of the matrix (out, in * kernel), by
        group, and its ``rank_shortfall``; ``score_{min,q25,median,q75,max}`` where scores were given.
        """
        return _table(self.rows)

    @property
    def num_prunable(self) -> int:
        return self.masks.num_prunable

    @property
    def num_kept(self) -> int:
        return self.masks.num_kept

    @property
    def num_effective(self) -> int:
        return self.effective.num_kept

    @property
    def sparsity(self) -> float:
        """Removed share of the prunable set."""
        return self.masks.sparsity

    @property
    def effective_sparsity(self) -> float:
        """Share of the prunable set that is removed or on no path."""
        return self.effective.sparsity

    @property
    def compression(self) -> float:
        """Prunable weights by kept ones; infinite where none is kept."""
        return self.num_prunable / self.num_kept if self.num_kept else math.inf

    @property
    def effective_compression(self) -> float:
        """Prunable weights by effective ones; infinite where the network is disconnected."""
        return self.num_prunable / self.num_effective if self.num_effective else math.inf

    @property
    def dense_macs(self) -> int:
        """Multiply-accumulates of one sample in the layers of the table, nothing pruned."""
        return sum(row["dense_macs"] for row in self.rows)

    @property
    def sparse_macs(self) -> int:
        """Multiply-accumulates of one sample with kept weights."""
        return sum(row["sparse_macs"] for row in self.rows)

    @property
    def summary(self) -> str:
        """Totals in words, and one line per flag."""
        lines = [
            f"{self.num_kept} of {self.num_prunable} weights kept: sparsity {self.sparsity:.4%},"
            f" compression {self.compression:.4g}",
            f"{self.num_effective} effective, on a path from the input to the output: sparsity"
            f" {self.effective_sparsity:.4%}, compression {self.effective_compression:.4g}",
            f"{self.sparse_macs} of {self.dense_macs} multiply-accumulates per sample",
        ]
        return "\n".join([*lines, *map(str, self.flags)])

    def __repr__(self) -> str:
        return f"MaskReport of {len(self.rows)} parameters\n{self.summary}"

    def _repr_html_(self) -> str:
        columns = ["parameter", "shape", "total", "kept", "effective", "density", "dead_inputs", "dead_outputs"]
        table = self.table[columns].to_html(index=False, border=0, na_rep="", float_format="{:.4g}".format)
        return f"<pre>{escape(self.summary)}</pre>{table}"


def mask_report(
    model: nn.Module,
    masks: Masks | None = None,
    *,
    inputs: Tensor | None = None,
    input_shape: Sequence[int] | None = None,
    scores: Mapping[str, Tensor] | None = None,
    constants: str = "dead",
    unknown: str = "refuse",
) -> MaskReport:
    """Return what `masks` leave of `model`: counts by layer, effective weights, ranks, operations, flags.

    Parameters
    ----------
    model
        Any module; it is left untouched.
    masks
        Kept weights; default those that `model` carries, or the weights of all its linear and convolutional layers,
        all kept, where it carries none.
    inputs
        A batch as the model takes it, of which one sample is used; or
    input_shape
        the shape of one sample, such as (1, 28, 28).
    scores
        A tensor by parameter name, whose quantiles become columns.
    constants, unknown
        As in `effective_masks`.

    Returns
    -------
    MaskReport
        A frozen value with `table`, totals, `flags` and `summary`.

    Raises
    ------
    ArgumentError
        Neither or both of `inputs` and `input_shape` are given, or no `masks` and the model has no weights to prune.
    DtypeError, ShapeError, UnknownNameError, NonFiniteError
        An argument is of the wrong type, shape or name, or scores are NaN.
    ModelError
        As `effective_masks`.

    Notes
    -----
    Operations are the multiply-accumulates of linear layers, matrix products with a parameter, and convolutions, one
    per weight and place, padding included; biases, normalisations, activations, pooling and attention scores are left
    out. One of them is two floating-point operations. Sparse ones count kept weights, as no dense kernel runs them.

    References
    ----------
    Vysogorets and Kempe 2021 (effective sparsity); Tanaka et al. 2020 (layer collapse).

    Examples
    --------
    >>> net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    >>> kept = {"0.weight": torch.tensor([[True, True], [False, True]]), "2.weight": torch.tensor([[True, False]])}
    >>> report = mask_report(net, Masks(kept), input_shape=(2,))
    >>> print(report.summary)
    4 of 6 weights kept: sparsity 33.3333%, compression 1.5
    3 effective, on a path from the input to the output: sparsity 50.0000%, compression 2
    4 of 6 multiply-accumulates per sample
    >>> report.table[["parameter", "total", "kept", "effective", "dead_inputs"]]
      parameter  total  kept  effective  dead_inputs
    0  0.weight      4     3          2            0
    1  2.weight      2     1          1            1
    """
    check_module(model)
    check_options(constants, unknown)
    masks = _masks(model, masks)
    check_scores(scores, masks)
    flow = record(model, _inputs(inputs, input_shape))
    paths = find_paths(model, flow, masks, constants=constants, unknown=unknown)
    dense = Masks({name: torch.ones_like(mask) for name, mask in masks.items()})
    unpruned = find_paths(model, flow, dense, constants=constants, unknown=unknown, carried=False)
    owned = owned_parameters(model)
    rows = tuple(_row(name, masks[name], paths, unpruned.macs[name], owned[name], scores) for name in masks)
    usable = {name for name, mask in unpruned.effective.items() if mask.any()}
    flags = find_flags(_table(rows), is_connected=paths.is_connected, usable=usable)
    return MaskReport(masks, paths.effective, paths.is_connected, flags, rows)


def _masks(model: nn.Module, masks: Masks | None) -> Masks:
    """Return the masks to report on."""
    if masks is not None:
        check_masks(masks, model)
        return masks
    carried = Masks.of(model)
    if carried:
        return carried
    owned = owned_parameters(model)
    try:
        names = prunable_names(model, "weights")
    except (ArgumentError, ModelError) as error:
        raise ArgumentError("`masks` must be given for a model whose linear and convolutional layers have no weights of"
                            f" their own; got None. {error}") from error
    return Masks({name: torch.ones(owned[name].tensor.shape, dtype=torch.bool) for name in names})


def _inputs(inputs: Tensor | None, input_shape: Sequence[int] | None) -> Tensor:
    if (inputs is None) == (input_shape is None):
        raise ArgumentError(f"`inputs` must be given, or `input_shape`; got {'neither' if inputs is None else 'both'}."
                            " Pass input_shape=(1, 28, 28), for example.")
    if input_shape is None:
        return inputs
    sides = input_shape if isinstance(input_shape, Sequence) else [None]
    if not all(isinstance(side, Integral) and side > 0 for side in sides):
        raise ShapeError(f"`input_shape` must hold positive integers; got {input_shape!r}. It is the shape of one"
                         " sample without the batch, such as (1, 28, 28).")
    return torch.ones(1, *map(int, sides))


def _row(
    name: str, mask: Tensor, paths: Paths, dense_macs: int, owned: Owned, scores: Mapping[str, Tensor] | None
) -> dict[str, object]:
    total, kept = mask.numel(), int(mask.sum())
    row = {
        "parameter": name,
        "shape": "x".join(map(str, mask.shape)),
        "total": total,
        "kept": kept,
        "density": kept / max(total, 1),
        "effective": int(paths.effective[name].sum()),
        "dense_macs": dense_macs,
        "sparse_macs": paths.macs[name],
        **unit_facts(Connections.of(mask, owned.module)),
    }
    if scores is not None:
        values = torch.sort(scores[name].detach().flatten().double().cpu()).values
        for column, share in QUANTILES.items():  # torch.quantile refuses large tensors
            row[column] = _quantile(values, share)
    return row


def _quantile(values: Tensor, share: float) -> float | None:
    """Return a quantile of sorted values, linear between two of them, or the nearer where one is infinite."""
    if not len(values):
        return None
    position = share * (len(values) - 1)
    low, high = values[math.floor(position)].item(), values[math.ceil(position)].item()
    part = position - math.floor(position)
    return low + (high - low) * part if math.isfinite(high - low) else (low if part < 0.5 else high)


def _table(rows: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """Build the table; counts stay whole numbers where a bias has none."""
    return pd.DataFrame(list(rows)).astype(dict.fromkeys(COUNTS, "Int64"))
