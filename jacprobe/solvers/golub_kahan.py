"""Golub-Kahan-Lanczos bidiagonalisation of linear operators, many chains at a time, and its quadrature."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from jacprobe.errors import NonFiniteError
from jacprobe.linop import LinearOperator
from jacprobe.solvers.scaling import normalised
from jacprobe.solvers.threads import threaded

EXHAUSTED = 100.0  # times eps and the norm: a new direction under it is rounding, the Krylov space is complete
_SHORTENED = 0.7  # ratio of lengths after and before an orthogonalisation under which it is repeated (twice is enough)
_PADDING = 4.0  # on the diagonal of a bidiagonal matrix without entries above 1, the norm of which is at most 2
_CANCELLED = 1e-2  # ratio to the largest length so far under which the rounding of products is no longer negligible


class Bidiagonal(NamedTuple):
    """Upper bidiagonal matrices B of ``A V = U B``, one per chain.

    alphas, betas
        float64 (num_inputs, num_chains, num_steps): diagonals and superdiagonals, 0 behind the length; the last beta
        is unused.
    lengths
        int64 (num_inputs, num_chains): steps until the Krylov space of a chain was complete, else num_steps. The
        singular values of a complete B are singular values of A.
    """

    alphas: Tensor
    betas: Tensor
    lengths: Tensor


class GolubKahan:
    """Chains of one operator: a Krylov space per input and probe, grown by common products.

    Both bases are kept. A new vector is orthogonalised against them, twice where needed, when a recurrence for the
    growth of rounding errors says that orthogonality is lost beyond the root of the working precision; up to there B is
    exact to working precision. For spectra without outliers this is one step in many, and most time goes into products;
    in the tail of a spectrum that falls by orders of magnitude it is every step.

    Parameters
    ----------
    operator
        The matrices A; one for all inputs, or one per input.
    num_inputs, num_chains, num_steps
        Sizes. The bases hold ``num_inputs * num_chains * num_steps * (out_dim + in_dim)`` numbers, and serve one run
        after another.

    References
    ----------
    Golub and Kahan 1965, Calculating the singular values and pseudo-inverse of a matrix. Simon 1984, The Lanczos
    algorithm with partial reorthogonalization. Larsen 1998, Lanczos bidiagonalization with partial reorthogonalization.
    """

    def __init__(self, operator: LinearOperator, num_inputs: int, num_chains: int, num_steps: int):
        self.operator, self.num_steps = operator, num_steps
        like = {"dtype": operator.dtype, "device": operator.device}
        self._right = torch.empty(num_steps, num_inputs, num_chains, operator.shape[2], **like)
        self._left = torch.empty(num_steps, num_inputs, num_chains, operator.shape[1], **like)
        self._threshold = EXHAUSTED * torch.finfo(operator.dtype).eps

    @torch.no_grad()
    def run(self, starts: Tensor) -> Bidiagonal:
        """Return the bidiagonal matrices of chains that begin at `starts`, (num_inputs, num_chains, in_dim).

        Costs ``num_steps`` products with A and ``num_steps - 1`` with its transpose per chain. A chain whose Krylov
        space is complete goes on as zeros.

        Raises
        ------
        NonFiniteError
            A product holds NaN or infinity.
        """
        shape = starts.shape[:2]
        self._alphas = torch.zeros(self.num_steps, *shape, dtype=torch.float64, device=starts.device)
        self._betas, self._scale = torch.zeros_like(self._alphas), torch.zeros_like(self._alphas[0])
        self._lengths = torch.full(shape, self.num_steps, device=starts.device)
        self._alive = torch.ones(shape, dtype=torch.bool, device=starts.device)
        self._repair = False
        loss = _OrthogonalityLoss(self._alphas, torch.finfo(starts.dtype).eps, max(self.operator.shape[1:]))
        _scaled(starts, _inverse(_norms(starts)), out=self._right[0])
        self._normalised, image, scale = normalised(self.operator, self._right[0].mT)
        self._left[0].copy_(image.mT)
        del image  # a block of vectors
        for j in range(self.num_steps):
            self._step_left(j)
            if j + 1 == self.num_steps or not bool(self._alive.any()):
                break
            self._step_right(j, loss)
        if not bool(self._scale.isfinite().all()):
            raise NonFiniteError("`operator` must have finite products; one holds NaN or infinity."
                                 " Check the inputs and the scale of the weights.")
        alphas, betas = (part.movedim(0, -1).cpu() * scale[:, None, None] for part in (self._alphas, self._betas))
        return Bidiagonal(alphas, betas, self._lengths.cpu())

    def _step_left(self, j: int) -> None:
        """Find ``alpha_j u_j = A v_j - beta_{j-1} u_{j-1}``, which is kept in this length to save a pass over it."""
        left, alphas = self._left, self._alphas
        if j:
            product = self._normalised.matmat(self._right[j].mT).mT
            before = self._betas[j - 1]
            _plus(product, left[j - 1], -before * _inverse(alphas[j - 1]), out=left[j])
            alphas[j] = _norms(left[j])
            if self._repair or bool((self._alive & (alphas[j] < _CANCELLED * self._scale)).any()):
                _orthogonalise(left[j], left[:j], _inverse(alphas[:j].square()))
                alphas[j] = _norms(left[j])
        else:
            alphas[0] = _norms(left[0])
        self._stop(j, alphas[j])

    def _step_right(self, j: int, loss: _OrthogonalityLoss) -> None:
        """Find ``beta_j v_{j+1} = A' u_j - alpha_j v_j``, and v_{j+1} of length 1."""
        right, betas = self._right, self._betas
        inverse = _inverse(self._alphas[j])
        product = self._normalised.rmatmat(self._left[j].mT).mT
        _plus(product, right[j], -self._alphas[j].square(), out=right[j + 1])
        betas[j] = _norms(right[j + 1]) * inverse
        lost = loss.grows(self._alphas[: j + 1], betas[: j + 1], self._alive)
        if lost or self._repair:
            _orthogonalise(right[j + 1], right[: j + 1])
            betas[j] = _norms(right[j + 1]) * inverse
            loss.reset()
        self._repair = lost and not self._repair  # the recurrences start from two vectors, and both must be clean
        self._stop(j, betas[j])
        _scaled(right[j + 1], inverse * _inverse(betas[j]), out=right[j + 1])

    def _stop(self, j: int, coupling: Tensor) -> None:
        """Stop the chains whose new `coupling` is rounding, and set it to 0."""
        self._scale = torch.maximum(self._scale, coupling)
        complete = coupling <= self._threshold * self._scale
        self._lengths[self._alive & complete] = j + 1
        self._alive &= ~complete
        coupling[complete] = 0


