"""Singular values of batches of dense matrices: by the Gram matrix where that is accurate enough, else by an SVD."""

from __future__ import annotations

import time
from functools import cache

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

from jacprobe.errors import NonFiniteError
from jacprobe.solvers.threads import threaded

_SLICE = 2**18  # entries of a slice of matrices that are multiplied at a time, so that they stay in the cache


def svd_operations(rows: int, columns: int) -> float:
    """Return the floating-point operations of the singular values of one matrix (4mn^2 - 4n^3/3)."""
    m, n = max(rows, columns), min(rows, columns)
    return 4.0 * m * n**2 - 4.0 * n**3 / 3


def gram_operations(rows: int, columns: int) -> float:
    """Return the floating-point operations of a Gram matrix and its eigenvalues (2mn^2 + 4n^3/3)."""
    m, n = max(rows, columns), min(rows, columns)
    return 2.0 * m * n**2 + 4.0 * n**3 / 3


def solver_error(size: int, *, gram: bool) -> float:
    """Return a bound on the error of the singular values of matrices of this size, relative to the largest one.

    An SVD errs by a few units of float64. Squares hide what lies under the root of the unit, 1e-8, and err less above:
    still as good as an SVD in float32.
    """
    error = 4 * size**0.5 * torch.finfo(torch.float64).eps
    return error**0.5 if gram else error


def singular_values(matrices: Tensor, *, gram: bool) -> Tensor:
    """Return the singular values of each matrix.

    Parameters
    ----------
    matrices
        (num_matrices, m, n), floating.
    gram
        Whether to take roots of the eigenvalues of K K' rather than an SVD, both in float64; see ``solver_error``.

    Returns
    -------
    Tensor
        float64 (num_matrices, min(m, n)), decreasing.

    Raises
    ------
    NonFiniteError
        A matrix holds NaN or infinity.
    """
    if 0 in matrices.shape:
        return matrices.new_zeros(len(matrices), min(matrices.shape[1:]), dtype=torch.float64)
    if not gram:
        check_finite(matrices)
        return _svdvals(matrices.double())
    grams = gram_of(matrices if matrices.shape[1] <= matrices.shape[2] else matrices.mT)
    check_finite(grams)  # of the same rows as the matrices, and smaller
    return from_gram(grams)


def gram_of(matrices: Tensor) -> Tensor:
    """Return K K' in float64, (num_matrices, m, m), without ever holding all of K in float64."""
    num_matrices, rows, columns = matrices.shape
    result = torch.zeros(num_matrices, rows, rows, dtype=torch.float64, device=matrices.device)
    few = max(1, _SLICE // (rows * columns))
    width = max(1, 8 * _SLICE // rows)
    for start in range(0, num_matrices, few):
        part = matrices[start : start + few]
        for first in range(0, columns, width):
            block = part[:, :, first : first + width].double()
            result[start : start + few].baddbmm_(block, block.mT)
    return result


def from_gram(grams: Tensor) -> Tensor:
    """Return the roots of the eigenvalues of `grams`, (num, m, m) float64, decreasing."""
    return _eigvalsh(grams).flip(1).clamp_(min=0).sqrt_()


def check_finite(matrices: Tensor) -> None:
    """Raise NonFiniteError where `matrices` hold NaN or infinity: LAPACK may hide them, or hang."""
    if any(not bool(part.isfinite().all()) for matrix in matrices.split(256) for part in matrix.split(4096, dim=2)):
        raise NonFiniteError("`model` must have finite Jacobians; one holds NaN or infinity."
                             " Check the inputs and the scale of the weights.")


def _eigvalsh(grams: Tensor) -> Tensor:
    if grams.device.type == "cuda" and grams.shape[1] > 32 and len(grams) > 1 and not batched_on(grams.device):
        return _eigvalsh(grams.cpu()).to(grams.device)
    try:
        return threaded(torch.linalg.eigvalsh, grams, 4.0 * grams.shape[1] ** 3 / 3)
    except torch.linalg.LinAlgError:  # seen on repeated eigenvalues; for K K' the SVD gives the same
        return _svdvals(grams).flip(1)


def _svdvals(matrices: Tensor) -> Tensor:
    if matrices.device.type == "cuda" and min(matrices.shape[1:]) > 32 and len(matrices) > 1:
        return _svdvals(matrices.cpu()).to(matrices.device)  # the CUDA routines loop over matrices of this size
    return threaded(_svdvals_of_few, matrices, svd_operations(*matrices.shape[1:]))


def _svdvals_of_few(matrices: Tensor) -> Tensor:
    try:
        return torch.linalg.svdvals(matrices)
    except torch.linalg.LinAlgError:  # divide and conquer can fail on repeated values (pytorch#28293); QR does not
        solved = [scipy.linalg.svd(m, compute_uv=False, lapack_driver="gesvd") for m in matrices.cpu().numpy()]
        return torch.from_numpy(np.stack(solved)).to(matrices.device)


@cache
def batched_on(device: torch.device) -> bool:
    """Whether eigvalsh of matrices larger than 32 runs as one batch on a CUDA `device`, found by a short trial.

    Before torch 2.12, or with an older cuSOLVER, it loops over the matrices (pytorch#175585).
    """
    times = []
    for size in (32, 33):
        matrices = torch.eye(size, dtype=torch.float64, device=device).repeat(256, 1, 1)
        torch.linalg.eigvalsh(matrices)
        torch.cuda.synchronize(device)
        begin = time.perf_counter()
        torch.linalg.eigvalsh(matrices)
        torch.cuda.synchronize(device)
        times.append(time.perf_counter() - begin)
    return times[1] < 8 * times[0]
