"""The part of the autograd graph between two tensors, its order and its cuts."""

from __future__ import annotations

from torch.autograd.graph import GradientEdge, Node


class PathGraph:
    """All autograd nodes on paths from `source` to `target`.

    Attributes
    ----------
    order
        Position of each node in one topological order, `source` first.
    cuts
        Edges ``(node, output_nr)`` that every path passes through, in order; the first is `source`, the last `target`.
        Empty where no path exists.
    """

    def __init__(self, source: GradientEdge, target: GradientEdge):
        start, end = edge_key(source), edge_key(target)
        nodes = _nodes_between(start[0], end[0])
        self.order = {node: position for position, node in enumerate(nodes)}
        self.cuts = _cuts(self.order, start, end) if nodes else []

    def __contains__(self, edge: GradientEdge) -> bool:
        return edge.node in self.order

    def position(self, edge: GradientEdge) -> int:
        return self.order[edge.node]


def edge_key(edge: GradientEdge) -> tuple[Node, int]:
    return edge.node, edge.output_nr


def _nodes_between(start: Node, end: Node) -> list[Node]:
    """Nodes on paths from `start` to `end` in topological order, by one depth-first walk from `end` (no recursion)."""
    reaches: dict[Node, bool] = {start: True}
    postorder = [start]
    stack = [(end, False)]
    while stack:
        node, expanded = stack.pop()
        if node in reaches:
            continue
        children = [child for child, _ in node.next_functions if child is not None]
        if expanded:
            reaches[node] = any(reaches[child] for child in children)
            if reaches[node]:
                postorder.append(node)
        else:
            stack.append((node, True))
            stack.extend((child, False) for child in children)
    return postorder if reaches[end] else []


def _cuts(order: dict[Node, int], start: tuple[Node, int], end: tuple[Node, int]) -> list[tuple[Node, int]]:
    """A node is a cut where no edge of the graph jumps over its position, and one output of it is all that is used."""
    starting = [0] * (len(order) + 1)
    used: dict[Node, set[int]] = {node: set() for node in order}
    used[end[0]].add(end[1])
    used[start[0]].add(start[1])
    for node, position in order.items():
        if node is start[0]:
            continue
        for child, output_nr in node.next_functions:
            if child in order:
                used[child].add(output_nr)
                starting[order[child] + 1] += 1
                starting[position] -= 1
    cuts, open_edges = [], 0
    for node, position in order.items():
        open_edges += starting[position]
        if open_edges == 0 and len(used[node]) == 1:
            cuts.append((node, *used[node]))
    return cuts
