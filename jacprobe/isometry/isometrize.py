"""Approximate isometry: new values for the kept weights of a pruned network."""

from __future__ import annotations

import math
import warnings
from numbers import Integral

import torch
from torch import nn

from jacprobe.errors import ArgumentError, DtypeError, JacprobeWarning, ModelError, UnknownNameError
from jacprobe.isometry.checks import check_number
from jacprobe.isometry.defaultdevice import cpu_by_default
from jacprobe.isometry.gains import Gain, layer_gains
from jacprobe.isometry.repair.measures import Measures
from jacprobe.isometry.repairlayers import RepairLayer, repair_layers
from jacprobe.isometry.repairmethods import METHODS, OBJECTIVES, Plan, Repaired, repair
from jacprobe.isometry.repairresult import Repair
from jacprobe.modelstate import check_model, copy_model
from jacprobe.progress import progress_bar

_MISSES = ("stationary", "max_steps")
_LEAST, _MOST = 1e-70, 1e70  # of the largest weight of a layer over its gain: the fourth powers are numbers
_READERS = {  # argument -> methods and objectives that read it
    "strength": ("nearest", "spread"), "tolerance": ("polar-cg",), "max_steps": ("polar-cg", "paper-sgd"),
    "rate": ("paper-sgd",)}


def isometrize(
    pruned: nn.Module,
    *,
    method: str = "polar-cg",
    objective: str = "gram",
    gain: Gain | None = None,
    strength: float | None = None,
    tolerance: float | None = None,
    max_steps: int | None = None,
    rate: float | None = None,
    progress: bool | None = False,
) -> Repair:
    """Return the network with kept weights that make each layer as near to an isometry as its mask allows.

    Data free, layer by layer. Biases, normalisations and masks stay as they are.

    Parameters
    ----------
    pruned
        A network with or without masks; it is left untouched. Its weights are repaired on the device that holds them.
    method
        "polar-cg", the default: from the rescaled weights, rounds of the nearest isometry and the mask until no
        singular value is in danger of getting stuck at 0, then conjugate gradients and Gauss-Newton steps on the kept
        weights, in float64, on the smaller Gram side. "paper-sgd": as published. The controls "rescale" (one factor
        per layer), "equilibrate" (row and column norms) and "criticality" (one factor, to the edge of chaos).
    objective
        "gram": the paper's, of the (fan_in, outputs) matrix, by group. Of "polar-cg": "nearest", to stay close to the
        given weights, rescaled; "spread", to penalise concentration; "frequency", to make convolutions themselves
        isometries (stride 1, circular), at every frequency. Of "paper-sgd": "spectral", its norm in place of the
        Frobenius norm.
    gain
        The singular value aimed at: a number, numbers by weight name, or "theory", which makes up for the slopes of the
        activations that follow the layers (sqrt(2) for ReLU). Default 1, and "theory" for "criticality".
    strength
        Of the penalty of "nearest" and "spread", which trade isometry for it. Default 0.1.
    tolerance
        Of the residual over its floor in "polar-cg" (root of the difference of squares). Default ``5e-7 sqrt(n)``
        with n the short side, and ``1e-4 sqrt(n)`` where progress is slow.
    max_steps
        Most steps per layer; default 1,000, fewer but at least 100 where they would take more than 5e11 operations
        (2,304 x 512 and larger), and 10,000 for "paper-sgd", which always makes all.
    rate
        Of "paper-sgd". Default 0.1.
    progress
        Show a bar on stderr; None where that is a terminal.

    Returns
    -------
    Repair
        ``.model``, ``.table`` and the scores.

    Raises
    ------
    UnknownNameError
        No such method, objective or weight.
    ArgumentError, DtypeError
        An argument is out of its domain, or belongs to another method; a gain of theory does not exist; weights that
        the dtype of the model cannot hold; a descent that diverges.
    ModelError
        A layer has no kept weights, or none but 0 to scale or descend from (which "polar-cg" can do without), or its
        weight is computed from other parameters.
    NonFiniteError
        A weight is NaN or infinite.

    Warns
    -----
    JacprobeWarning
        The kept weights of layers have concentrated on few.

    Notes
    -----
    Layerwise isometry makes a *chain* of layers an isometry as far as its activations let it: of a tanh or linear
    network with square layers the product of orthogonal matrices is one, of a layer that narrows all but its null
    space is kept. It does not make a residual network one: a block x + f(x) with f an isometry has singular values
    between 0 and 2, and orthogonal shortcuts only bound those of the sum. Nor does a normalisation keep it in training
    mode. A flat convolution matrix with orthonormal columns fixes the *mean* squared gain over frequencies alone;
    "frequency" makes each one exact, at the price of more concentration.

    A mask of structural rank r leaves ``n - r`` singular values of n at 0 whatever the weights. If it has a perfect
    matching, an exact isometry exists, at worst a signed permutation; spread-out ones need about n (n + 1) / 2 kept
    weights. Below that the solution collapses towards a permutation, here as with the paper's descent.

    References
    ----------
    Lee et al. 2020, equation 8 (approximate isometry) and section 5.1 (orthogonality score).

    Examples
    --------
    >>> mask = torch.eye(4, dtype=torch.bool) | torch.eye(4, dtype=torch.bool).roll(1, 0)
    >>> from jacprobe.masks import Masks
    >>> pruned = Masks({"weight": mask}).apply(nn.Linear(4, 4))
    >>> with warnings.catch_warnings(action="ignore"):
    ...     result = isometrize(pruned)
    >>> result.score_after < 1e-5 < result.score_before
    True
    """
    _check_names(method, objective)
    plan = _plan(method, objective, strength=strength, tolerance=tolerance, max_steps=max_steps, rate=rate)
    check_model(pruned)
    with cpu_by_default():
        result = _repaired(pruned, plan, default_gain(method) if gain is None else gain, progress)
    for text in result.warnings:
        warnings.warn(text, JacprobeWarning, stacklevel=2)
    return result


