"""Cells on a Dask cluster of two workers: some are killed, some do not answer."""

import builtins
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from small_measures import killed_at_three, process_and_threads, slow, square_unless_three, times_computed

from jacprobe.errors import ClusterError
from jacprobe.experiments import Cell, Store, run_cells

pytest.importorskip("distributed")
from distributed import LocalCluster


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs="CRITICAL") as found:
        yield found


@pytest.fixture
def store(tmp_path):
    return Store.open(tmp_path / "sweep", facts={})


@pytest.fixture
def log(tmp_path):
    (tmp_path / "log").mkdir()
    return str(tmp_path / "log")


def cells(num, **settings):
    return [Cell("m", {"x": x, **settings}) for x in range(num)]


def run(given, store, measure, **options):
    return run_cells(given, store, measure, backend="dask", progress=False, **options)


def test_cells_run_on_the_workers_and_failures_come_back(cluster, store):
    outcome = run(cells(9), store, square_unless_three, address=cluster.scheduler_address)
    assert (outcome.done, outcome.failed) == (8, 1)
    assert outcome.rows["square"].tolist() == [x * x for x in range(9) if x != 3]
    assert outcome.failures["error"].tolist() == ["ValueError: three is not for us"]


def test_without_an_address_workers_are_started_here(store):
    rows = run(cells(4), store, process_and_threads, jobs=2).rows
    assert os.getpid() not in set(rows["process"]) and set(rows["threads"]) == {1}


def test_a_worker_killed_on_the_way_loses_nothing_and_records_nothing_twice(cluster, store, log):
    def kill_one_of_them():
        while len(list(store.folder.glob("cells/*"))) < 3:
            time.sleep(0.02)
        os.kill(min(worker.pid for worker in cluster.workers.values()), signal.SIGKILL)

    killer = threading.Thread(target=kill_one_of_them, daemon=True)
    killer.start()
    outcome = run(cells(16, seconds=0.2, log=log), store, slow, address=cluster.scheduler_address)
    killer.join()
    assert (outcome.done, outcome.failed, outcome.skipped) == (16, 0, 0)
    assert outcome.rows["x"].tolist() == list(range(16)) and len(list(store.folder.glob("cells/*"))) == 16
    assert all(times >= 1 for times in times_computed(log).values()) and len(times_computed(log)) == 16


def test_a_cell_that_kills_each_of_its_workers_fails_alone(cluster, store, log):
    outcome = run(cells(8, log=log), store, killed_at_three, address=cluster.scheduler_address)
    assert (outcome.done, outcome.failed) == (7, 1)
    assert outcome.failures["x"].tolist() == [3]
    assert outcome.failures["error"][0].startswith("its process was killed each time")


def test_a_cluster_that_lost_its_workers_for_good_ends_the_sweep_in_one_line(store, monkeypatch):
    monkeypatch.setattr("jacprobe.experiments.sweeping.daskcluster.WITHOUT_WORKERS", 2)
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0", silence_logs="CRITICAL") as found:

        def dismiss():
            while not list(store.folder.glob("cells/*")):
                time.sleep(0.02)
            found.scale(0)

        dismissal = threading.Thread(target=dismiss, daemon=True)
        dismissal.start()
        with pytest.raises(ClusterError, match=r"`backend` must keep workers; the Dask cluster at 'tcp.* none for 2 s"):
            run(cells(20, seconds=0.3), store, slow, address=found.scheduler_address)
        dismissal.join()
    assert 1 <= len(store.rows()) < 20 and len(store.failures()) == 0


def test_a_scheduler_that_goes_away_ends_the_sweep_in_one_line(store):
    process = subprocess.Popen([sys.executable, "-c", _SCHEDULER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                               text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    address = process.stdout.readline().strip()

    def kill():
        while not list(store.folder.glob("cells/*")):
            time.sleep(0.02)
        process.kill()

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    with pytest.raises(ClusterError, match="`address` must lead to a Dask scheduler that stays; 'tcp.* went away"):
        run(cells(20, seconds=0.3), store, slow, address=address)
    killer.join()
    process.wait()
    process.stdout.close()
    assert 1 <= len(store.rows()) < 20 and len(store.failures()) == 0


_SCHEDULER = """
import time
from distributed import LocalCluster
with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0", processes=False,
                  protocol="tcp") as cluster:
    print(cluster.scheduler_address, flush=True)
    time.sleep(100)
"""


@pytest.mark.parametrize(
    ("address", "reason"),
    [("127.0.0.1:9", "Connection refused"), ("nowhere", "missing port number"), ("nowhere.invalid:8786", "not known|")],
    ids=["nothing listens", "no port", "no such host"],
)
def test_an_address_without_a_scheduler_is_refused_in_one_line(store, address, reason):
    with pytest.raises(ClusterError, match=f"`address` must lead to a Dask scheduler with workers; got .*{reason}"):
        run(cells(1), store, slow, address=address)


def test_a_scheduler_without_workers_is_refused_in_one_line(store, monkeypatch):
    monkeypatch.setattr("jacprobe.experiments.sweeping.daskcluster.WAIT", 1)
    with (LocalCluster(n_workers=0, dashboard_address=":0", silence_logs="CRITICAL") as empty,
          pytest.raises(ClusterError, match="scheduler with workers; got 'tcp.*: Only 0/1 workers arrived")):
        run(cells(1), store, slow, address=empty.scheduler_address)


@pytest.mark.parametrize(("backend", "library"), [("dask", "distributed"), ("ray", "ray")])
def test_a_backend_that_is_not_installed_says_what_to_install(store, monkeypatch, backend, library):
    real = builtins.__import__

    def without(name, *arguments, **options):
        if name.partition(".")[0] == library:
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ClusterError, match=rf"got '{backend}', which is not. Run pip install \"jacprobe\[cluster\]\""):
        run_cells(cells(1), store, slow, backend=backend, progress=False)
