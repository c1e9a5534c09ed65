"""Where attempts are made, by name."""

from __future__ import annotations

from jacprobe.experiments.sweeping.daskcluster import dask_attempts
from jacprobe.experiments.sweeping.processes import process_attempts, serial_attempts
from jacprobe.experiments.sweeping.raycluster import ray_attempts

BACKENDS = {"serial": serial_attempts, "processes": process_attempts, "dask": dask_attempts, "ray": ray_attempts}
