"""Sparsity-aware orthogonal weights (SAO): orthogonal on a regular expander graph."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from jacprobe.errors import ArgumentError
from jacprobe.isometry.initialisers.biregular import expanding_graph
from jacprobe.isometry.initialisers.layer import Draw, Drawn, Layer, affine_layers
from jacprobe.isometry.initialisers.orthogonal import check_gain, haar
from jacprobe.isometry.initialisers.quotas import per_layer


class Sizes(NamedTuple):
    """Sizes of the blocks on the narrow and on the wide side; their product is the degree."""

    narrow: int
    wide: int

    @property
    def degree(self) -> int:
        """Number of weights of every unit on the narrow side."""
        return self.narrow * self.wide


def sparsity_aware_orthogonal(
    model: nn.Module, *, degree: object = None, density: object = None, gain: float = 1.0
) -> Draw:
    """Return the initialiser that makes weights and masks together: orthogonal, of a fixed degree, well connected.

    Every unit on the narrow side of a layer, of n units on the wide one, has exactly `degree` weights; on the wide side
    degrees are equal where they can be, and differ by little else. With `density` each layer has the degree nearest to
    ``density * n`` that it can have; one more than a factor of 2 away is refused, as it mostly is for a prime n. A
    weight matrix is B P C: block-diagonal orthogonal matrices B and C, of block sizes d1 and d2 with d1 d2 = degree,
    joined by a random graph of blocks that is connected, and Ramanujan wherever 50 draws find one. Between two units
    there is at most one path, so that no entry is a sum that could cancel. The mask has ``sqrt(degree)`` times the
    second singular value of the graph: it is a regular expander, less of one than a Ramanujan graph of that degree, on
    which no orthogonal matrix need exist.

    A convolution is delta-orthogonal, and keeps whole kernels: other taps than the middle one are kept at 0.

    Layers that a mapping leaves out are dense, with no mask.

    References
    ----------
    Esguerra et al. 2023 (SAO, SAO-Delta). Their published code is the case d1 = 1: n / degree groups of units, each
    joined completely and not with the others, so that a layer by itself is no expander; here that is what is left for a
    prime degree. Their variant for ReLU, [[W, -W], [-W, W]], is not made.
    """
    check_gain(gain)
    if (degree is None) == (density is None):
        raise ArgumentError(f"`degree` or `density` must be given, one of them; got {degree!r} and {density!r}. Pass"
                            " for example degree=4.")
    layers = affine_layers(model)
    numbers = per_layer("density" if degree is None else "degree", density if degree is None else degree, layers)
    sizes = {layer.parameter(): _nearest(layer, numbers[layer.parameter()]) if degree is None else
             _exact(layer, numbers[layer.parameter()]) for layer in layers if layer.parameter() in numbers}

    def draw(layer: Layer, generator: torch.Generator) -> Drawn:
        if layer.parameter() not in sizes:
            blocks = [haar(layer.rows, layer.cols, generator) for _ in range(layer.groups)]
            return Drawn(gain * layer.at_centre(blocks))
        blocks = [block_orthogonal(layer.rows, layer.cols, sizes[layer.parameter()], generator)
                  for _ in range(layer.groups)]
        kernels = torch.cat([support for _, support in blocks])
        mask = kernels.reshape(*kernels.shape, *[1] * len(layer.kernel)).expand(layer.shape).clone()
        return Drawn(gain * layer.at_centre([values for values, _ in blocks]), masks={"weight": mask})

    return draw


def block_orthogonal(rows: int, cols: int, sizes: Sizes, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return a float64 matrix (rows, cols) of orthonormal rows or columns, whichever are fewer, and its support.

    Examples
    --------
    >>> Q, support = block_orthogonal(20, 20, Sizes(2, 2), torch.Generator().manual_seed(0))
    >>> support.sum(0).unique().tolist(), bool(torch.allclose(Q @ Q.T, torch.eye(20, dtype=torch.float64)))
    ([4], True)
    """
    if rows > cols:
        values, support = block_orthogonal(cols, rows, sizes, generator)
        return values.T, support.T
    num_left, num_right = cols // sizes.narrow, cols // sizes.wide
    edges = expanding_graph(num_left, sizes.narrow, num_right, sizes.wide, generator)
    heights = [rows // num_left + (index < rows % num_left) for index in range(num_left)]
    left = [haar(height, sizes.narrow, generator) if height else torch.zeros(0, sizes.narrow, dtype=torch.float64)
            for height in heights]
    right = [haar(sizes.wide, sizes.wide, generator) for _ in range(num_right)]
    tops = [0, *torch.tensor(heights).cumsum(0).tolist()]
    Q = torch.zeros(rows, cols, dtype=torch.float64)
    support = torch.zeros(rows, cols, dtype=torch.bool)
    used = [0] * num_right
    for edge, (a, b) in enumerate(edges.tolist()):  # column of B and row of C that this edge joins: a block of rank 1
        place = slice(tops[a], tops[a + 1]), slice(b * sizes.wide, (b + 1) * sizes.wide)
        Q[place] = torch.outer(left[a][:, edge % sizes.narrow], right[b][used[b]])
        support[place] = True
        used[b] += 1
    order, place = torch.randperm(rows, generator=generator), torch.randperm(cols, generator=generator)
    return Q[order][:, place], support[order][:, place]


def _exact(layer: Layer, degree: float) -> Sizes:
    """Return the best block sizes whose product is `degree`."""
    widest = max(layer.rows, layer.cols)
    if not 1 <= degree <= widest or degree != int(degree):
        raise ArgumentError(f"`degree` must be a whole number from 1 to {widest}, the wide side of"
                            f" {layer.parameter()!r}; got {degree}. It is the number of weights per unit.")
    possible = [sizes for sizes in _possible(layer) if sizes.degree == degree]
    if not possible:
        near = sorted({sizes.degree for sizes in _possible(layer)}, key=lambda other: (abs(other - degree), other))[:4]
        raise ArgumentError(f"`degree` must be a product of two divisors of {widest}, the wide side of"
                            f" {layer.parameter()!r}; got {degree}. Nearest are {', '.join(map(str, sorted(near)))}.")
    return min(possible, key=lambda sizes: _faults(layer, sizes))


def _nearest(layer: Layer, density: float) -> Sizes:
    """Return the best block sizes of the degree nearest to `density` times the wide side."""
    if not 0 < density <= 1:
        raise ArgumentError(f"`density` must be in (0, 1]; got {density}. It is the kept share of the weights.")
    widest = max(layer.rows, layer.cols)
    if density * widest < 0.5:
        raise ArgumentError(f"`density` must be at least {1 / widest:.3g} for {layer.parameter()!r}, or it cannot be"
                            f" orthogonal; got {density}. Every unit needs one weight.")
    best = min(_possible(layer), key=lambda sizes: (abs(sizes.degree - density * widest), *_faults(layer, sizes)))
    if not 0.5 <= best.degree / (density * widest) <= 2:
        raise ArgumentError(f"`density` must be within a factor of 2 of one that {layer.parameter()!r} can have; got"
                            f" {density}, and {best.degree / widest:.3g} is the nearest. Degrees are products of two"
                            f" divisors of the wide side, {widest}.")
    return best


def _possible(layer: Layer) -> Iterator[Sizes]:
    widest = max(layer.rows, layer.cols)
    divisors = [size for size in range(1, widest + 1) if widest % size == 0]
    return (Sizes(narrow, wide) for narrow in divisors for wide in divisors if narrow * wide <= widest)


def _faults(layer: Layer, sizes: Sizes) -> tuple[int, bool, bool, float]:
    """What is worse comes later: wide units with no weight, a graph in pieces, unequal degrees, slow mixing."""
    rows, widest = sorted((layer.rows, layer.cols))
    bound = (math.sqrt(sizes.narrow - 1) + math.sqrt(sizes.wide - 1)) / math.sqrt(sizes.degree)
    in_pieces = min(sizes) == 1 and sizes.degree < widest
    return max(0, widest - rows * sizes.narrow), in_pieces, bool(rows * sizes.narrow % widest), bound
