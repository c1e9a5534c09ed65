"""Scores of the weights alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jacprobe.modelstate import Owned, owned_parameters, preserved
from jacprobe.pruning.context import Scoring


def random(model: nn.Module, names: list[str], scoring: Scoring) -> dict[str, Tensor]:
    """Uniform random scores from ``scoring.generator``."""
    owned = owned_parameters(model)
    return {name: torch.rand(owned[name].tensor.shape, generator=scoring.generator, dtype=torch.float64)
            for name in names}


def magnitude(model: nn.Module, names: list[str], scoring: Scoring) -> dict[str, Tensor]:
    """Absolute values of the weights, as the forward pass sees them."""
    return {name: weight.abs_() for name, weight in effective_weights(model, names).items()}


def lamp(model: nn.Module, names: list[str], scoring: Scoring) -> dict[str, Tensor]:
    """Layer-adaptive magnitudes: w_u^2 over the sum of w_v^2 of its parameter with ``|w_v| >= |w_u|``, in [0, 1].

    Weights that ``scoring.masks`` remove count in no sum but their own. Equal weights have equal scores.

    References
    ----------
    Lee, Park, Mo, Ahn and Shin, "Layer-adaptive Sparsity for the Magnitude-based Pruning", ICLR 2021.
    """
    found = {}
    for name, weight in effective_weights(model, names).items():
        squares = weight.double().square_().flatten()
        keep = None if scoring.masks is None or name not in scoring.masks else scoring.masks[name].flatten()
        found[name] = _shares(squares, keep).reshape(weight.shape)
    return found


def _shares(squares: Tensor, keep: Tensor | None) -> Tensor:
    values, order = squares.sort(descending=True)
    counted = values if keep is None else torch.where(keep[order], values, 0)
    last = torch.searchsorted(-values, -values, right=True) - 1  # of equal values the last, so that all are counted
    totals = counted.cumsum(0)[last] + (values - counted)
    shares = torch.where(values > 0, values / totals.clamp(min=torch.finfo(torch.float64).tiny), 0)
    return torch.empty_like(shares).scatter_(0, order, shares)


def effective_weights(model: nn.Module, names: list[str]) -> dict[str, Tensor]:
    """Return copies on the CPU of the weights as the forward pass sees them: masked where a mask is applied."""
    owned = owned_parameters(model)
    with preserved(model), torch.no_grad():  # reading a parametrised weight may change the buffers of its module
        return {name: _effective(owned[name]).detach().to("cpu", copy=True) for name in names}


def _effective(owned: Owned) -> Tensor:
    if owned.is_torch_pruned():  # its plain attribute may be stale
        return owned.tensor * getattr(owned.module, f"{owned.attribute}_mask")
    return getattr(owned.module, owned.attribute)
