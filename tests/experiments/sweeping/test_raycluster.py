"""Cells on a Ray cluster of this machine, where Ray is installed."""

import os
import signal

import pandas as pd
import pytest

from jacprobe.errors import ClusterError
from jacprobe.experiments import Cell, Store, run_cells

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module", autouse=True)
def cluster():
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.mark.slow
def test_cells_run_on_the_workers_and_a_killed_one_fails_alone(tmp_path):
    store = Store.open(tmp_path / "sweep", facts={})

    def measure(cell, scratch):
        x = cell.settings["x"]
        if x == 2:
            raise ValueError("two")
        if x == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return pd.DataFrame({"square": [x * x]})

    outcome = run_cells([Cell("m", {"x": x}) for x in range(6)], store, measure, backend="ray", progress=False)
    assert (outcome.done, outcome.failed) == (4, 2)
    assert outcome.rows["square"].tolist() == [0, 1, 16, 25]
    errors = outcome.failures["error"].tolist()
    assert errors[0] == "ValueError: two" and errors[1].startswith("its process was killed each time")
    assert ray.is_initialized()  # by the caller, whose it stays


def test_an_address_without_a_cluster_is_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    store = Store.open(tmp_path / "sweep", facts={})
    with pytest.raises(ClusterError, match="`address` must lead to a Ray cluster; got '127.0.0.1:9': .*Connection ref"):
        run_cells([Cell("m", {})], store, print, backend="ray", address="127.0.0.1:9", progress=False)
