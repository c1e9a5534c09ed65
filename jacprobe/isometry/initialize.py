"""Initial weights by name, drawn into a copy of a model."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from jacprobe.errors import ArgumentError, ModelError, UnknownNameError
from jacprobe.modelstate import AFFINE, check_module, copy_model
from jacprobe.randomness import make_generator


def _orthogonal(weight: Tensor, generator: torch.Generator, *, gain: float = 1.0) -> None:
    """Orthonormal rows or columns, whichever are fewer, of the (out, in * kernel) matrix, times `gain`."""
    if not math.isfinite(gain):
        raise ArgumentError(f"`gain` must be finite; got {gain}. 1 keeps the rows or columns orthonormal.")
    nn.init.orthogonal_(weight, gain=gain, generator=generator)


def _sg(weight: Tensor, generator: torch.Generator, *, gamma: float) -> None:
    """Scaled Gaussian N(0, gamma): gamma is a variance, the same in every layer (paper, section 3.1)."""
    if not 0 < gamma < math.inf:
        raise ArgumentError(f"`gamma` must be positive and finite; got {gamma}. It is the variance of the weights.")
    nn.init.normal_(weight, std=math.sqrt(gamma), generator=generator)


def _variance_scaling(variance: Callable[[int, int], float]):
    def draw(weight: Tensor, generator: torch.Generator) -> None:
        fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(weight)
        nn.init.normal_(weight, std=math.sqrt(variance(fan_in, fan_out)), generator=generator)

    return draw


INITIALISERS: dict[str, Callable[..., None]] = {
    "orthogonal": _orthogonal,
    "sg": _sg,
    "vs-l": _variance_scaling(lambda fan_in, fan_out: 1 / fan_in),
    "vs-g": _variance_scaling(lambda fan_in, fan_out: 2 / (fan_in + fan_out)),
    "vs-h": _variance_scaling(lambda fan_in, fan_out: 2 / fan_in),
}


def initialize(
    model: nn.Module, method: str | Callable[..., None], *, seed: int | torch.Generator = 0, **arguments: float
) -> nn.Module:
    """Return a copy of `model` with fresh weights in every linear and convolutional layer and zero biases.

    Parameters
    ----------
    model
        Any module; it is left untouched. Normalisations keep their state.
    method
        "orthogonal" (`gain`, default 1), "sg" (scaled Gaussian with variance `gamma`), "vs-l", "vs-g", "vs-h"
        (variance 1 / fan_in, 2 / (fan_in + fan_out), 2 / fan_in), or a callable ``(weight, generator, **arguments)``
        that fills the weight in place.
    seed
        Of the generator; the global random state is not used.
    arguments
        Those of the method.

    Raises
    ------
    UnknownNameError
        No such method.
    ArgumentError
        An argument that the method does not take, lacks, or cannot use.
    DtypeError, ModelError
        `model` is no module, has no shapes yet, or has a weight or bias that is masked or otherwise derived.

    References
    ----------
    Lee et al. 2020, sections 3.1 and 4; facts of the published code.

    Examples
    --------
    >>> net = initialize(nn.Linear(50, 20), "orthogonal")
    >>> bool(torch.allclose(net.weight @ net.weight.T, torch.eye(20), atol=1e-5))
    True
    """
    check_module(model)
    if not callable(method) and method not in INITIALISERS:
        raise UnknownNameError("method", method, INITIALISERS, "Or pass a callable.")
    draw = INITIALISERS[method] if isinstance(method, str) else method
    fresh = copy_model(model)
    generator = make_generator(seed)
    with torch.no_grad():
        for name, module in fresh.named_modules():
            if not isinstance(module, AFFINE):
                continue
            for attribute in ("weight", "bias"):
                if attribute not in module._parameters:
                    raise ModelError(f"`model` must have plain parameters; the {attribute} of {name!r} is masked or"
                                     " computed from others. Initialise before pruning.")
            weight = torch.empty(module.weight.shape, dtype=torch.float64)
            try:
                draw(weight, generator, **arguments)
            except TypeError as error:
                given = ", ".join(arguments) or "none"
                raise ArgumentError(f"`arguments` must be those of the method {method!r}; got {given}: {error}."
                                    ) from error
            module.weight.copy_(weight)
            if module.bias is not None:
                module.bias.zero_()
    return fresh
