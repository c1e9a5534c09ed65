"""Several test processes at once have one thread each; every test starts from the same random state."""

import os

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # read as torch and NumPy are imported, and by the processes that tests start
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@pytest.fixture(autouse=True)
def same_random_state():
    """Seed what modules draw their first weights from, so that a test does not pass one day and fail the next."""
    import torch

    torch.manual_seed(0)
