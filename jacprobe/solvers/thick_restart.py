"""Block Golub-Kahan bidiagonalisation with thick restarts: the basis for the largest singular values."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from jacprobe.errors import NonFiniteError
from jacprobe.linop import LinearOperator
from jacprobe.solvers.golub_kahan import EXHAUSTED
from jacprobe.solvers.probes import Streams
from jacprobe.solvers.threads import threaded

_SHORTENED = 0.3  # ratio of lengths after and before a subtraction under which it is repeated (twice is enough)
_COLUMNS = 2**16  # of a basis that are rotated at a time


class Ritz(NamedTuple):
    """Singular triplets of B, in decreasing order, float64 on the CPU.

    left, values, right
        (num_inputs, size, size), (num_inputs, size), (num_inputs, size, size): ``B = left diag(values) right``.
    residuals
        (num_inputs, size): ``||A' u - value v||`` of the vectors that they stand for, up to rounding.
    """

    left: Tensor
    values: Tensor
    right: Tensor
    residuals: Tensor


class ThickRestart:
    """Spaces V and U, one pair per input, with ``A V = U B`` and ``A' U = V B' + Q C'``.

    Q is the block that V grows by. V is orthogonalised in full; U follows from it, up to rounding, so that only one
    side, the shorter one, is worth the work. Directions in which the Krylov space is complete are replaced by random
    ones, orthogonal to V: then the next copies of repeated values are found, and nothing is divided by zero.

    Parameters
    ----------
    operator
        A, with ``out_dim >= in_dim``; one for all inputs or one per input.
    streams
        Of random vectors, for as many inputs as are to run.
    capacity
        Vectors of V per input, at most ``in_dim``.
    block
        Vectors of Q per input.
    room
        Vectors that Q may grow to by `widen`.

    Attributes
    ----------
    size, width
        Vectors that V and Q hold now.
    num_steps, top
        Blocks that V held when it was last the whole Krylov space of its first block, and its largest Ritz value
        (num_inputs,) then, once a restart has cut it down; None before.
    complete
        bool (num_inputs,): whether that Krylov space was found to be complete.
    num_products
        Vectors per input that were multiplied by A or A'.

    References
    ----------
    Baglama and Reichel 2005, Augmented implicitly restarted Lanczos bidiagonalization methods; 2006, Restarted block
    Lanczos bidiagonalization methods. Barlow 2013, Reorthogonalization for the Golub-Kahan-Lanczos bidiagonal
    reduction (on one side).
    """

    def __init__(self, operator: LinearOperator, streams: Streams, *, capacity: int, block: int, room: int):
        self.operator, self.streams, self.capacity = operator, streams, capacity
        _, out_dim, in_dim = operator.shape
        num_inputs, like = len(streams.inputs), {"dtype": operator.dtype, "device": operator.device}
        self._right = torch.empty(num_inputs, capacity + room, in_dim, **like)
        self._left = torch.empty(num_inputs, capacity, out_dim, **like)
        self._matrix = torch.zeros(num_inputs, capacity, capacity, dtype=torch.float64)  # B
        self._coupling = torch.zeros(num_inputs, 0, 0, dtype=torch.float64)  # C
        self._linked = 0  # rows of C before it are 0
        self._scale = torch.zeros(num_inputs, dtype=torch.float64)  # largest length of a product
        self._drawn = self.size = self.width = self.num_steps = self.num_products = 0
        self.top: Tensor | None = None
        self.complete = torch.zeros(num_inputs, dtype=torch.bool)
        self.widen(block)

    @torch.no_grad()
    def expand(self) -> None:
        """Take Q into V, and find the next one.

        Raises
        ------
        NonFiniteError
            A product holds NaN or infinity.
        """
        begin, end = self.size, self.size + self.width
        block, basis = self._right[:, begin:end], self._right[:, :end]
        image = _own(self.operator.matmat(block.mT).mT, block)
        self._scale = torch.maximum(self._scale, _lengths(image).amax(1))
        if not bool(self._scale.isfinite().all()):
            raise NonFiniteError("`operator` must have finite products; one holds NaN or infinity."
                                 " Check the inputs and the scale of the weights.")
        known = self._coupling[:, self._linked :].mT.to(image)
        image.baddbmm_(known, self._left[:, self._linked : begin], alpha=-1)
        triangle = self._normalised(image, self._left[:, begin:end], None)
        self._matrix[:, :begin, begin:end] = self._coupling
        self._matrix[:, begin:end, begin:end] = triangle
        back = _own(self.operator.rmatmat(self._left[:, begin:end].mT).mT, self._left)
        before = _lengths(back)
        back.baddbmm_(triangle.to(back), block, alpha=-1)
        for _ in range(2):
            _subtract(back, basis)
            if bool((_lengths(back) >= _SHORTENED * before).all()):
                break
        self.num_products += 2 * self.width
        self.num_steps += self.top is None
        self.size, self.width, self._linked = end, min(self.width, self._right.shape[2] - end), begin
        triangle = self._normalised(back, self._right[:, end : end + self.width], basis)
        if self.top is None:
            self.complete |= (triangle.diagonal(dim1=1, dim2=2) == 0).all(1)
        self._coupling = torch.nn.functional.pad(triangle.mT, (0, 0, begin, 0))

    def ritz(self) -> Ritz:
        """Return approximations of the largest singular values, of which each is at most the one it stands for."""
        found = threaded(_triplets, self._matrix[:, : self.size, : self.size], 12.0 * self.size**3)
        left, right, values = found.split([self.size, self.size, 1], dim=1)
        left, values = left.mT, values.squeeze(1)
        return Ritz(left, values, right, torch.linalg.vector_norm(self._coupling.mT @ left, dim=1))

    def restart(self, ritz: Ritz, keep: int) -> None:
        """Cut V and U down to the vectors of the `keep` largest Ritz values."""
        if self.top is None:
            self.top = ritz.values[:, 0]
        _rotate(self._right, ritz.right[:, :keep], self.size)
        _rotate(self._left, ritz.left[:, :, :keep].mT, self.size)
        self._right[:, keep : keep + self.width] = self._right[:, self.size : self.size + self.width].clone()
        self._matrix.zero_()
        self._matrix[:, range(keep), range(keep)] = ritz.values[:, :keep]
        self._coupling = ritz.left[:, :, :keep].mT @ self._coupling
        self.size, self._linked = keep, 0

    def widen(self, extra: int) -> None:
        """Add `extra` random directions to Q, as far as there are as many, so that hidden copies of values show."""
        extra = min(extra, self._right.shape[2] - self.size - self.width)
        for row in range(self.size + self.width, self.size + self.width + extra):
            self._draw(row, torch.ones(len(self._scale), dtype=torch.bool))
        self._coupling = torch.nn.functional.pad(self._coupling, (0, extra))
        self.width += extra

    def vectors(self, ritz: Ritz, count: int) -> tuple[Tensor, Tensor]:
        """Return the left and right vectors of the `count` largest, (num_inputs, count, dim) each."""
        left, right = self._left[:, : self.size], self._right[:, : self.size]
        return (torch.bmm(ritz.left[:, :, :count].mT.to(left), left), torch.bmm(ritz.right[:, :count].to(right), right))

    def _normalised(self, block: Tensor, out: Tensor, basis: Tensor | None) -> Tensor:
        """Write an orthonormal basis of the rows of `block`, which is used up, to `out`; return R, ``block' = out' R``.

        A row that depends on the ones before is replaced by zeros, or, where `basis` is given, by a random direction
        orthogonal to it. `out` may have fewer rows than `block` where there is no room for more directions.
        """
        num_inputs, width, _ = block.shape
        threshold = EXHAUSTED * torch.finfo(block.dtype).eps * self._scale
        triangle = torch.zeros(num_inputs, out.shape[1], width, dtype=torch.float64)
        for i in range(width):
            row, before = block[:, i : i + 1], out[:, :i]
            length = _lengths(row)
            for _ in range(2 if i else 0):
                parts = _subtract(row, before)
                triangle[:, : parts.shape[2], i] += parts[:, 0].double().cpu()
            if i >= out.shape[1]:
                continue
            if basis is not None and bool((_lengths(row) < _SHORTENED * length).any()):
                for others in (basis, before):
                    _subtract(row, others)
            length = _lengths(row)[:, 0]
            dependent = length <= threshold
            triangle[:, i, i] = torch.where(dependent, 0, length)
            torch.mul(row[:, 0], torch.where(dependent, 0, 1 / length).to(out).unsqueeze(1), out=out[:, i])
            if basis is not None and bool(dependent.any()):
                self._draw(basis.shape[1] + i, dependent)
        return triangle

    def _draw(self, row: int, which: Tensor) -> None:
        """Set this row of the right basis, for the inputs `which`, to a random direction orthogonal to those before."""
        drawn = self.streams.gaussian([self._drawn], self._right.shape[2]).to(self._right)
        self._drawn += 1
        before = self._right[:, :row]
        for _ in range(2):
            _subtract(drawn, before)
            drawn /= torch.linalg.vector_norm(drawn, dim=2, keepdim=True)
        which = which.to(drawn.device).unsqueeze(1)
        self._right[:, row] = torch.where(which, drawn[:, 0], self._right[:, row])


def _own(product: Tensor, block: Tensor) -> Tensor:
    """Return a `product` whose memory may be changed, row by row: an operator may hand back what it was given."""
    same = product.untyped_storage().data_ptr() == block.untyped_storage().data_ptr()
    return product.clone(memory_format=torch.contiguous_format) if same else product.contiguous()


def _subtract(rows: Tensor, basis: Tensor) -> Tensor:
    """Subtract from `rows`, (num_inputs, few, dim), their parts along those of `basis`, in place; return the parts."""
    parts = torch.bmm(rows, basis.mT)
    rows.baddbmm_(parts, basis, alpha=-1)
    return parts


def _lengths(rows: Tensor) -> Tensor:
    return torch.linalg.vector_norm(rows, dim=2).double().cpu()


def _triplets(matrices: Tensor) -> Tensor:
    left, values, right = torch.linalg.svd(matrices)
    return torch.cat([left.mT, right, values.unsqueeze(1)], 1)


def _rotate(basis: Tensor, rotation: Tensor, size: int) -> None:
    """Replace the first `size` rows of `basis` by fewer combinations of them, in place and a few columns at a time."""
    rotation = rotation.to(basis)
    for columns in basis[:, :size].split(_COLUMNS, dim=2):
        columns[:, : rotation.shape[1]] = torch.bmm(rotation, columns)