def default_gain(method: str) -> Gain:
    """Return the gain of a method where none is given."""
    return "theory" if method == "criticality" else 1.0


def _repaired(pruned: nn.Module, plan: Plan, gain: Gain, progress: bool | None) -> Repair:
    model = copy_model(pruned)
    layers = repair_layers(model)
    gains = layer_gains(model, [layer.name for layer in layers], gain)
    starts = [layer.blocks / gains[layer.name] for layer in layers]
    for layer, start in zip(layers, starts, strict=True):
        _check_size(layer.name, float(start.abs().max()), plan.method)
    num_blocks = sum(len(layer.masks) for layer in layers)
    with torch.no_grad(), progress_bar(total=num_blocks, desc="isometry", unit="matrix", progress=progress) as bar:
        found = repair(layers, starts, plan, bar.update)
    rows = []
    for layer, start, repaired in zip(layers, starts, found, strict=True):
        if not torch.equal(start, repaired.blocks):
            _check_finite(layer.name, repaired.blocks, plan.method)
            layer.write(repaired.blocks * gains[layer.name])
        rows.append(_row(layer, start, repaired, plan, gains[layer.name]))
    return Repair(model, tuple(rows))


def _check_size(name: str, largest: float, method: str) -> None:
    """Check that a layer has weights to start from, the largest of that size over the gain."""
    if largest == 0 and method != "polar-cg":
        raise ModelError(f"`model` must have a kept weight that is not 0 in every layer for {method!r}; those of"
                         f" {name!r} are all 0. Use the method 'polar-cg'.")
    if largest and not _LEAST <= largest <= _MOST:
        raise ArgumentError(f"`model` must have weights from {_LEAST:g} to {_MOST:g} times the gain; the largest of"
                            f" {name!r} is {largest:.3g} times it. Rescale the weights, or pass another gain.")


def _check_finite(name: str, blocks: torch.Tensor, method: str) -> None:
    if not bool(blocks.isfinite().all()):
        raise ArgumentError(f"`pruned` must have weights from which {method!r} stays finite; those of {name!r} became"
                            " NaN or infinite. Use a smaller rate, or the method 'polar-cg'.")


def _check_names(method: str, objective: str) -> None:
    if method not in METHODS:
        raise UnknownNameError("method", method, METHODS)
    known = dict.fromkeys(name for names in OBJECTIVES.values() for name in names)
    if objective not in known:
        raise UnknownNameError("objective", objective, known)
    allowed = OBJECTIVES.get(method, ("gram",))
    if objective not in allowed:
        cure = next(name for name, names in OBJECTIVES.items() if objective in names)
        raise ArgumentError(f"`objective` must be {' or '.join(map(repr, allowed))} for {method!r}; got {objective!r}."
                            f" Use the method {cure!r}.")


def _plan(method: str, objective: str, *, strength: float | None, tolerance: float | None, max_steps: int | None,
          rate: float | None) -> Plan:
    """Return the arguments checked, each also by whether the method or objective reads it."""
    given = {"strength": strength, "tolerance": tolerance, "max_steps": max_steps, "rate": rate}
    for name, value in given.items():
        if value is None:
            continue
        if name == "max_steps":
            _check_steps(value)
        else:
            check_number(name, value, "positive and finite", "Leave it out for the default.")
        readers = _READERS[name]
        if not {method, objective} & set(readers):
            raise ArgumentError(f"`{name}` must be left out but for {' and '.join(map(repr, readers))}; got {value} for"
                                f" {method!r}, {objective!r}, where it would do nothing.")
    return Plan(method, objective, 0.1 if strength is None else float(strength), tolerance,
                None if max_steps is None else int(max_steps), 0.1 if rate is None else float(rate))


def _check_steps(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise DtypeError(f"`max_steps` must be a whole number; got {value!r}. Leave it out for the default.")
    if value < 1:
        raise ArgumentError(f"`max_steps` must be at least 1; got {value}. Leave it out for the default.")


def _row(layer: RepairLayer, start: torch.Tensor, repaired: Repaired, plan: Plan, gain: float) -> dict[str, object]:
    """Return the row of a layer, measured on the weights as the new model holds them."""
    owned = layer.owners[0]
    written = layer.read() / gain
    before, after = Measures.of(start, layer.masks), Measures.of(written, layer.masks)
    kept = int(layer.masks.sum())
    residual = repaired.residual  # of the controls and the paper's descent, which aim at no other
    if residual is None:
        residual = math.sqrt(max(after.score**2 - layer.floor**2, 0.0))
    reasons = sorted(set(repaired.reasons), key=lambda reason: reason not in _MISSES)
    return {
        "layer": layer.name, "shape": "x".join(map(str, owned.tensor.shape)), "kept": kept,
        "density": kept / layer.masks.numel(), "method": plan.method, "objective": plan.objective, "gain": gain,
        "score_before": before.score, "score_after": after.score, "floor": layer.floor,
        "residual": residual,
        "zeros_before": before.zeros, "zeros": after.zeros,
        "small_before": before.small_share, "small_after": after.small_share,
        "participation_before": before.participation, "participation_after": after.participation,
        "steps": repaired.steps, "seconds": repaired.seconds,
        "converged": not set(repaired.reasons) & set(_MISSES), "reason": reasons[0],
    }
