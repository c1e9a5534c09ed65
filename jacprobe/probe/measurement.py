"""The long work: survey the segments on a few samples, then run all inputs through them, chunk by chunk."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from tqdm import tqdm

from jacprobe.errors import BudgetError, ModelError, NonFiniteError
from jacprobe.linop import LinearOperator, Product
from jacprobe.probe import segments as parts
from jacprobe.probe.affine import AffineFactors
from jacprobe.probe.choice import Choice, Request, choose
from jacprobe.probe.factors import Factorizer
from jacprobe.probe.methods import Parts
from jacprobe.probe.operators import GraphJacobian
from jacprobe.probe.rounding import Rounding, rounding_of
from jacprobe.probe.segments import Segment
from jacprobe.probe.session import Session
from jacprobe.probe.signals import Signals
from jacprobe.probe.survey import NUM_SAMPLES, Survey, stack_samples, survey, unfit
from jacprobe.probe.trace import Trace
from jacprobe.progress import progress_bar
from jacprobe.results import Spectrum

_BATCH = 64  # rows that one backward pass should give where inputs are few
_CHUNK = 2**26  # bytes of activations of one forward pass: large enough for speed, small enough for a progress bar
_MOST = 4096  # inputs of one forward pass
_SHARE = 0.25  # of the memory budget: for matrices that are kept for all inputs, and for activations
_CHECKED = 256  # most inputs on which rounding errors are measured
_SMALL, _LARGE = 2**16, 2**20  # bytes of activations of one input: up to, and above which many and few are checked
_OVERHEAD = 0.05  # share of the work that may go into measuring rounding errors
_NOT_FOR_ALL = "its factors do not hold for all inputs, so that autograd was used"
_CHECK_COST = 20  # of one input: forward and two backward passes, in working precision and in float64, which is slow


@dataclass
class _Work:
    """One segment: what is known of it before and, chunk by chunk, found."""

    survey: Survey
    choice: Choice
    rounding: Rounding | None = None
    chunks: list[Parts] = field(default_factory=list)
    error: float = 0.0
    seconds: float = 0.0
    operator: Product | None = None  # the last one, where it is the same for every input
    signals: Signals | None = None
    fails: bool = False  # whether the factors on which the choice relies are missing for some inputs

    @property
    def segment(self) -> Segment:
        return self.survey.segment

    @property
    def reason(self) -> str | None:
        return self.survey.reason or self.choice.reason

    def check_shape(self, operator: LinearOperator) -> None:
        """Raise ModelError where the Jacobian is no longer of the shape that it had when it was surveyed."""
        now, before = tuple(operator.shape[1:]), (self.survey.out_dim, self.survey.in_dim)
        if now != before:
            raise ModelError(f"`model` must keep the shapes of its layers; segment {self.segment.name!r} is"
                             f" {now[0]}x{now[1]} and was {before[0]}x{before[1]}. Probe it anew.")


class Measurement:
    """Spectra of the segments of one session, as asked for by `request`."""

    def __init__(self, session: Session, request: Request):
        self._session, self._request = session, request
        self._works: list[_Work] = []
        self._unprobed: list[Segment] = []
        self._affine = AffineFactors(session.state, _SHARE * request.memory)

    def survey(self, kinds: Iterable[Callable[[Trace], list[Segment]]], pairs: Iterable[tuple[str, str]]) -> None:
        """List the segments of these kinds and pairs of sites, and choose a method for each by a few samples."""
        traced, fewer = self._session.survey_traces()
        traced.keep_cuts(lambda site: unfit(site, fewer) is None)
        wanted = [segment for segments_of in kinds for segment in segments_of(traced)]
        wanted += [parts.pair(traced, source, target) for source, target in pairs]
        self._unprobed = parts.unprobed(traced)
        factorizer = Factorizer(traced, NUM_SAMPLES, self._affine)
        for segment in wanted:
            seen = survey(segment, traced, fewer, factorizer)
            choice = Choice(None) if seen.reason else self._chosen(seen)
            self._works.append(_Work(dataclasses.replace(seen, product=None, generic=None), choice))
        self._bytes_per_sample = traced.bytes_per_sample()
        activations = _SHARE * self._request.memory / self._bytes_per_sample
        self._batch = _fitting(_BATCH, activations)
        self._chunk = _fitting(min(_MOST, max(_BATCH, _CHUNK / self._bytes_per_sample)), activations)

    def _chosen(self, seen: Survey) -> Choice:
        kept = sum(work.choice.bytes_kept for work in self._works)
        return choose(seen, dataclasses.replace(self._request, memory=self._request.memory - kept))

    def restart(self) -> None:
        """Forget what was found, but not which segments there are nor how each is solved: the weights have changed."""
        self._affine = AffineFactors(self._session.state, _SHARE * self._request.memory)
        self._works = [_Work(work.survey, work.choice) for work in self._works]

    def run(self, progress: bool | None) -> list[Spectrum]:
        """Solve all segments on all inputs; a chunk that does not fit the device is halved.

        A segment whose factors are missing for some inputs starts again without factors.

        Raises
        ------
        BudgetError
            One input at a time does not fit.
        NonFiniteError
            A Jacobian is not finite.
        """
        todo = [work for work in self._works if work.reason is None]
        with progress_bar(total=0, desc="spectra", unit="spectrum", progress=progress) as bar:
            while todo:
                bar.total = bar.n + len(self._session.inputs) * len(todo)
                self._run_all(todo, bar)
                todo = self._without_factors([work for work in todo if work.fails])
        return [self._spectrum(work) for work in self._works] + [self._reasoned(s, s.reason) for s in self._unprobed]

    def _run_all(self, todo: list[_Work], bar: tqdm) -> None:
        """Run all inputs, those works alone that did not fail so far."""
        inputs, start, signals = self._session.inputs, 0, Signals()
        size = _fitting(self._chunk, self._request.memory / max(1.0, *(work.choice.bytes_per_input for work in todo)))
        self._measure_rounding(todo, signals)
        while start < len(inputs) and (todo := [work for work in todo if not work.fails]):
            done = bar.n
            if self._fits(todo, inputs[start : start + size], start, bar):
                start += size
                continue
            if size == 1 and self._batch == 1:
                raise BudgetError("`memory` must suffice for one input; the device ran out."
                                  " Probe fewer segments or use a larger device.")
            size, self._batch = max(1, size // 2), max(1, self._batch // 2)
            torch.cuda.empty_cache()
            bar.update(done - bar.n)  # back to the last whole chunk

    def _without_factors(self, works: list[_Work]) -> list[_Work]:
        """Return those of `works`, to be run from the start, for which there is a method that needs no factors."""
        if not works:
            return []
        traced = self._session.trace(stack_samples(self._session.inputs))
        for work in works:
            generic = GraphJacobian(*self._sites(work, traced), NUM_SAMPLES)
            seen = dataclasses.replace(work.survey, generic=generic, shared=False)
            work.choice = Choice(None)
            choice = self._chosen(seen)
            work.choice = choice._replace(note="; ".join(filter(None, [_NOT_FOR_ALL, choice.note])))
            work.chunks, work.error, work.operator, work.fails = [], 0.0, None, False
        return [work for work in works if work.reason is None]

    def _measure_rounding(self, todo: list[_Work], signals: Signals) -> None:
        """Compare the Jacobians of some inputs, evenly spread, with those of the model in float64."""
        inputs = self._session.some(self._num_checked(todo))
        traced, other = self._session.trace(inputs), self._session.trace_other(inputs)
        signals.pull(traced, _ends(todo))
        factorizer = Factorizer(traced, len(inputs), self._affine)
        for work in todo:
            begin = time.perf_counter()
            work.signals = signals
            generic = GraphJacobian(*self._sites(work, traced), len(inputs))
            work.check_shape(generic)
            operator = self._operator(work, generic, factorizer)
            if operator is not None:
                work.rounding = rounding_of(operator, generic, traced, other)
            work.seconds += time.perf_counter() - begin

    @staticmethod
    def _operator(work: _Work, generic: GraphJacobian, factorizer: Factorizer) -> LinearOperator | None:
        """Return what the method of `work` is to solve; None, and the work fails, where its factors are missing."""
        if not work.choice.structured:
            return generic
        product = factorizer.product(generic.source, generic.target)
        work.fails = product is None or not work.choice.method.takes(product)
        return None if work.fails else product

    def _num_checked(self, todo: list[_Work]) -> int:
        """All inputs of a small run; otherwise so many that they cost a small share of the whole."""
        products = max(1 if work.choice.structured else work.choice.products for work in todo)
        num_inputs = len(self._session.inputs)
        fair = _OVERHEAD * num_inputs * (1 + products) / _CHECK_COST
        least = 64 if self._bytes_per_sample <= _SMALL else 4 if self._bytes_per_sample <= _LARGE else 2
        return min(num_inputs, _CHECKED, max(least, int(fair)))

    def _sites(self, work: _Work, traced: Trace):
        return traced.site(work.segment.source), traced.site(work.segment.target)

    def _fits(self, todo: list[_Work], inputs: Tensor, start: int, bar: tqdm) -> bool:
        """Run one chunk; False where the device ran out of memory, all of the chunk released by then."""
        try:
            self._run_chunk(todo, inputs, start, bar)
        except torch.OutOfMemoryError:
            return False
        return True

    def _run_chunk(self, todo: list[_Work], inputs: Tensor, start: int, bar: tqdm) -> None:
        products = max((work.choice.products for work in todo if not work.choice.structured), default=1)
        copies = max(1, min(products, self._batch // len(inputs)))
        signals = todo[0].signals
        signals.watch(_ends(todo), len(inputs))
        traced = self._session.trace(inputs, copies=copies, observe=signals.observe)
        factorizer = Factorizer(traced, len(inputs), self._affine)
        found = []
        for work in todo:
            bar.set_postfix_str(work.segment.name)
            begin = time.perf_counter()
            generic = GraphJacobian(*self._sites(work, traced), len(inputs))
            operator = self._operator(work, generic, factorizer)
            if operator is not None:
                found.append((work, self._solve(work, operator, len(inputs), start), operator))
            work.seconds += time.perf_counter() - begin
            bar.update(len(inputs))
        for work, chunk, operator in found:  # only whole chunks count
            work.chunks.append(chunk)
            work.operator = operator if isinstance(operator, Product) and operator.shape[0] == 1 else None
            work.error = max(work.error, work.choice.method.error(operator, chunk))
        signals.keep()

    def _solve(self, work: _Work, operator: LinearOperator, num_inputs: int, start: int) -> Parts:
        if work.operator is not None and work.operator.equals(operator):  # the same for every input so far
            return {key: part[:1].expand(num_inputs, *part.shape[1:]) for key, part in work.chunks[-1].items()}
        try:
            return work.choice.method.solve(operator, num_inputs, start)
        except NonFiniteError as error:
            raise NonFiniteError(
                f"`model` must have finite Jacobians; segment {work.segment.name!r} has not, among inputs {start} to"
                f" {start + num_inputs - 1}. Check the scale of the weights.") from error

    def _spectrum(self, work: _Work) -> Spectrum:
        segment, seen, method = work.segment, work.survey, work.choice.method
        if work.reason is not None:
            return self._reasoned(segment, work.reason, seen.out_dim, seen.in_dim)
        together = {key: torch.cat([chunk[key] for chunk in work.chunks]) for key in work.chunks[0]}
        name = f"{'factors' if work.choice.structured else 'autograd'} + {method.name}"
        return Spectrum(
            segment.name, segment.kind, segment.source, segment.target, seen.out_dim, seen.in_dim,
            len(self._session.inputs), method=name, label=method.label, seconds=work.seconds, modules=segment.modules,
            floor=work.rounding.floor(method.norm(together)) + work.error, note=work.choice.note,
            **method.fields(together), **work.signals.fields(segment),
        )

    def _reasoned(self, segment: Segment, reason: str, *shape: int | None) -> Spectrum:
        out_dim, in_dim = shape or (None, None)
        return Spectrum(segment.name, segment.kind, segment.source, segment.target, out_dim, in_dim,
                        len(self._session.inputs), modules=segment.modules, reason=reason)


def _ends(works: list[_Work]) -> set[str]:
    return {site for work in works for site in (work.segment.source, work.segment.target)}


def _fitting(limit: float, quotient: float) -> int:
    """Return the whole part of `quotient`, at least 1 and at most `limit`."""
    return max(1, int(min(limit, quotient)))
