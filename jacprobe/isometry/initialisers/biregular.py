"""Random biregular bipartite graphs, and how well they expand."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import csr_array
from scipy.sparse.linalg import svds

_SWAPS = 10  # per edge; a few already mix
_DRAWS = 50
_DENSE = 300  # nodes on the smaller side up to which all singular values are cheaper than two


def expanding_graph(
    num_left: int, left_degree: int, num_right: int, right_degree: int, generator: torch.Generator
) -> np.ndarray:
    """Return the edges of a simple bipartite graph as int64 (num_edges, 2), rows (left, right) sorted by left.

    Of up to 50 random graphs it is the first that is connected and Ramanujan, its second singular value at most
    ``sqrt(left_degree - 1) + sqrt(right_degree - 1)`` (Brito, Dumitriu and Harris 2022: random ones nearly are), or
    else the one with the smallest second value.

    Examples
    --------
    >>> expanding_graph(2, 2, 2, 2, torch.Generator()).tolist()  # the only one
    [[0, 0], [0, 1], [1, 0], [1, 1]]
    """
    if min(left_degree, right_degree) == 1:
        return _random_graph(num_left, left_degree, num_right, generator)  # stars: no draw is better than another
    if left_degree == right_degree == 2:
        return _random_cycle(num_left, generator)
    largest = np.sqrt(left_degree * right_degree)  # met twice by a graph in two pieces
    bound = min(np.sqrt(left_degree - 1) + np.sqrt(right_degree - 1) + 1e-9, largest - 1e-9)
    best, least = None, np.inf
    for _ in range(_DRAWS):
        edges = _random_graph(num_left, left_degree, num_right, generator)
        second = second_value(edges, num_left, num_right)
        if second < least:
            best, least = edges, second
        if second <= bound:
            break
    return best


def _random_cycle(num_nodes: int, generator: torch.Generator) -> np.ndarray:
    """Return the one connected graph of degree 2 on both sides; random ones mostly fall into several cycles."""
    left, right = (torch.randperm(num_nodes, generator=generator).numpy() for _ in range(2))
    edges = np.stack([np.concatenate([left, left]), np.concatenate([right, np.roll(right, 1)])], 1)
    return edges[np.lexsort((edges[:, 1], edges[:, 0]))]


def second_value(edges: np.ndarray, num_left: int, num_right: int) -> float:
    """Return the second largest singular value of the adjacency matrix, 0 where there is only one."""
    adjacency = csr_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(num_left, num_right))
    smaller = min(num_left, num_right)
    if smaller == 1:
        return 0.0
    if smaller <= _DENSE:
        return float(np.linalg.svd(adjacency.toarray(), compute_uv=False)[1])
    start = np.sin(np.arange(1, smaller + 1))  # any fixed start that is not the first singular vector
    return float(svds(adjacency, k=2, v0=start, return_singular_vectors=False).min())


def _random_graph(num_left: int, left_degree: int, num_right: int, generator: torch.Generator) -> np.ndarray:
    """Swap the ends of random pairs of edges of a cyclic graph, which keeps all degrees, wherever it stays simple."""
    edges = [(left, (left * left_degree + step) % num_right) for left in range(num_left) for step in range(left_degree)]
    present = set(edges)
    for first, second in torch.randint(len(edges), (_SWAPS * len(edges), 2), generator=generator).tolist():
        (a, b), (c, d) = edges[first], edges[second]
        if (a, d) not in present and (c, b) not in present:
            present -= {(a, b), (c, d)}
            present |= {(a, d), (c, b)}
            edges[first], edges[second] = (a, d), (c, b)
    return np.array(sorted(edges))
