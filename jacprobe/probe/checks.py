"""Checks at the boundary: inputs that fit, samples that do not mix, outputs that repeat."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from numbers import Real

import numpy as np
import torch
from torch import Tensor

from jacprobe.errors import ArgumentError, DtypeError, ModelError, NonFiniteError, ShapeError


def check_inputs(inputs: object) -> Tensor:
    """Return `inputs` as a tensor of at least one finite floating-point sample.

    Raises
    ------
    DtypeError
        No tensor or array of numbers, or not floating point.
    ShapeError
        No batch dimension, or an empty one.
    NonFiniteError
        NaN or infinity; the message names the sample.
    """
    if isinstance(inputs, np.ndarray):
        inputs = _tensor(inputs)
    if not isinstance(inputs, Tensor):
        raise DtypeError(f"`inputs` must be a tensor or array; got {type(inputs).__name__}. Give the images alone.")
    if not inputs.is_floating_point():
        raise DtypeError(f"`inputs` must be floating point; got {inputs.dtype}. Convert and standardise them; for token"
                         " ids, probe the model behind its embedding.")
    if inputs.ndim < 2 or inputs.numel() == 0:
        raise ShapeError(f"`inputs` must hold at least one sample, (num_inputs, ...); got shape {tuple(inputs.shape)}."
                         " Put the batch dimension first.")
    bad = (~inputs.isfinite()).flatten(1).any(1)
    if bad.any():
        raise NonFiniteError(f"`inputs` must be finite; sample {int(bad.nonzero()[0])} holds NaN or infinity."
                             " Remove or repair it.")
    return inputs.detach()


def _tensor(array: np.ndarray) -> Tensor:
    """Copy an array of any strides and byte order."""
    try:
        return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), order="C"))
    except TypeError as error:
        raise DtypeError(f"`inputs` must be an array of numbers that torch knows; got {array.dtype}."
                         " Convert it with astype('float32').") from error


def check_positive(name: str, value: object, cure: str) -> float:
    """Return `value` as a positive number, which may be infinite.

    Raises
    ------
    ArgumentError
        It is none.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not value > 0:
        raise ArgumentError(f"`{name}` must be a positive number; got {value!r}. {cure}")
    return float(value)


def check_count(name: str, value: object) -> None:
    """Raise ArgumentError where `value` is no whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ArgumentError(f"`{name}` must be a whole number of at least 1; got {value!r}. Leave it out for the"
                            " default.")


def check_pairs(segments: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the pairs of names in `segments`, each once."""
    pairs = list(segments) if isinstance(segments, Iterable) and not isinstance(segments, str) else [segments]
    for pair in pairs:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise ArgumentError(f"`segments` must hold pairs of sites; got {pair!r}. Write [('input', 'fc1')].")
    return [(source, target) for source, target in dict.fromkeys(map(tuple, pairs))]


def check_samples(run: Callable[[Tensor], Tensor], inputs: Tensor) -> None:
    """Check that the output is a number and repeats, and that the first sample and the others ignore each other.

    Parameters
    ----------
    run
        The model in evaluation mode.
    inputs
        At least two samples.

    Raises
    ------
    ModelError
        The output changes from call to call, or samples mix.
    NonFiniteError
        The output of a sample holds NaN.
    """
    with torch.no_grad():
        first, again = run(inputs.clone()), run(inputs.clone())
        bad = first.isnan().flatten(1).any(1)
        if bad.any():
            raise NonFiniteError(f"`model` must give numbers; of the {len(inputs)} samples that are tried first, the"
                                 f" output of number {int(bad.nonzero()[0])} holds NaN. Check the inputs and weights.")
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(inputs.shape, generator=generator, dtype=torch.float64, device="cpu").to(inputs)
        others_moved = run(torch.cat([inputs[:1], inputs[1:] + noise[1:]]))
        first_moved = run(torch.cat([inputs[:1] + noise[:1], inputs[1:]]))  # a causal map passes the other way only
    tolerance = torch.finfo(first.dtype).eps ** 0.5
    largest = float(first.abs().nan_to_num(posinf=0).max())  # masked outputs may be infinite

    def same(one: Tensor, other: Tensor) -> bool:
        return torch.allclose(one, other, rtol=tolerance, atol=tolerance * largest, equal_nan=True)

    if not same(first, again):
        raise ModelError("`model` must repeat its output in evaluation mode; two calls on the same inputs differ."
                         " Look for F.dropout without training=self.training, or random numbers in its forward.")
    if not same(first[0], others_moved[0]) or not same(first[1:], first_moved[1:]):
        raise mixing_error()


def mixing_error() -> ModelError:
    return ModelError("`model` must treat samples one by one; changing one sample changes the output of another. Look"
                      " for batch norm kept in train mode or without running statistics, or a wrong batch dimension.")
