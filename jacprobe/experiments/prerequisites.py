"""What must be there before cells are measured: the device and the data sets."""

from __future__ import annotations

import os
from collections.abc import Iterable

import torch

from jacprobe.data import load_data
from jacprobe.devices import check_device
from jacprobe.errors import DataError
from jacprobe.experiments.sweeping import Cell


def device_kind(device: str | None, address: str | None) -> str:
    """Return the kind of device that results are labelled with, such as "cuda", after a check that it is here.

    On a cluster with an address it is the workers that have it.

    Raises
    ------
    UnknownNameError
        This machine has no such device.
    """
    if address is None:
        check_device(device, torch.device("cpu"))
    return "cpu" if device is None else str(device).partition(":")[0]


def data_of(cell: Cell) -> set[str]:
    """Return the names of the data sets that a cell reads."""
    return {cell.settings[name] for name in ("data", "scored_on") if name in cell.settings}


def missing_data(cells: Iterable[Cell], data_root: str | os.PathLike | None) -> dict[str, str]:
    """Return why data sets cannot be read, by name; what can be downloaded is there afterwards.

    Raises
    ------
    DataError
        No cell has its data.
    """
    needed = [data_of(cell) for cell in cells]
    missing = {}
    for name in sorted(set().union(*needed)):
        try:
            load_data(name, num=1, root=data_root)
        except DataError as error:
            missing[name] = str(error)
    if needed and all(missing.keys() & names for names in needed):
        raise DataError(next(iter(missing.values())))
    return missing
