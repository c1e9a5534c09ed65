"""From a model and inputs to spectra."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from jacprobe.errors import ArgumentError, BudgetError, ModelError, NonFiniteError, UnknownNameError
from jacprobe.linop import LinearOperator, Product
from jacprobe.masks import Masks
from jacprobe.probe import segments as parts
from jacprobe.probe.budget import bytes_per_input, memory_budget, refusal
from jacprobe.probe.checks import check_epsilon, check_pairs
from jacprobe.probe.factors import AffineMatrices, Factorizer
from jacprobe.probe.operators import GraphJacobian
from jacprobe.probe.precision import solver_dtype
from jacprobe.probe.segments import Segment
from jacprobe.probe.session import Session
from jacprobe.probe.solve import singular_values
from jacprobe.probe.survey import NUM_SAMPLES, Plan, mixes, plan, unfit
from jacprobe.probe.trace import OutputChoice, Trace
from jacprobe.provenance import environment
from jacprobe.results import Spectrum, SpectrumSet

_KINDS = {"layers": parts.layers, "modules": parts.modules, "end_to_end": parts.end_to_end,
          "cumulative": parts.cumulative}
_CHUNK = 256  # inputs per forward pass: large enough for speed, small enough for a progress bar
_BATCH = 64  # rows that one backward pass should give where inputs are few
_MATRIX_SHARE = 0.25  # of the memory budget, for matrices that are kept for all inputs


def spectra(
    model: nn.Module,
    inputs: Tensor | np.ndarray,
    *,
    kind: str | Sequence[str] = ("layers", "end_to_end"),
    segments: Iterable[tuple[str, str]] = (),
    output: OutputChoice | None = None,
    accuracy: str = "standard",
    epsilon: float = 0.1,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    memory: float | None = None,
    work: float = 1e13,
    progress: bool | None = None,
) -> SpectrumSet:
    """Compute the singular values of the Jacobians of a model's layers, modules or any of its segments.

    The model runs in evaluation mode and is left untouched.

    Parameters
    ----------
    model
        Any module of one floating tensor, batch dimension first, that treats samples one by one.
    inputs
        (num_inputs, ...) floating point.
    kind
        One or several of "layers", "modules", "end_to_end", "cumulative".
    segments
        Further pairs of sites: "input", "output", the qualified name of a module for its output, that name with
        ".input" for its input; "#2" behind the name for its second call. See ``jacprobe.sites``.
    output
        Picks the output tensor where the model returns several.
    accuracy
        "fast": float32 decompositions. "standard": the model in its own precision, decompositions in float64.
        "reference": all in float64.
    epsilon
        Half-width of the band around 1 that counts as isometric.
    device, dtype
        Where and in what the model runs; default its own (half precision runs in float32).
    memory
        Budget in bytes; default half of the free memory.
    work
        Limit on the floating-point operations of one segment's decompositions. A segment beyond `memory` or `work`
        gets a reason instead of a spectrum.
    progress
        Whether to show progress on stderr; default only on a terminal.

    Returns
    -------
    SpectrumSet
        In forward order; weighted modules that have no Jacobian appear with the reason.

    Raises
    ------
    DtypeError, ShapeError, NonFiniteError, ArgumentError, UnknownNameError
        An argument is wrong.
    ModelError
        The forward pass fails, mixes samples, is random, or does not depend on the input.
    BudgetError
        One input at a time does not fit the device.

    References
    ----------
    Lee et al. 2020 (arXiv 1906.06307), equations 4 and 7, section 4.

    Examples
    --------
    An orthogonal linear layer is an isometry:

    >>> layer = nn.init.orthogonal_(torch.empty(4, 4), generator=torch.Generator().manual_seed(0))
    >>> net = nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU())
    >>> net[0].weight.data = layer
    >>> result = spectra(net, torch.randn(8, 4, generator=torch.Generator().manual_seed(1)), kind="modules")
    >>> result["0"].values.sub(1).abs().max().item() < 1e-6
    True
    """
    epsilon = check_epsilon(epsilon)
    kinds = _check_kinds(kind)
    pairs = check_pairs(segments)
    if not work > 0:
        raise ArgumentError(f"`work` must be a positive number of operations; got {work}. Leave it out for 1e13.")
    session = Session(model, inputs, output=output, accuracy=accuracy, dtype=dtype, device=device)
    budget = memory_budget(memory, session.device)
    with session.opened():
        probe = _Probe(session, budget, work, solver_dtype(accuracy))
        probe.survey(kinds, pairs)
        probe.measure(progress)
    provenance = {
        **environment(),
        "device": str(session.device),
        "dtype": str(session.dtype).removeprefix("torch."),
        "accuracy": accuracy,
        "num_inputs": len(session.inputs),
        "input_shape": list(session.inputs.shape[1:]),
    }
    return SpectrumSet(tuple(probe.spectra()), epsilon, _facts(model), provenance)


def jacobian(
    model: nn.Module,
    inputs: Tensor | np.ndarray,
    *,
    source: str = "input",
    target: str = "output",
    output: OutputChoice | None = None,
    accuracy: str = "standard",
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
) -> LinearOperator:
    """Return the Jacobian between two sites as a linear operator, (num_inputs, out_dim, in_dim).

    ``op @ block`` and ``op.rmatmat(block)`` multiply, ``op.dense()`` forms it. The operator keeps the graph of one
    forward pass over all inputs. Parameters and errors are those of ``spectra``.

    Examples
    --------
    >>> jacobian(nn.Tanh(), torch.zeros(1, 2)).dense()
    tensor([[[1., 0.],
             [0., 1.]]])
    """
    session = Session(model, inputs, output=output, accuracy=accuracy, dtype=dtype, device=device)
    with session.opened():
        traced = session.trace(session.inputs)
        parts.pair(traced, source, target)
        begin, end, fewer = traced.site(source), traced.site(target), session.trace_fewer(len(session.inputs))
        operator = GraphJacobian(begin, end, len(session.inputs))
        reason = unfit(begin, fewer) or unfit(end, fewer) or ("samples mix" if mixes(operator) else None)
        if reason:
            raise ModelError(f"`model` must have one Jacobian per input from {source!r} to {target!r}; {reason}."
                             " Choose other sites.")
        return operator


def sites(model: nn.Module, inputs: Tensor | np.ndarray, *, output: OutputChoice | None = None) -> dict[str, tuple]:
    """Return the shape per sample of every named site between input and output, in forward order.

    Examples
    --------
    >>> sites(nn.Sequential(nn.Linear(3, 2), nn.Tanh()), torch.zeros(1, 3))
    {'input': (3,), '0': (2,), 'output': (2,)}
    """
    session = Session(model, inputs, output=output, accuracy="standard", dtype=None, device=None)
    with session.opened():
        traced = session.trace(session.inputs[:1])
        ordered = sorted(traced.sites.values(), key=lambda site: traced.graph.position(site.edge))
        plainest = map(traced.preferred, ordered)
        return {site.name: site.shape[1:] for site in plainest}


class _Probe:
    """Plans the segments, then runs chunk after chunk of the inputs through all of them."""

    def __init__(self, session: Session, memory: float, work: float, dtype: torch.dtype):
        self._session, self._memory, self._work, self._dtype = session, memory, work, dtype
        self._plans: list[Plan] = []
        self._unprobed: list[Segment] = []
        self._values: dict[Segment, list[tuple[Tensor, Tensor]]] = {}
        self._seconds: dict[Segment, float] = {}
        self._operators: dict[Segment, Product] = {}
        self._batch = _BATCH
        self._matrix_of = AffineMatrices(session.state, _MATRIX_SHARE * memory)

    def survey(self, kinds: Sequence[str], pairs: Iterable[tuple[str, str]]) -> None:
        traces = self._session.survey_traces()
        traced = traces[self._session.dtype]
        wanted = [] if "modules" not in kinds else parts.modules(traced, self._session.weighted)
        wanted = [segment for kind in kinds if kind != "modules" for segment in _KINDS[kind](traced)] + wanted
        wanted += [parts.pair(traced, source, target) for source, target in pairs]
        self._unprobed = parts.unprobed(traced, self._session.weighted)
        fewer = self._session.trace_fewer(NUM_SAMPLES)
        factorizer = Factorizer(traced, NUM_SAMPLES, self._matrix_of)
        self._plans = [self._limited(plan(segment, traced, fewer, factorizer, traces)) for segment in wanted]

    def _limited(self, found: Plan) -> Plan:
        """Add the reason where the exact spectrum does not fit the budget."""
        num_inputs = 1 if found.shared else len(self._session.inputs)
        reason = found.reason or refusal(*found.solved, num_inputs, memory=self._memory, work=self._work)
        return Plan(**{**vars(found), "reason": reason})

    def measure(self, progress: bool | None) -> None:
        """Solve all segments on all inputs; a chunk that does not fit the device is halved."""
        todo = [found for found in self._plans if found.reason is None]
        inputs, start, size = self._session.inputs, 0, self._chunk(todo)
        bar = tqdm(total=len(inputs) * len(todo), desc="spectra", unit="spectrum",
                   disable=None if progress is None else not progress)
        with bar:
            while todo and start < len(inputs):
                try:
                    self._measure_chunk(todo, inputs[start : start + size], start, bar)
                except torch.OutOfMemoryError as error:
                    if size == 1 and self._batch == 1:
                        raise BudgetError("`memory` must suffice for one input; the device ran out."
                                          " Probe fewer segments or use a larger device.") from error
                    size, self._batch = max(1, size // 2), max(1, self._batch // 2)
                    torch.cuda.empty_cache()
                    continue
                start += size

    def _chunk(self, todo: list[Plan]) -> int:
        need = max((bytes_per_input(*found.solved) for found in todo), default=1.0)
        return int(min(_CHUNK, len(self._session.inputs), max(1, self._memory / need)))

    def _measure_chunk(self, todo: list[Plan], inputs: Tensor, start: int, bar: tqdm) -> None:
        rows = max((min(found.out_dim, found.in_dim) for found in todo if not found.structured), default=1)
        copies = max(1, min(rows, self._batch // len(inputs)))
        traced = self._session.trace(inputs, copies)
        factorizer = Factorizer(traced, len(inputs), self._matrix_of)
        found = {plan_.segment: self._solve(plan_, traced, factorizer, len(inputs), start) for plan_ in todo}
        for segment, (values, zeros, seconds) in found.items():  # only whole chunks count
            self._values.setdefault(segment, []).append((values, zeros))
            self._seconds[segment] = self._seconds.get(segment, 0) + seconds
        bar.update(len(inputs) * len(todo))

    def _solve(self, plan_: Plan, traced: Trace, factorizer: Factorizer, num_inputs: int, start: int):
        begin = time.perf_counter()
        segment = plan_.segment
        source, target = traced.site(segment.source), traced.site(segment.target)
        generic = GraphJacobian(source, target, num_inputs)
        operator = factorizer.operator(source, target) if plan_.structured else generic
        if segment in self._operators and self._operators[segment].equals(operator):  # the same for every input so far
            values, zeros = (part[:1] for part in self._values[segment][-1])
            return values.expand(num_inputs, -1), zeros.expand(num_inputs), time.perf_counter() - begin
        self._operators.pop(segment, None)
        if isinstance(operator, Product) and operator.shape[0] == 1:
            self._operators[segment] = operator
        try:
            values, zeros = singular_values(operator, num_inputs, dtype=self._dtype)
        except NonFiniteError as error:
            raise NonFiniteError(f"`model` must have finite Jacobians; segment {segment.name!r} has not, among inputs"
                                 f" {start} to {start + num_inputs - 1}. Check the scale of the weights.") from error
        return values, zeros, time.perf_counter() - begin

    def spectra(self) -> list[Spectrum]:
        num_inputs = len(self._session.inputs)
        found = [self._spectrum(plan_) for plan_ in self._plans]
        return found + [Spectrum(s.name, s.kind, s.source, s.target, None, None, num_inputs, modules=s.modules,
                                 reason=s.reason) for s in self._unprobed]

    def _spectrum(self, plan_: Plan) -> Spectrum:
        segment = plan_.segment
        facts = (segment.name, segment.kind, segment.source, segment.target, plan_.out_dim or None,
                 plan_.in_dim or None, len(self._session.inputs))
        if plan_.reason is not None:
            return Spectrum(*facts, modules=segment.modules, reason=plan_.reason)
        values, zeros = (torch.cat(rows) for rows in zip(*self._values[segment], strict=True))
        method = "factors" if plan_.structured else "autograd"
        return Spectrum(*facts, values, zeros, f"{method} + svd {str(self._dtype).removeprefix('torch.')}", "exact",
                        self._floor(plan_, values), self._seconds[segment], segment.modules)

    def _floor(self, plan_: Plan, values: Tensor) -> float:
        """Rounding of the Jacobian (Frobenius norm) plus that of the decomposition (largest value)."""
        solver = torch.finfo(self._dtype).eps * 4 * max(plan_.out_dim, plan_.in_dim) ** 0.5
        return float(max(plan_.rounding * values.norm(dim=1).max(), plan_.error) + solver * values.max())


def _check_kinds(kind: str | Sequence[str]) -> list[str]:
    kinds = [kind] if isinstance(kind, str) else list(kind)
    for name in kinds:
        if name not in _KINDS:
            raise UnknownNameError("kind", name, _KINDS)
    return list(dict.fromkeys(kinds))


def _facts(model: nn.Module) -> dict:
    masks = Masks.of(model)
    spec = getattr(model, "jacprobe_spec", None)
    facts = {"name": spec["name"] if spec else type(model).__name__,
             "num_parameters": sum(p.numel() for p in model.parameters())}
    return {**facts, "num_prunable": masks.num_prunable, "sparsity": masks.sparsity} if masks else facts