class _OrthogonalityLoss:
    """Estimates of <v_{j+1}, v_k> for all k <= j, by the recurrence that they follow when rounding alone drives them.

    References
    ----------
    Simon 1984, section 2, for the tridiagonal matrix B'B.
    """

    def __init__(self, alphas: Tensor, eps: float, dim: int):
        self.eps, self.limit = eps, eps**0.5 / 4
        self.neighbours = eps * max(1.0, dim**0.5 / 10)
        self.before, self.now = alphas[:0], torch.ones_like(alphas[:1])

    def grows(self, alphas: Tensor, betas: Tensor, alive: Tensor) -> bool:
        """Go one step, given the (j + 1, num_inputs, num_chains) coefficients; whether a chain reaches the limit."""
        j = len(alphas) - 1
        diagonal, off = alphas.square(), alphas * betas
        diagonal[1:] += betas[:-1].square()
        after = torch.full((j + 2, *alive.shape), self.neighbours, dtype=torch.float64, device=alphas.device)
        after[j + 1] = 1
        if j:
            change = off[:j] * self.now[1:] + (diagonal[:j] - diagonal[j]) * self.now[:j] - off[j - 1] * self.before
            change[1:] += off[: j - 1] * self.now[: j - 1]
            change += change.sign() * self.eps * diagonal.amax(0)
            after[:j] = change * _inverse(off[j])
        self.before, self.now = self.now, after
        return bool((alive & (after[:-1].abs().amax(0) > self.limit)).any())

    def reset(self) -> None:
        """Start again from a vector that is orthogonal to working precision."""
        self.now[:-1] = self.eps


