"""Measure networks over a grid of settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from jacprobe.experiments.grid import grid_cells
from jacprobe.experiments.measures import measure_cell
from jacprobe.experiments.prerequisites import device_kind, missing_data
from jacprobe.experiments.sweeping import Outcome, Store, check_backend, run_cells


def sweep(grid: Mapping[str, Any], *, folder: str | os.PathLike, measure: str = "spectra", seeds: int | None = None,
          data_root: str | os.PathLike | None = None, device: str | None = None, backend: str = "processes",
          jobs: int | None = None, address: str | None = None, progress: bool | None = None) -> Outcome:
    """Measure a network for each combination of settings, and keep each result in a folder as soon as it is there.

    A sweep that was interrupted goes on where it stopped when it is called again, and one with more settings measures
    those alone. What fails is in ``.failures``, and is tried again by the next call.

    Parameters
    ----------
    grid
        For each setting a value, or a list of values. How the network is made: ``network`` (a name of `build`, with
        arguments as in "resnet-20?k=2"), ``data``, ``init``, ``gamma``, ``method`` (None for a dense one),
        ``score_loss``, ``sparsity``, ``prunable``, ``batch_norm``, ``scored_on``, ``num_scored``, ``pretraining``,
        ``control``, ``repair``, ``objective``, ``repair_steps``, ``reinit``, ``seed``; and settings of the measure.
    folder
        For the results; made if need be. All of them have the same device and version of jacprobe.
    measure
        "spectra" (a row per segment), "layers", "scores", "training" (a row per logged iteration), "patterns" or
        "sample".
    seeds
        Number of runs of each network, with the seeds 0, 1, ...
    data_root, device
        As in `load_data` and `spectra`; on a cluster, as its workers see them.
    backend, jobs
        "processes" of this machine (one per core, of one thread each), "serial", "dask" or "ray".
    address
        Of the cluster's scheduler; without one, "dask" and "ray" start workers on this machine.
    progress
        Whether to show a bar; None shows it on a terminal.

    Returns
    -------
    Outcome
        ``.rows`` (settings and measured columns), ``.failures``.

    Raises
    ------
    UnknownNameError
        A setting, measure, backend or device has no such name.
    ArgumentError, DtypeError
        A value is outside its domain, settings do not go together, or the folder has a sweep on another device or by
        another version.
    ClusterError, OutputError, DataError
        The cluster cannot be reached; the folder cannot be written, or is damaged; no cell has its data.

    Examples
    --------
    >>> import tempfile
    >>> grid = {"network": "mlp-3-tanh", "data": "digits", "method": "snip", "sparsity": [0, 0.9], "num_images": 10}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     rows = sweep(grid, folder=folder, backend="serial").rows
    >>> rows[["sparsity", "segment", "mean"]].round(1)
       sparsity     segment  mean
    0       0.0  end_to_end   0.5
    1       0.9  end_to_end   0.1
    """
    cells = grid_cells(grid, measure=measure, seeds=seeds)
    check_backend(backend, jobs, address)
    kind, root = device_kind(device, address), None if data_root is None else str(Path(data_root).absolute())
    if address is None:
        before = Store.read(folder) if (Path(folder) / "store.json").exists() else None
        missing_data([cell for cell in cells if before is None or not before.done(cell)], root)
    store = Store.open(folder, facts={"device": kind})
    return run_cells(cells, store, partial(measure_cell, data_root=root, device=device), backend=backend, jobs=jobs,
                     address=address, progress=progress)


def read_sweep(folder: str | os.PathLike) -> pd.DataFrame:
    """Return all rows that sweeps recorded in `folder`, as ``.rows`` of their outcomes.

    Raises
    ------
    DataError
        The folder holds no sweep, or a file is damaged.
    """
    return Store.read(folder).rows()
