"""Initial weights by name, drawn into a copy of a model."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import torch
from torch import nn

from jacprobe.errors import ArgumentError, NonFiniteError, UnknownNameError
from jacprobe.isometry.defaultdevice import cpu_by_default
from jacprobe.isometry.initialisers import INITIALISERS, Draw, Drawn, Layer, affine_layers
from jacprobe.masks import Masks
from jacprobe.modelstate import check_module, copy_model
from jacprobe.randomness import make_generator


def initialize(
    model: nn.Module, method: str | Callable[..., None], *, seed: int | torch.Generator = 0, **arguments: object
) -> nn.Module:
    """Return a copy of `model` with fresh weights in every linear and convolutional layer, and fresh or zero biases.

    Parameters
    ----------
    model
        Any module; it is left untouched. Normalisations keep their state.
    method
        A name of the table below, or a callable ``(weight, generator, **arguments)`` that fills the weight, float64 and
        of the layer's shape, in place. Those of ``torch.nn.init`` with a generator are such.
    seed
        Of the generator, or the generator; the global random state is not used.
    arguments
        Those of the method.

    Returns
    -------
    torch.nn.Module
        With "sparse-kaiming", "eoi" and "sao", whose weights mean something on their masks alone, it carries the masks
        as after ``Masks.apply``; ``Masks.of`` returns them.

    Raises
    ------
    UnknownNameError
        No such method, weights, layer or activation.
    ArgumentError
        An argument that the method does not take, lacks, or cannot use; a density or degree with which a layer cannot
        be orthogonal; a critical point that does not exist; an activation that is not plain from the modules.
    DtypeError, ModelError
        `model` is no module, has no shapes yet, has a weight that is empty or complex, or a weight or bias that is
        masked or otherwise derived, or lacks biases that are to vary.
    NonFiniteError
        The dtype of the model cannot hold what is drawn, or a callable does not fill the weight.
    ShapeError
        Masks do not fit.

    Notes
    -----
    ================== ========================================================== ======================================
    method             weights                                                    arguments
    ================== ========================================================== ======================================
    orthogonal         orthonormal rows or columns of (out, in * kernel), by      gain=1
                       group
    sg                 N(0, gamma), the same variance in every layer              gamma
    vs-l, vs-g, vs-h   N(0, 1 / fan_in), N(0, 2 / (fan_in + fan_out)),
                       N(0, 2 / fan_in)
    conv-orthogonal    all singular values at gain under circular padding         gain=1
    delta-orthogonal   orthogonal at the middle tap, zero elsewhere               gain=1
    mean-field         N(0, sigma_w2 / fan_in), biases N(0, sigma_b2)             sigma_w2, sigma_b2=0,
                                                                                  weights="gaussian"
    critical           mean-field where chi_1 = 1 for the model's activation      sigma_b2=0 or q, weights, activation
    sparse-kaiming     N(0, gain^2 / kept weights of the unit) on given masks     masks, gain=sqrt(2)
    eoi                orthogonal, of exactly that density, and masks             density, gain=1
    sao                orthogonal on an expander graph of that degree, and masks  degree or density, gain=1
    ================== ========================================================== ======================================

    `density` and `degree` are one number, or numbers by name of the weight; layers left out are dense. `weights` may be
    "gaussian", "orthogonal", "conv-orthogonal" or "delta-orthogonal". The functions of
    ``jacprobe.isometry.initialisers`` say what holds exactly. Fans are those of one group. A tied weight, its mask and
    its density are those of the first layer that has it.

    References
    ----------
    Lee et al. 2020, sections 3.1 (sg) and 4, whose code leaves the gain of orthogonal weights at 1. Xiao et al. 2018
    and Li et al. 2019 for convolutions, Schoenholz et al. 2017 for the critical point, Evci et al. 2022 for
    sparse-kaiming, Nowak et al. 2024 for eoi, Esguerra et al. 2023 for sao.

    Examples
    --------
    >>> net = initialize(nn.Linear(50, 20), "orthogonal")
    >>> bool(torch.allclose(net.weight @ net.weight.T, torch.eye(20), atol=1e-5))
    True
    >>> sparse = initialize(nn.Linear(50, 20), "eoi", density=0.1)
    >>> bool(torch.allclose(sparse.weight @ sparse.weight.T, torch.eye(20), atol=1e-5)), Masks.of(sparse).num_kept
    (True, 100)
    """
    check_module(model)
    if not callable(method) and method not in tuple(INITIALISERS):
        raise UnknownNameError("method", method, INITIALISERS, "Or pass a callable.")
    fresh = copy_model(model)
    layers = affine_layers(fresh)
    with cpu_by_default():
        draw = _prepared(method, fresh, arguments)
        with torch.no_grad():
            masks = _redraw(layers, draw, make_generator(seed))
    return Masks(masks).apply(fresh) if masks else fresh


def _redraw(layers: list[Layer], draw: Draw, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Write new weights and biases into the layers, and return the masks that come with them."""
    masks: dict[str, torch.Tensor] = {}
    written: dict[int, str] = {}  # a tied weight belongs to the first of its layers
    for layer in layers:
        drawn = draw(layer, generator)
        for attribute in ("weight", "bias"):
            tensor, name = layer.module._parameters[attribute], layer.parameter(attribute)
            if tensor is None:
                continue
            first = written.setdefault(id(tensor), name)
            if first == name:
                _write(tensor, getattr(drawn, attribute), name)
            if attribute in drawn.masks and first == name:
                masks[name] = drawn.masks[attribute]
            elif attribute in drawn.masks and first not in masks:
                raise ArgumentError(f"`arguments` must name a tied weight by its first name; {name!r} is {first!r},"
                                    " which they leave dense. Rename it.")
    return masks


def _write(tensor: torch.Tensor, values: torch.Tensor | None, name: str) -> None:
    if values is None:
        tensor.zero_()
        return
    tensor.copy_(values)
    if not bool(tensor.isfinite().all()):
        largest = "NaN" if bool(values.isnan().any()) else f"values up to {float(values.abs().max()):.3g}"
        raise NonFiniteError(f"`method` must give finite weights that {tensor.dtype} can hold; got {largest} for"
                             f" {name!r}. Use smaller arguments; a callable must fill all of the weight, in place.")


def _prepared(method: str | Callable[..., None], model: nn.Module, arguments: dict[str, object]) -> Draw:
    """Return how to draw a layer, with all arguments checked."""
    if callable(method):
        return _filling(method, arguments)
    try:
        inspect.signature(INITIALISERS[method]).bind(model, **arguments)
    except TypeError as error:
        raise _misfit(method, arguments, error) from error
    return INITIALISERS[method](model, **arguments)


def _filling(fill: Callable[..., None], arguments: dict[str, object]) -> Draw:
    signature = inspect.signature(fill)

    def draw(layer: Layer, generator: torch.Generator) -> Drawn:
        weight = torch.full(layer.shape, torch.nan, dtype=torch.float64)  # so that what is not filled shows
        try:
            if "generator" in signature.parameters:  # as in torch.nn.init, where it stands last
                bound = signature.bind(weight, generator=generator, **arguments)
            else:
                bound = signature.bind(weight, generator, **arguments)
        except TypeError as error:
            raise _misfit(getattr(fill, "__name__", fill), arguments, error) from error
        fill(*bound.args, **bound.kwargs)
        return Drawn(weight)

    return draw


def _misfit(method: object, arguments: dict[str, object], error: TypeError) -> ArgumentError:
    given = ", ".join(arguments) or "none"
    return ArgumentError(f"`arguments` must be those of the method {method!r}; got {given}: {error}.")
