"""The rank of almost every product with the same zeros: units on paths, and paths that share no unit."""

from __future__ import annotations

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from jacprobe.linop import Diagonal, Matrix, Product, Selection
from jacprobe.solvers.liveness import pattern


def units_on_paths(steps: list[Product]) -> list[Tensor]:
    """Return the units before, between and behind the steps that lie on a path of nonzero entries, bool
    (num_inputs, dim) each.
    """
    patterns = [pattern(step) for step in steps]
    num_inputs, device = max(step.shape[0] for step in steps), steps[0].device
    reached = [torch.ones(num_inputs, steps[0].shape[2], 1, dtype=torch.float32, device=device)]
    for step in patterns:
        reached.append((step.matmat(reached[-1]) > 0).float())
    useful = [torch.ones(num_inputs, steps[-1].shape[1], 1, dtype=torch.float32, device=device)]
    for step in reversed(patterns):
        useful.append((step.rmatmat(useful[-1]) > 0).float())
    return [(r * u).squeeze(2) > 0 for r, u in zip(reached, reversed(useful), strict=True)]


def generic_ranks(steps: list[Product], live: list[Tensor]) -> Tensor:
    """Return the rank of almost every product with these zeros, int64 (num_inputs,): as many paths as share no unit."""
    ranks = torch.stack([units.sum(1) for units in live]).amin(0)
    wirings = [_wiring(factor) for step in steps for factor in step.factors if not isinstance(factor, Diagonal)]
    if all(wiring is None for wiring in wirings):
        return ranks
    inner = [0] + [i for i, step in enumerate(steps, 1) if not isinstance(step.factors[-1], Diagonal)]
    units = [live[i].cpu().numpy() for i in inner]
    known: dict[bytes, int] = {}
    for n in range(len(ranks)):
        alive = [side[n] for side in units]
        edges = [wiring if wiring is None else wiring[n % len(wiring)] for wiring in wirings]
        selected = b"".join(edge.tobytes() for wiring, edge in zip(wirings, edges, strict=True)
                            if wiring is not None and len(wiring) > 1)
        key = b"".join(side.tobytes() for side in alive) + selected
        if key not in known:
            known[key] = _num_disjoint_paths(edges, alive)
        ranks[n] = known[key]
    return ranks


def _wiring(factor: Matrix | Selection) -> list[np.ndarray] | None:
    """Pairs (2, num_pairs) of an output and an input that a nonzero entry joins, one array for all or per input.

    None where every output is joined with every input.
    """
    if isinstance(factor, Selection):
        return [np.stack([np.arange(len(index)), index]) for index in factor.index.cpu().numpy()]
    pairs = (factor.matrix != 0).cpu().numpy()
    if factor.copies == 1 and pairs.all():
        return None
    heights, widths = np.arange(factor.copies)[:, None] * np.array(pairs.shape)[:, None, None]
    out, taken = pairs.nonzero()
    return [np.stack([(heights + out).ravel(), (widths + taken).ravel()])]


def _num_disjoint_paths(wirings: list[np.ndarray | None], live: list[np.ndarray]) -> int:
    """Most paths from the first to the last units, without a common unit: a flow with every unit open for one."""
    starts = np.cumsum([2, *(len(units) for units in live), *(1 for _ in wirings)])  # source and sink; a hub per wiring
    num_nodes, enters = starts[-1], [start + units.nonzero()[0] for start, units in zip(starts, live, strict=False)]
    leaves = [units + num_nodes for units in enters]  # of the same unit; an edge between both is open for one
    edges = [np.stack([np.zeros_like(enters[0]), enters[0]]), np.stack([leaves[-1], np.ones_like(leaves[-1])])]
    edges += [np.stack(pair) for pair in zip(enters, leaves, strict=True)]
    for i, wiring in enumerate(wirings):
        if wiring is None:
            hub = starts[len(live) + i]
            edges += [np.stack([leaves[i], np.full_like(leaves[i], hub)]),
                      np.stack([np.full_like(enters[i + 1], hub), enters[i + 1]])]
        else:
            out, taken = wiring[:, live[i + 1][wiring[0]] & live[i][wiring[1]]]
            edges.append(np.stack([starts[i] + taken + num_nodes, starts[i + 1] + out]))
    sources, targets = np.concatenate(edges, axis=1)
    graph = scipy.sparse.csr_array((np.ones(len(sources), dtype=np.int32), (sources, targets)), (2 * num_nodes,) * 2)
    return int(scipy.sparse.csgraph.maximum_flow(graph, 0, 1).flow_value)
