"""Many small decompositions at once: a thread pool with one BLAS thread each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from torch import Tensor

_UNINTERRUPTED = 2e9  # operations of one call, a fraction of a second, so that an interruption is heard soon
_WORTH_A_THREAD = 2e6  # operations below which starting threads costs more than it gains
_PARTS_PER_THREAD = 4  # for balance


def threaded(function: Callable[[Tensor], Tensor], matrices: Tensor, operations_per_matrix: float) -> Tensor:
    """Return ``function(matrices)`` for a `function` that treats the matrices of a batch one by one.

    Parameters
    ----------
    function
        (few, m, n) -> (few, ...), releasing the interpreter lock as torch.linalg does.
    matrices
        (num_matrices, m, n).
    operations_per_matrix
        Floating-point operations, from which the slices follow.
    """
    return threaded_slices(lambda which: function(matrices[which]), len(matrices), operations_per_matrix,
                           matrices.device)


def threaded_slices(function: Callable[[slice], Tensor], count: int, operations_each: float,
                    device: torch.device) -> Tensor:
    """Return what `function` gives for slices of 0 to `count`, one after the other.

    LAPACK works through a batch serially, and several threads inside one small matrix cost more than they gain; so
    the batch is split over as many threads as torch uses, one BLAS thread each. Work for other devices than the CPU
    is given to `function` in slices, without threads.
    """
    few = max(1, int(_UNINTERRUPTED / max(1.0, operations_each)))
    num_threads = torch.get_num_threads()
    total = count * operations_each
    if device.type != "cpu" or num_threads == 1 or count < num_threads or total < _WORTH_A_THREAD:
        parts = [function(which) for which in slices(count, few)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)
    few = min(few, -(-count // (num_threads * _PARTS_PER_THREAD)))
    with one_blas_thread(), ThreadPoolExecutor(num_threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        futures = [pool.submit(function, which) for which in slices(count, few)]
        try:
            return torch.cat([future.result() for future in futures])
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def slices(count: int, few: int) -> list[slice]:
    """Return slices of `few` that cover 0 to `count`, at least one."""
    return [slice(start, min(count, start + few)) for start in range(0, max(1, count), few)]


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Use one thread inside every operation of the block: for many small steps, where waiting costs more than it gains.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
