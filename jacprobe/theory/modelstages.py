"""A model's layers as the theory sees them: kinds of weights, and lengths from the inputs on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from jacprobe.errors import ArgumentError, DtypeError, NonFiniteError, ShapeError
from jacprobe.masks import Masks
from jacprobe.modelstate import check_model, owned_parameters, unwrapped
from jacprobe.theory.activations import Activation
from jacprobe.theory.forwardchain import Link, chain_of
from jacprobe.theory.slopelaw import SlopeLaw
from jacprobe.theory.stage import Stage
from jacprobe.theory.weightkind import kind_of_weights

_UNLIKE = 0.1  # coefficient of variation of the lengths of the inputs that is worth a word


def model_stages(
    model: nn.Module, inputs: Tensor | np.ndarray, *, masks: Masks | None, phi: Activation | None
) -> list[Stage]:
    """Return the layers of a model that is a chain; see ``chain_of``.

    Raises
    ------
    DtypeError, ShapeError, NonFiniteError, ArgumentError, ModelError
        The inputs or masks do not fit, are 0, or the model is no chain.
    """
    check_model(model)
    model = unwrapped(model)
    if masks is not None and not isinstance(masks, Masks):
        raise DtypeError(f"`masks` must be jacprobe Masks; got {type(masks).__name__}. Make them with jacprobe.prune, "
                         "or wrap bool tensors by name in jacprobe.Masks.")
    inputs = _checked(inputs)
    masked = model if masks is None else masks.apply(model)
    links = chain_of(masked, inputs, phi=phi)
    hidden, carried = owned_parameters(masked), Masks.of(masked)
    squares = inputs.double().pow(2)
    stages: list[Stage] = []
    for link in links:
        stages.append(_stage(link, hidden, carried, stages[-1].mean_square() if stages else squares))
    return _with_spread(stages, squares)


def _stage(link: Link, hidden: Mapping, carried: Mapping, before: float | Tensor) -> Stage:
    """Return one layer; `before` is the mean square of its inputs, or the squares of those of the network."""
    kernel = link.module.weight.detach().double().cpu().numpy()
    name = f"{link.name}.weight" if link.name != "model" or "weight" not in hidden else "weight"
    dense = hidden[name].tensor.detach().double().cpu().numpy() if name in carried and name in hidden else None
    kind = kind_of_weights(kernel, dense, name=link.name)
    bias = link.module.bias
    sigma_b2 = 0.0 if bias is None else float(bias.detach().double().pow(2).mean())
    q = kind.variance * before + sigma_b2 if isinstance(before, float) else _first(kernel, before) + sigma_b2
    if not q > 0:
        raise ArgumentError(f"`inputs` must reach every layer; the pre-activations of {link.name!r} are all 0. Pass "
                            "inputs that are not 0 where weights are kept.")
    sigma_w2 = kind.sigma_w2
    sampled = [None if e is None else SlopeLaw.sampled(e / e.mean(), name="energies")
               for e in (kind.row_energies, kind.column_energies)]
    return Stage(link.name, link.out_dim, link.in_dim, kind.weight, sigma_w2, q, sigma_b2, link.phi, *sampled,
                 reasons=kind.reasons)


def _first(kernel: np.ndarray, squares: Tensor) -> float:
    """Return the mean square of the first pre-activations without biases, by the squares of weights and inputs."""
    columns = (kernel**2).sum((0, *range(2, kernel.ndim)))
    channels = squares.flatten(2).mean((0, 2)) if kernel.ndim > 2 else squares.flatten(1).mean(0)
    return float(columns @ channels.cpu().numpy()) / kernel.shape[0]


def _with_spread(stages: list[Stage], squares: Tensor) -> list[Stage]:
    """Return the layers, with a reason more where inputs of unequal lengths see unequal slopes."""
    lengths = squares.flatten(1).mean(1)
    spread = float(lengths.std(correction=0) / lengths.mean())
    if spread < _UNLIKE:
        return stages
    reason = (f"inputs differ in length (coefficient of variation {spread:.2f}): slopes are those of their mean "
              "square",)
    return [dataclasses.replace(stage, reasons=stage.reasons + reason) if _bends(stage) else stage
            for stage in stages]


def _bends(stage: Stage) -> bool:
    """Whether slopes depend on the length."""
    if stage.phi is None:
        return False
    low, high = stage.phi.slope_moment(stage.q / 2), stage.phi.slope_moment(stage.q)
    return abs(low - high) > 1e-6 * high



def _checked(inputs: Tensor | np.ndarray | None) -> Tensor:
    if inputs is None:
        raise ArgumentError("`inputs` must be given with a model; got None. Pass some of the data: lengths start from "
                            "them.")
    inputs = torch.from_numpy(np.ascontiguousarray(inputs)) if isinstance(inputs, np.ndarray) else inputs
    if not isinstance(inputs, Tensor) or not inputs.is_floating_point():
        got = inputs.dtype if isinstance(inputs, Tensor) else type(inputs).__name__
        raise DtypeError(f"`inputs` must be a floating tensor or array; got {got}. Give the images alone.")
    if inputs.ndim < 2 or not inputs.numel():
        raise ShapeError(f"`inputs` must hold at least one sample, (num_inputs, ...); got shape {tuple(inputs.shape)}. "
                         "Put the batch dimension first.")
    if not inputs.isfinite().all():
        raise NonFiniteError("`inputs` must be finite; got NaN or infinity. Remove or repair such samples.")
    return inputs.detach().cpu()