def quadrature(bidiagonal: Bidiagonal) -> tuple[Tensor, Tensor]:
    """Return the Gauss quadrature of the singular values of A as seen by the start of each chain.

    Returns
    -------
    nodes, weights
        float64 (num_inputs, num_chains, num_steps): singular values of B in decreasing order, and the squares of the
        first entries of its right singular vectors, which sum to 1. Behind the length of a chain both are 0, and no
        other weight is.

    References
    ----------
    Golub and Meurant 1994, Matrices, moments and quadrature, section 4.
    """
    alphas, betas, lengths = (part.flatten(0, 1) for part in bidiagonal)
    num_steps = alphas.shape[1]
    padding = torch.arange(num_steps) >= lengths[:, None]
    scale = torch.maximum(alphas.amax(1, keepdim=True), betas.amax(1, keepdim=True))
    alphas, betas = (part * _inverse(scale) for part in (alphas, betas))
    # the padding is kept apart, in front
    matrices = torch.diag_embed(torch.where(padding, _PADDING, alphas)) + torch.diag_embed(betas[:, :-1], 1)
    found = threaded(_values_and_weights, matrices, 12.0 * num_steps**3)
    order = (torch.arange(num_steps) - lengths[:, None]) % num_steps
    nodes, weights = (part.gather(1, order) for part in found.unbind(1))
    weights = torch.where(padding, 0, weights.clamp(min=torch.finfo(torch.float64).tiny))
    shape = bidiagonal.alphas.shape
    nodes, weights = torch.where(padding, 0, nodes * scale), weights / weights.sum(1, keepdim=True)
    return nodes.reshape(shape), weights.reshape(shape)


def _values_and_weights(matrices: Tensor) -> Tensor:
    _, values, vectors = torch.linalg.svd(matrices)
    return torch.stack([values, vectors[:, :, 0].square()], 1)


def _orthogonalise(vectors: Tensor, basis: Tensor, weights: Tensor | None = None) -> None:
    """Make `vectors`, (num_inputs, num_chains, dim), orthogonal to `basis`, (k, num_inputs, num_chains, dim), in place.

    `weights`, (k, num_inputs, num_chains), are the inverse squared lengths of the basis; without them it is normalised.
    A second pass is made where the first shortens a vector, which leaves rounding errors of its former length.
    The products are written so that the batched routines of CPUs run through the memory of the basis at full speed.
    """
    rows, basis = vectors.flatten(0, 1).unsqueeze(1), basis.flatten(1, 2).transpose(0, 1)
    for _ in range(2):
        length = _norms(vectors)
        parts = torch.bmm(rows, basis.mT)
        if weights is not None:
            parts *= weights.flatten(1).mT.unsqueeze(1).to(parts.dtype)
        rows.baddbmm_(parts, basis, alpha=-1)
        if bool((_norms(vectors) >= _SHORTENED * length).all()):
            return


def _norms(vectors: Tensor) -> Tensor:
    return torch.linalg.vector_norm(vectors, dim=2).double()


def _inverse(numbers: Tensor) -> Tensor:
    """Return 1 / numbers, and 0 for 0."""
    return torch.where(numbers == 0, 0, 1 / numbers)


def _scaled(vectors: Tensor, factors: Tensor, *, out: Tensor) -> None:
    torch.mul(vectors, factors.to(vectors.dtype).unsqueeze(-1), out=out)


def _plus(vectors: Tensor, others: Tensor, factors: Tensor, *, out: Tensor) -> None:
    torch.addcmul(vectors, others, factors.to(vectors.dtype).unsqueeze(-1), out=out)
