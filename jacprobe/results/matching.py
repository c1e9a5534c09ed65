"""Whether sets of spectra can be compared: checked values, one band, shared names."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from numbers import Real

import torch

from jacprobe.errors import ArgumentError, DtypeError, NonFiniteError
from jacprobe.results.spectrum import Spectrum
from jacprobe.results.spectrum_set import SpectrumSet

_LISTED = 20  # names in a message


def check_matching(results: object) -> None:
    """Check that `results` are at least two sets by name that share layers with the first."""
    if not isinstance(results, Mapping) or not all(isinstance(name, str) and name for name in results):
        got = "a name that is empty or no text" if isinstance(results, Mapping) else type(results).__name__
        raise DtypeError(f"`results` must map names to SpectrumSets; got {got}. Pass {{'dense': ..., 'pruned': ...}}.")
    for name, result in results.items():
        _check_set(name, result)
    if len(results) < 2:
        raise ArgumentError(f"`results` must hold at least two sets; got {len(results)}. Add one to compare with.")
    first, *others = results.items()
    for other in others:
        _check_shared(first, other)


def common_epsilon(epsilon: float | None, results: Mapping[str, SpectrumSet]) -> float:
    """Return `epsilon`, or that which all sets have, checked."""
    if epsilon is None:
        found = {result.epsilon for result in results.values()}
        if len(found) > 1:
            texts = ", ".join(f"{value:g}" for value in sorted(found))
            raise ArgumentError(f"`epsilon` must be one for all sets; they have {texts}. Pass `epsilon`.")
        return found.pop()
    if isinstance(epsilon, bool) or not isinstance(epsilon, Real) or not 0 < epsilon < math.inf:
        raise ArgumentError(f"`epsilon` must be a positive number; got {epsilon!r}. It is the half-width of the band"
                            " around 1.")
    return float(epsilon)


def _check_set(name: str, result: object) -> None:
    if not isinstance(result, SpectrumSet):
        raise DtypeError(f"`results` must hold SpectrumSets; got {type(result).__name__} for {name!r}. Probe a model"
                         " first.")
    if not len(result):
        raise ArgumentError(f"`results` must hold spectra; got an empty set for {name!r}. Probe its layers.")
    for spectrum in result:
        if not _is_finite(spectrum):
            raise NonFiniteError(f"`results` must hold finite values; got NaN or infinite ones in {spectrum.segment!r}"
                                 f" of {name!r}. Probe the model again.")


def _is_finite(spectrum: Spectrum) -> bool:
    parts = [spectrum.values, *(spectrum.bounds or ())]
    if spectrum.density is not None:
        parts += [spectrum.density.nodes, spectrum.density.weights]
    if spectrum.moments is not None:
        parts += [spectrum.moments.mean_square]
    return all(bool(torch.isfinite(part).all()) for part in parts if part is not None)


def _check_shared(first: tuple[str, SpectrumSet], other: tuple[str, SpectrumSet]) -> None:
    """Check that something can be compared: a segment besides end to end, unless one of them has nothing else."""
    keys = [{(s.kind, s.segment) for s in result if s.kind != "end_to_end"} for _, result in (first, other)]
    if not all(keys):
        keys = [{(s.kind, s.segment) for s in result} for _, result in (first, other)]
    if keys[0].isdisjoint(keys[1]):
        texts = " and ".join(f"{name!r} with {_listed(s.segment for s in result)}" for name, result in (first, other))
        raise ArgumentError(f"`results` must have layers of the same name; got {texts}. Compare models of one"
                            " architecture.")


def _listed(names: Iterable[str]) -> str:
    names = list(dict.fromkeys(names))
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
