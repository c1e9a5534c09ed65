"""A sweep on two processes against the same cells one after the other, and the cost of a cell that does nothing.

    python -m tests.benchmarks.sweep

Cells sleep: what is measured is how well the processes are kept busy, whatever else the machine does.
"""

import tempfile
import time
from pathlib import Path

import pandas as pd

from jacprobe.experiments import Cell, Store, run_cells

from .duel import options, record, seconds

NUM_PROCESSES = 2
EMPTY = 0.020  # seconds that a cell may cost beside its measure


def swept(num, duration, **how):
    """Sweep cells into a folder that is new."""

    def waiting(cell, scratch):  # here, so that it is sent as it is, not as a name
        time.sleep(cell.settings["seconds"])
        return pd.DataFrame({"x": [cell.settings["x"]]})

    with tempfile.TemporaryDirectory() as folder:
        cells = [Cell("waiting", {"x": x, "seconds": duration}) for x in range(num)]
        outcome = run_cells(cells, Store.open(Path(folder) / "sweep", facts={}), waiting, progress=False, **how)
        assert outcome.done == num, outcome.failures["error"].iloc[0]


def efficiency(given):
    num, duration = (4, 0.05) if given.small else (20, 1.0)
    found = seconds(lambda: swept(num, duration, jobs=NUM_PROCESSES))  # starting the processes included
    return record(given, "sweep-efficiency", claim=f"{num} cells of {duration:g} s by a sweep on two processes",
                  peer="half the seconds of the cells", ratio=num * duration / NUM_PROCESSES / found,
                  target=None if given.small else 0.8, errors={}, seconds={"jacprobe": found})


def cost(given):
    num = 8 if given.small else 200
    how = {"serial": {"backend": "serial"}, "processes": {"jobs": NUM_PROCESSES}}
    found = {}
    for name, arguments in how.items():
        swept(NUM_PROCESSES, 0.0, **arguments)  # starts the processes
        found[name] = min(seconds(lambda how=arguments: swept(num, 0.0, **how)) for _ in range(given.rounds))
    worst = max(found.values()) / num
    return record(given, "sweep-cost", claim="a cell that does nothing, with its file, serial or on two processes",
                  peer="20 ms", ratio=EMPTY / worst, target=None if given.small else 1.0, errors={},
                  seconds={name: value / num for name, value in found.items()})


def main(arguments=None):
    given = options(arguments, __doc__, rounds=3)
    return [efficiency(given), cost(given)]


if __name__ == "__main__":
    main()
