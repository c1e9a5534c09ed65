"""The long work: plan the segments on a few samples, then run all inputs through them, chunk by chunk."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from tqdm import tqdm

from jacprobe.errors import BudgetError, NonFiniteError
from jacprobe.linop import Product
from jacprobe.probe import segments as parts
from jacprobe.probe.budget import bytes_per_input, refusal
from jacprobe.probe.factors import AffineMatrices, Factorizer
from jacprobe.probe.operators import GraphJacobian
from jacprobe.probe.rounding import floor_of
from jacprobe.probe.segments import Segment
from jacprobe.probe.session import Session
from jacprobe.probe.solve import singular_values
from jacprobe.probe.survey import NUM_SAMPLES, Plan, plan, unfit
from jacprobe.probe.trace import Trace
from jacprobe.results import Spectrum

_CHUNK = 256  # inputs per forward pass: large enough for speed, small enough for a progress bar
_BATCH = 64  # rows that one backward pass should give where inputs are few
_SHARE = 0.25  # of the memory budget: for matrices that are kept for all inputs, and for activations


@dataclass
class _Found:
    """What is known of one segment so far: a part per chunk of inputs."""

    values: list[Tensor] = field(default_factory=list)
    zeros: list[Tensor] = field(default_factory=list)
    floor: float = 0.0
    seconds: float = 0.0
    methods: set[str] = field(default_factory=set)
    operator: Product | None = None  # the last one, where it is the same for every input


class Measurement:
    """Spectra of the segments of one session, within a budget of `memory` (bytes) and `work` (operations)."""

    def __init__(self, session: Session, *, memory: float, work: float, dtype: torch.dtype):
        self._session, self._memory, self._work, self._dtype = session, memory, work, dtype
        self._plans: list[Plan] = []
        self._unprobed: list[Segment] = []
        self._found: dict[Segment, _Found] = {}
        self._batch, self._chunk = _BATCH, _CHUNK
        self._matrix_of = AffineMatrices(session.state, _SHARE * memory)

    def survey(self, kinds: Iterable[Callable[[Trace], list[Segment]]], pairs: Iterable[tuple[str, str]]) -> None:
        """List the segments of these kinds and pairs of sites, and plan each on a few samples."""
        traced, fewer = self._session.survey_traces()
        traced.keep_cuts(lambda site: unfit(site, fewer) is None)
        wanted = [segment for segments_of in kinds for segment in segments_of(traced)]
        wanted += [parts.pair(traced, source, target) for source, target in pairs]
        self._unprobed = parts.unprobed(traced)
        factorizer = Factorizer(traced, NUM_SAMPLES, self._matrix_of)
        self._plans = [plan(segment, traced, fewer, factorizer, self._refusal) for segment in wanted]
        activations = _SHARE * self._memory / traced.bytes_per_sample()
        self._batch = _fitting(_BATCH, activations)
        self._chunk = _fitting(_CHUNK, activations)

    def _refusal(self, rows: int, columns: int, *, shared: bool) -> str | None:
        num_inputs = 1 if shared else len(self._session.inputs)
        return refusal(rows, columns, num_inputs, memory=self._memory, work=self._work)

    def run(self, progress: bool | None) -> list[Spectrum]:
        """Solve all segments on all inputs; a chunk that does not fit the device is halved.

        Raises
        ------
        BudgetError
            One input at a time does not fit.
        NonFiniteError
            A Jacobian is not finite.
        """
        todo = [plan_ for plan_ in self._plans if plan_.reason is None]
        need = max((bytes_per_input(*plan_.solved) for plan_ in todo), default=1.0)
        inputs, start, size = self._session.inputs, 0, _fitting(self._chunk, self._memory / need)
        bar = tqdm(total=len(inputs) * len(todo), desc="spectra", unit="spectrum",
                   disable=None if progress is None else not progress)
        with bar:
            while todo and start < len(inputs):
                fitted = self._fits(todo, inputs[start : start + size], start, bar)
                if fitted:
                    start += size
                    continue
                if size == 1 and self._batch == 1:
                    raise BudgetError("`memory` must suffice for one input; the device ran out."
                                      " Probe fewer segments or use a larger device.")
                size, self._batch = max(1, size // 2), max(1, self._batch // 2)
                torch.cuda.empty_cache()
                bar.update(start * len(todo) - bar.n)  # back to the last whole chunk
        return [self._spectrum(plan_) for plan_ in self._plans] + [self._reasoned(s, s.reason) for s in self._unprobed]

    def _fits(self, todo: list[Plan], inputs: Tensor, start: int, bar: tqdm) -> bool:
        """Run one chunk; False where the device ran out of memory, all of the chunk released by then."""
        try:
            self._run_chunk(todo, inputs, start, bar)
        except torch.OutOfMemoryError:
            return False
        return True

    def _run_chunk(self, todo: list[Plan], inputs: Tensor, start: int, bar: tqdm) -> None:
        rows = max((min(plan_.out_dim, plan_.in_dim) for plan_ in todo if plan_.method != "factors"), default=1)
        traced = self._session.trace(inputs, copies=max(1, min(rows, self._batch // len(inputs))))
        other = self._session.trace_other(inputs)
        factorizer = Factorizer(traced, len(inputs), self._matrix_of)
        chunk = {}
        for plan_ in todo:
            bar.set_postfix_str(plan_.segment.name)
            chunk[plan_.segment] = self._solve(plan_, traced, other, factorizer, start)
            bar.update(len(inputs))
        for segment, part in chunk.items():  # only whole chunks count
            found = self._found.setdefault(segment, _Found())
            found.values += part.values
            found.zeros += part.zeros
            found.floor = max(found.floor, part.floor)
            found.seconds += part.seconds
            found.methods |= part.methods
            found.operator = part.operator

    def _solve(self, plan_: Plan, traced: Trace, other: Trace | None, factorizer: Factorizer, start: int) -> _Found:
        begin = time.perf_counter()
        segment, num_inputs = plan_.segment, factorizer.num_inputs
        generic = GraphJacobian(traced.site(segment.source), traced.site(segment.target), num_inputs)
        operator, method = generic, plan_.method
        if plan_.method == "factors":
            operator, method = factorizer.operator(generic.source, generic.target)
        before = self._found.get(segment, _Found())
        if before.operator is not None and before.operator.equals(operator):  # the same for every input so far
            values, zeros = before.values[-1][:1].expand(num_inputs, -1), before.zeros[-1][:1].expand(num_inputs)
        else:
            try:
                values, zeros = singular_values(operator, num_inputs, dtype=self._dtype)
            except NonFiniteError as error:
                raise NonFiniteError(
                    f"`model` must have finite Jacobians; segment {segment.name!r} has not, among inputs {start} to"
                    f" {start + num_inputs - 1}. Check the scale of the weights.") from error
        floor = floor_of(values, operator, generic, traced, other, self._dtype)
        shared = operator if isinstance(operator, Product) and operator.shape[0] == 1 else None
        return _Found([values], [zeros], floor, time.perf_counter() - begin, {method}, shared)

    def _spectrum(self, plan_: Plan) -> Spectrum:
        segment = plan_.segment
        if plan_.reason is not None:
            return self._reasoned(segment, plan_.reason, plan_.out_dim, plan_.in_dim)
        found = self._found[segment]
        method = f"{' and '.join(sorted(found.methods))} + svd {str(self._dtype).removeprefix('torch.')}"
        return Spectrum(segment.name, segment.kind, segment.source, segment.target, plan_.out_dim, plan_.in_dim,
                        len(self._session.inputs), torch.cat(found.values), torch.cat(found.zeros), method, "exact",
                        found.floor, found.seconds, segment.modules)

    def _reasoned(self, segment: Segment, reason: str, *shape: int | None) -> Spectrum:
        out_dim, in_dim = shape or (None, None)
        return Spectrum(segment.name, segment.kind, segment.source, segment.target, out_dim, in_dim,
                        len(self._session.inputs), modules=segment.modules, reason=reason)


def _fitting(limit: int, quotient: float) -> int:
    """Return the whole part of `quotient`, at least 1 and at most `limit`."""
    return max(1, int(min(limit, quotient)))
