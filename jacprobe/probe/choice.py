"""Which method a segment gets: what was asked for, or the best that fits memory and work."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import NamedTuple

from jacprobe.linop import Convolution
from jacprobe.probe.methods import (
    Brackets,
    Exact,
    Fourier,
    LargestValues,
    Method,
    Relative,
    SpectralDensity,
    TwoMoments,
)
from jacprobe.probe.survey import Survey
from jacprobe.solvers.brackets import bounds_operations
from jacprobe.solvers.density import bytes_per_chain
from jacprobe.solvers.exact import Cost, exact_cost
from jacprobe.solvers.explicit import is_explicit, matrix_bytes
from jacprobe.solvers.fourier import why_not_circular
from jacprobe.solvers.moments import bytes_per_probe
from jacprobe.solvers.relative import relative_cost
from jacprobe.solvers.single import channel_scaled, single
from jacprobe.solvers.steps import LARGEST, explicit_bytes

METHODS = ("auto", "exact", "svd", "gram", "fourier", "bounds", "density", "largest", "moments")
_ENOUGH = 2**14  # probes times values of one input: the sampling error of a density falls with their square root
_SHARE = 0.5  # of the memory, for bases
_FEW_PROBES = 10  # of the moments
_SMALL = 64  # side of a matrix that is solved at once, whatever its structure


@dataclass(frozen=True)
class Request:
    """What was asked for.

    Attributes
    ----------
    method
        One of ``METHODS``.
    relative
        Whether small singular values are wanted to full relative accuracy.
    gram
        Whether squares may be formed where the method does not say.
    num_values, num_probes, num_steps, seed
        Of the matrix-free methods; `num_probes` None for as many as the size of the segment asks for.
    memory, work
        Bytes, and floating-point operations of one segment.
    num_inputs
        How many inputs there are.
    """

    method: str
    relative: bool
    gram: bool
    num_values: int
    num_probes: int | None
    num_steps: int
    seed: int
    memory: float
    work: float
    num_inputs: int


class Choice(NamedTuple):
    """A method or the reason why there is none.

    structured
        Whether it works on the product of factors rather than on the autograd graph.
    products
        Products with the Jacobian's rows or columns that are wanted at a time.
    bytes_per_input, bytes_kept
        Memory of one input while it is solved, and of the matrices that are kept for all inputs.
    note
        Why this method, where it is not the plain one.
    """

    method: Method | None
    structured: bool = False
    products: int = 1
    bytes_per_input: float = 0.0
    bytes_kept: float = 0.0
    note: str = ""
    reason: str | None = None


def choose(survey: Survey, request: Request) -> Choice:
    """Return how to solve a segment that has a Jacobian per input."""
    if request.relative:
        return _relative(survey, request)
    asked = request.method
    if asked in ("auto", "exact", "svd", "gram"):
        found = _circular(survey, request) if asked in ("auto", "exact") else None
        found = found or _exact(survey, request)
        if found.method is not None or asked != "auto":
            return found
        return _instead(survey, request, found.reason)
    return {"fourier": _fourier, "bounds": _bounds, "density": _density, "largest": _largest,
            "moments": _moments}[asked](survey, request)


def _exact(survey: Survey, request: Request) -> Choice:
    """The cheaper of the chain of factors and the matrix by autograd, where it fits."""
    gram = request.method == "gram" or (request.gram and request.method != "svd")
    rank = min(survey.out_dim, survey.in_dim)
    candidates: list[tuple[Cost, bool, int]] = []  # cost, whether by factors, number of matrices
    chain = survey.product
    if chain is not None and is_explicit(chain):
        cost = exact_cost(chain, gram=gram)
        candidates.append((cost._replace(bytes=cost.bytes + matrix_bytes(chain)), True,
                           1 if survey.shared else request.num_inputs))
    generic = survey.generic
    cost = exact_cost(generic, gram=gram)
    candidates.append((cost._replace(operations=cost.operations + rank * survey.operations), False,
                       request.num_inputs))

    def total(candidate: tuple[Cost, bool, int]) -> float:
        return candidate[0].total(candidate[2])

    fitting = [c for c in candidates if _reason(survey, request, c) is None]
    if not fitting:
        return Choice(None, reason=_reason(survey, request, min(candidates, key=total)))
    cost, structured, _ = min(fitting, key=total)
    kept = matrix_bytes(chain) if structured else 0.0
    return Choice(Exact(gram=gram), structured, 1 if structured else rank, cost.bytes, kept, _disagreement(survey))


def _reason(survey: Survey, request: Request, candidate: tuple[Cost, bool, int], how: str = "") -> str | None:
    """Return why an exact spectrum is out of reach, with the numbers and the cure, or None."""
    cost, _, num_inputs = candidate
    size = f"{survey.out_dim} x {survey.in_dim}{how}"
    if cost.bytes > request.memory:
        return (f"an exact spectrum of {size} needs {cost.bytes / 2**30:.3g} GiB per input,"
                f" more than the budget of {request.memory / 2**30:.3g} GiB")
    if cost.total(num_inputs) > request.work:
        fitting = max(0, math.floor((request.work - cost.once) / cost.operations))
        cure = f"; {fitting} input{'s' if fitting > 1 else ''} would fit" if fitting else ""
        what = "an exact spectrum" if num_inputs == 1 else f"exact spectra of {num_inputs} matrices"
        verb = "needs" if num_inputs == 1 else "need"
        return (f"{what} of {size} {verb} {cost.total(num_inputs):.1e} operations, more than the limit of"
                f" {request.work:.1e}{cure}")
    return None


def _disagreement(survey: Survey) -> str:
    return "its factors disagree with the model, so that autograd was used" if survey.disagrees else ""


def _circular(survey: Survey, request: Request) -> Choice | None:
    found = channel_scaled(survey.product) if survey.shared else None
    if found is None or why_not_circular(found[0]) or max(survey.out_dim, survey.in_dim) <= _SMALL:
        return None
    return Choice(Fourier(), structured=True)


def _fourier(survey: Survey, request: Request) -> Choice:
    found = channel_scaled(survey.product)
    if found is None:
        return Choice(None, reason="method 'fourier' needs one convolution that is the same for all inputs, at most"
                                   " scaled by channel; this segment is none")
    reason = why_not_circular(found[0])
    if reason:
        return Choice(None, reason=f"method 'fourier' does not solve a convolution {reason}")
    return Choice(Fourier(), structured=True)


def _bounds(survey: Survey, request: Request) -> Choice:
    found = single(survey.product)
    if found is None or not isinstance(found.factor, Convolution):
        return Choice(None, reason="method 'bounds' needs one convolution, at most followed by activations;"
                                   " this segment is none")
    operations = bounds_operations(found.factor)
    if operations > request.work:
        reason = f"bounds need {operations:.1e} operations, more than the limit of {request.work:.1e}"
        return Choice(None, reason=reason)
    return Choice(Brackets(seed=request.seed, memory=_SHARE * request.memory), structured=True)


def _instead(survey: Survey, request: Request, reason: str) -> Choice:
    """What an exact spectrum gives way to: rigorous bounds of a shared convolution, a density, moments."""
    tried = [_bounds, _density, _moments] if survey.shared else [_density, _moments]
    for attempt in tried:
        found = attempt(survey, request)
        if found.method is not None:
            return found._replace(note=reason)
        last = found.reason
    return Choice(None, reason=f"{reason}; {last}")


def _density(survey: Survey, request: Request) -> Choice:
    rank = min(survey.out_dim, survey.in_dim)
    num_probes = request.num_probes or min(16, max(2, math.ceil(_ENOUGH / rank)))
    num_steps = min(request.num_steps, rank)
    needed = bytes_per_chain(survey.out_dim, survey.in_dim, num_steps, survey.itemsize)
    reason = _too_much("a density", survey, request, 2 * num_probes * num_steps, needed)
    if reason:
        return Choice(None, reason=reason)
    method = SpectralDensity(num_probes=num_probes, num_steps=num_steps, seed=request.seed,
                             memory=_SHARE * request.memory)
    return Choice(method, survey.product is not None, num_probes)


def _largest(survey: Survey, request: Request) -> Choice:
    rank = min(survey.out_dim, survey.in_dim)
    num_values = min(request.num_values, rank)
    needed = 1.0 * survey.itemsize * 4 * (num_values + 4) * (survey.out_dim + survey.in_dim)
    reason = _too_much("the largest values", survey, request, 10 * num_values, needed)
    if reason:
        return Choice(None, reason=reason)
    method = LargestValues(num_values=num_values, num_inputs=request.num_inputs, seed=request.seed,
                           memory=_SHARE * request.memory, tolerance=1e-4 if survey.itemsize == 4 else 1e-8)
    return Choice(method, survey.product is not None, num_values)


def _moments(survey: Survey, request: Request) -> Choice:
    num_probes = request.num_probes or _FEW_PROBES
    needed = bytes_per_probe(survey.out_dim, survey.in_dim, survey.itemsize)
    reason = _too_much("two moments", survey, request, 2 * num_probes, needed)
    if reason:
        return Choice(None, reason=reason)
    method = TwoMoments(num_probes=num_probes, seed=request.seed, memory=_SHARE * request.memory)
    return Choice(method, survey.product is not None, num_probes, needed / _SHARE)


def _too_much(what: str, survey: Survey, request: Request, num_products: int, num_bytes: float) -> str | None:
    """Return why a matrix-free method is out of reach, or None."""
    if not survey.multiplies:
        return f"{what} needs products with the Jacobian, and an operation of the segment has no second derivative"
    if num_bytes > _SHARE * request.memory:
        return (f"{what} needs {num_bytes / 2**30:.3g} GiB, more than {_SHARE:.0%} of the budget of"
                f" {request.memory / 2**30:.3g} GiB")
    num_inputs = 1 if survey.shared else request.num_inputs
    operations = num_inputs * num_products * survey.operations
    if operations > request.work:
        return f"{what} needs {operations:.1e} operations, more than the limit of {request.work:.1e}"
    return None


def _relative(survey: Survey, request: Request) -> Choice:
    if survey.product is None or not is_explicit(survey.product):
        return Choice(None, reason="accuracy 'relative' needs a chain of weighted modules and activations; this segment"
                                   " is none")
    cost, kept = relative_cost(survey.product), explicit_bytes(survey.product)
    limited = dataclasses.replace(request, memory=min(request.memory, LARGEST))
    candidate = cost._replace(bytes=cost.bytes + kept), True, 1 if survey.shared else request.num_inputs
    reason = _reason(survey, limited, candidate, " to relative accuracy")
    if reason:
        return Choice(None, reason=reason)
    return Choice(Relative(), True, bytes_per_input=cost.bytes, bytes_kept=kept)
