"""Measures for sweeps that take no time, or are killed; functions of a module, as other processes need them."""

import os
import signal
import time
from pathlib import Path

import pandas as pd
import torch


def square(cell, scratch):
    """The square of the setting x, with a line in the folder `log` for each time it was computed."""
    x = cell.settings["x"]
    if "log" in cell.settings:
        with open(Path(cell.settings["log"]) / f"{x}", "a") as file:
            file.write(f"{os.getpid()}\n")
    return pd.DataFrame({"square": [x * x]})


def square_unless_three(cell, scratch):
    if cell.settings["x"] == 3:
        raise ValueError("three is\nnot for us")
    return square(cell, scratch)


def killed_at_three(cell, scratch):
    """The process of x = 3 is killed each time, or the first `times` times."""
    if cell.settings["x"] == 3:
        marks = Path(cell.settings["log"])
        number = len(list(marks.glob("killed-*")))
        if number < cell.settings.get("times", 99):
            (marks / f"killed-{number}").touch()
            time.sleep(0.5)  # Dask starts no other worker for one that dies while it starts
            os.kill(os.getpid(), signal.SIGKILL)
    return square(cell, scratch)


def slow(cell, scratch):
    time.sleep(cell.settings["seconds"])
    return square(cell, scratch)


def process_and_threads(cell, scratch):
    return pd.DataFrame({"process": [os.getpid()], "threads": [torch.get_num_threads()],
                         "openmp": [os.environ.get("OMP_NUM_THREADS", "")]})


def continued(cell, scratch):
    """Fails the first time, and finds at the second what it left."""
    found = (scratch / "checkpoint").exists()
    (scratch / "checkpoint").write_text("half")
    if not found:
        raise RuntimeError("half way")
    return pd.DataFrame({"went_on": [True]})


def times_computed(log):
    """How often each x was computed, by x."""
    return {int(path.name): len(path.read_text().splitlines()) for path in sorted(Path(log).glob("[0-9]*"))}
