"""Several test processes at once have one thread each."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:  # read as torch and NumPy are imported, and by the processes that tests start
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
