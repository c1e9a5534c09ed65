"""Exact orthogonal sparse weights (EOI): a signed permutation, turned by random Givens rotations until it is filled."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from jacprobe.isometry.initialisers.layer import Draw, Drawn, Layer, affine_layers
from jacprobe.isometry.initialisers.orthogonal import check_gain, haar
from jacprobe.isometry.initialisers.quotas import kept_counts

_SEARCHED = 512  # columns with weights, and without, among which a rotation that fits is looked for


def exact_orthogonal(model: nn.Module, *, density: object, gain: float = 1.0) -> Draw:
    """Return the initialiser that makes weights and masks together: orthogonal, and exactly as sparse as asked.

    Each layer keeps exactly ``round(density * size)`` weights. A rotation of two columns keeps all singular values and
    fills both with the union of their supports, so that only some counts can be met by rotations; where none fits any
    more, the few weights that are left are kept at 0, from which training moves them.

    A convolution is delta-orthogonal: the middle tap has as many of the kept weights as fit, and other taps, where
    weights are left, are kept at 0 at random. Layers that a mapping of densities leaves out are dense, with no mask.

    References
    ----------
    Nowak et al. 2024 (EOI). They start at the identity and stop after the rotation that passes
    the density; here the start is a random signed permutation, so that a wide layer does not read its first inputs
    only.
    """
    check_gain(gain)
    counts = kept_counts(density, affine_layers(model))

    def draw(layer: Layer, generator: torch.Generator) -> Drawn:
        if layer.parameter() not in counts:
            blocks = [haar(layer.rows, layer.cols, generator) for _ in range(layer.groups)]
            return Drawn(gain * layer.at_centre(blocks))
        num_kept = counts[layer.parameter()]
        quotas = _split(min(num_kept, layer.groups * layer.rows * layer.cols), layer.groups)
        blocks = [sparse_orthogonal(layer.rows, layer.cols, quota, generator) for quota in quotas]
        weight = layer.at_centre([values for values, _ in blocks])
        mask = layer.at_centre([support for _, support in blocks])
        return Drawn(gain * weight, masks={"weight": _filled(mask, num_kept, generator)})

    return draw


def sparse_orthogonal(
    rows: int, cols: int, num_kept: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return a float64 matrix (rows, cols) of orthonormal rows or columns, whichever are fewer, and where it is not 0.

    It has at most `num_kept` entries, and fewer only where no rotation fits. Every rotation costs O(min(rows, cols)),
    and about ``n log n`` of them fill n columns.

    Examples
    --------
    >>> Q, support = sparse_orthogonal(50, 50, 500, torch.Generator().manual_seed(0))
    >>> int(support.sum()), bool(torch.allclose(Q @ Q.T, torch.eye(50, dtype=torch.float64), atol=1e-12))
    (500, True)
    """
    if rows > cols:
        values, support = sparse_orthogonal(cols, rows, num_kept, generator)
        return values.T, support.T
    V, S = _signed_permutation(rows, cols, generator)  # V and S are (cols, rows): a column of the matrix in one piece
    left, idle = num_kept - rows, 0
    turns = _turns(cols, generator)
    while left > 0:
        if idle >= cols:
            pair = _fitting_pair(S, left, generator)
            if pair is None:
                break
            (i, j), angle = pair, next(turns)[2]
        else:
            i, j, angle = next(turns)
        gain = int(np.count_nonzero(S[i] ^ S[j]))  # 2 |union| - |S_i| - |S_j|
        idle = 0 if 0 < gain <= left else idle + 1
        if gain <= left:
            _rotate(V, S, i, j, angle)
            left -= gain
    return torch.from_numpy(V.T.copy()), torch.from_numpy(S.T.copy())


def _signed_permutation(rows: int, cols: int, generator: torch.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a (cols, rows) matrix with one entry 1 or -1 in each column and at most one in each row; its support."""
    places = torch.randperm(cols, generator=generator)[:rows].numpy()
    signs = torch.randint(2, (rows,), generator=generator).numpy() * 2.0 - 1
    V = np.zeros((cols, rows))
    V[places, np.arange(rows)] = signs
    return V, V != 0


def _turns(cols: int, generator: torch.Generator) -> Iterator[tuple[int, int, float]]:
    """Draw pairs of different columns and angles, many at once."""
    while cols > 1:
        first = torch.randint(cols, (1024,), generator=generator)
        second = (first + torch.randint(1, cols, (1024,), generator=generator)) % cols
        angles = 2 * math.pi * torch.rand(1024, generator=generator, dtype=torch.float64)
        yield from zip(first.tolist(), second.tolist(), angles.tolist(), strict=True)


def _rotate(V: np.ndarray, S: np.ndarray, i: int, j: int, angle: float) -> None:
    """Turn rows i and j of V by `angle` in place; their support in S becomes the union."""
    cos, sin = math.cos(angle), math.sin(angle)
    V[i], V[j] = cos * V[i] + sin * V[j], cos * V[j] - sin * V[i]
    S[i] |= S[j]
    S[j] = S[i]


def _fitting_pair(S: np.ndarray, left: int, generator: torch.Generator) -> tuple[int, int] | None:
    """Return two rows of S whose rotation adds as many entries as possible up to `left`, at least one; or None."""
    sizes = S.sum(1)
    order = torch.randperm(len(S), generator=generator).numpy()
    tried = np.concatenate([order[sizes[order] > 0][:_SEARCHED], order[sizes[order] == 0][:_SEARCHED]])
    some = S[tried].astype(np.float32)
    gains = np.triu(sizes[tried][:, None] + sizes[tried] - 2 * (some @ some.T).astype(np.int64), 1)
    gains[gains > left] = 0
    best = int(gains.argmax())
    if gains.flat[best] == 0:
        return None
    i, j = divmod(best, len(tried))
    return int(tried[i]), int(tried[j])


def _split(total: int, parts: int) -> list[int]:
    """Return `parts` numbers that differ by at most 1 and sum to `total`."""
    return [total // parts + (index < total % parts) for index in range(parts)]


def _filled(mask: Tensor, num_kept: int, generator: torch.Generator) -> Tensor:
    """Keep more entries at random until there are `num_kept`."""
    flat = mask.flatten()
    free = (~flat).nonzero().flatten()
    missing = num_kept - int(flat.sum())
    flat[free[torch.randperm(len(free), generator=generator)[:missing]]] = True
    return flat.reshape(mask.shape)
