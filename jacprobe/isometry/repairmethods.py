"""Methods and objectives of `isometrize` by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from time import perf_counter

import torch
from torch import Tensor, nn

from jacprobe.isometry.repair.controls import criticality, equilibrate, rescale
from jacprobe.isometry.repair.lifts import Flat, Frequencies
from jacprobe.isometry.repair.papersgd import paper_sgd
from jacprobe.isometry.repair.penalties import Nearness, Spread
from jacprobe.isometry.repair.problem import Problem
from jacprobe.isometry.repair.revival import rescaled
from jacprobe.isometry.repair.solve import solve
from jacprobe.isometry.repair.sparseproblem import SparseProblem, is_sparse
from jacprobe.isometry.repair.support import Support
from jacprobe.isometry.repairlayers import RepairLayer
from jacprobe.solvers.threads import one_blas_thread

METHODS = ("polar-cg", "paper-sgd", "rescale", "equilibrate", "criticality")
OBJECTIVES = {  # by methods that read them; all others take gram
    "polar-cg": ("gram", "nearest", "spread", "frequency"), "paper-sgd": ("gram", "spectral")}
_MAX_STEPS, _LEAST_STEPS = 1000, 100
_WORTH_THREADS = 1e8  # operations of a step; in smaller ones threads wait for each other, at times for seconds
_WORK = 5e11  # operations on one block, some ten seconds of a core
_CONTROLS: dict[str, Callable[[Tensor], Tensor]] = {
    "rescale": rescale, "equilibrate": equilibrate, "criticality": criticality}


@dataclass(frozen=True)
class Plan:
    """How to repair: the arguments of `isometrize` that a method reads."""

    method: str
    objective: str
    strength: float
    tolerance: float | None
    max_steps: int | None
    rate: float


@dataclass
class Repaired:
    """New blocks of a layer over its gain, the residual of the objective over its floor, and how they were found."""

    blocks: Tensor
    residual: float | None = None
    steps: int = 0
    seconds: float = 0.0
    reasons: tuple[str, ...] = ()


def repair(layers: list[RepairLayer], starts: list[Tensor], plan: Plan, tick: Callable[[int], None]) -> list[Repaired]:
    """Return the repaired blocks of all layers, from blocks that are divided by the gains."""
    if plan.method in _CONTROLS:
        return [Repaired(_CONTROLS[plan.method](start), reasons=("one pass",)) for start in starts]
    if plan.method == "paper-sgd":
        return _by_paper(layers, starts, plan, tick)
    found = [Repaired(start.clone()) for start in starts]
    entries = [_Entry(i, g, layer.module, Support.of(layer.masks[g])) for i, layer in enumerate(layers)
               for g in range(len(layer.masks))]
    for group in _grouped(entries, plan.objective, starts):
        _solve(group, layers, starts, plan, found, tick)
    return found


@dataclass(frozen=True)
class _Entry:
    """One block: its layer and group, and what of it takes part."""

    layer: int
    group: int
    module: nn.Module
    support: Support


def _kernel(module: nn.Module, objective: str) -> tuple[int, ...]:
    sides = tuple(getattr(module, "kernel_size", ()))
    return sides if objective == "frequency" and max(sides, default=1) > 1 else ()


def _grouped(entries: list[_Entry], objective: str, starts: list[Tensor]) -> list[list[_Entry]]:
    """Return the blocks that can be solved side by side: of one shape, and one kernel where that matters."""
    groups: dict[tuple, list[_Entry]] = {}
    for entry in entries:
        kernel = _kernel(entry.module, objective)
        shape = tuple(starts[entry.layer].shape[1:]) if kernel else tuple(entry.support.mask.shape)
        groups.setdefault((shape, kernel), []).append(entry)
    return list(groups.values())


def _solve(group: list[_Entry], layers: list[RepairLayer], starts: list[Tensor], plan: Plan, found: list[Repaired],
           tick: Callable[[int], None]) -> None:
    """Solve blocks side by side and put them in place."""
    begin = perf_counter()
    kernel = _kernel(group[0].module, plan.objective)
    blocks = [starts[entry.layer][entry.group] for entry in group]
    masks = [layers[entry.layer].masks[entry.group] for entry in group]
    if not kernel:
        blocks, masks = ([entry.support.take(block) for entry, block in zip(group, side, strict=True)]
                         for side in (blocks, masks))
    problem = _problem(torch.stack(masks), [entry.support for entry in group], kernel)
    given = problem.kept(torch.stack(blocks))
    problem = _with_penalty(problem, given, plan)
    short = problem.short
    quick, slow = (plan.tolerance or scale * short**0.5 for scale in (5e-7, 1e-4))
    most = plan.max_steps or min(_MAX_STEPS, max(_LEAST_STEPS, int(_WORK / problem.work)))
    with one_blas_thread() if problem.work * len(group) < _WORTH_THREADS else nullcontext():
        solution = solve(given, problem, tolerance=quick, slow_tolerance=slow, max_steps=most, tick=tick)
    seconds = (perf_counter() - begin) / len(group)
    for entry, block, excess, steps, reason in zip(group, problem.dense(solution.kept), solution.excess.tolist(),
                                                   solution.steps.tolist(), solution.reason, strict=True):
        target = found[entry.layer]
        if kernel:
            target.blocks[entry.group] = block
        else:
            entry.support.put(block, target.blocks[entry.group])
        target.residual = math.hypot(target.residual or 0.0, max(excess, 0.0) ** 0.5)
        target.steps, target.seconds = max(target.steps, steps), target.seconds + seconds
        target.reasons = (*target.reasons, reason)


def _problem(masks: Tensor, supports: list[Support], kernel: tuple[int, ...]) -> Problem:
    if not kernel:
        floors = torch.tensor([support.floor for support in supports], dtype=torch.float64, device=masks.device)
        return SparseProblem.of(masks, floors) if is_sparse(masks) else Problem.of(masks, floors, Flat())
    rows, outputs, taps = *masks.shape[1:], math.prod(kernel)
    lift = Frequencies(rows // taps, kernel, masks.device)
    pairs = [Support.of(mask.unflatten(0, (-1, taps)).any(1)) for mask in masks]
    floors = [max(min(rows // taps, outputs) - pair.rank, 0) ** 0.5 for pair in pairs]
    return Problem.of(masks, torch.tensor(floors, dtype=torch.float64, device=masks.device), lift)


def _with_penalty(problem: Problem, given: Tensor, plan: Plan) -> Problem:
    if plan.objective == "nearest":
        return replace(problem, penalty=Nearness(rescaled(given, problem), plan.strength))
    if plan.objective == "spread":
        return replace(problem, penalty=Spread(problem.is_kept.sum(1) / problem.short, plan.strength))
    return problem


def _by_paper(layers: list[RepairLayer], starts: list[Tensor], plan: Plan, tick: Callable[[int], None]
              ) -> list[Repaired]:
    """Descend as published, in float32, all layers of one shape side by side."""
    groups: dict[tuple, list[int]] = {}
    for i, start in enumerate(starts):
        groups.setdefault(tuple(start.shape[1:]), []).append(i)
    found: dict[int, Repaired] = {}
    num_steps = 10_000 if plan.max_steps is None else plan.max_steps
    for members in groups.values():
        begin = perf_counter()
        stacked = paper_sgd(torch.cat([starts[i].float() for i in members]),
                            torch.cat([layers[i].masks for i in members]), rate=plan.rate, num_steps=num_steps,
                            norm="spectral" if plan.objective == "spectral" else "frobenius")
        seconds = (perf_counter() - begin) / len(members)
        for i, blocks in zip(members, stacked.split([len(starts[i]) for i in members]), strict=True):
            found[i] = Repaired(blocks.double(), steps=num_steps, seconds=seconds, reasons=("max_steps",))
        tick(sum(len(starts[i]) for i in members))
    return [found[i] for i in range(len(layers))]
