"""Cells are measured once, failures stop nothing, and what is recorded stays."""

import os
import signal
import subprocess
import sys
import textwrap
import time
import types

import pandas as pd
import pytest
from small_measures import (
    continued,
    killed_at_three,
    process_and_threads,
    square,
    square_unless_three,
    times_computed,
)

import jacprobe.experiments.sweeping.attempt
from jacprobe.errors import ArgumentError, OutputError, UnknownNameError
from jacprobe.experiments import Cell, Store, run_cells

BOTH = pytest.mark.parametrize("backend", ["serial", "processes"])


@pytest.fixture
def store(tmp_path):
    return Store.open(tmp_path / "sweep", facts={})


@pytest.fixture
def log(tmp_path):
    (tmp_path / "log").mkdir()
    return str(tmp_path / "log")


def cells(num, **settings):
    return [Cell("m", {"x": x, **settings}) for x in range(num)]


def environment():
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def run(given, store, measure=square, *, backend="serial", **options):
    jobs = {"jobs": 2} if backend == "processes" else {}
    return run_cells(given, store, measure, backend=backend, **{"progress": False, **jobs, **options})


@BOTH
def test_every_cell_is_measured_once_and_found_by_the_next_run(store, log, backend):
    outcome = run(cells(5, log=log) + cells(5, log=log), store, backend=backend)
    assert (outcome.done, outcome.failed, outcome.skipped, len(outcome.cells)) == (5, 0, 0, 5)
    again = run(cells(7, log=log), store, backend=backend)
    assert (again.done, again.failed, again.skipped) == (2, 0, 5)
    assert times_computed(log) == dict.fromkeys(range(7), 1)
    assert again.rows["square"].tolist() == [0, 1, 4, 9, 16, 25, 36]
    assert outcome.rows["x"].tolist() == list(range(5)) and len(outcome.failures) == 0


@BOTH
def test_a_cell_that_raises_is_recorded_and_the_others_go_on(store, log, backend):
    outcome = run(cells(5, log=log), store, square_unless_three, backend=backend)
    assert (outcome.done, outcome.failed) == (4, 1)
    (failure,) = outcome.failures.to_dict("records")
    assert failure["x"] == 3 and failure["error"] == "ValueError: three is not for us"
    assert "small_measures.py" in failure["traceback"]
    mended = run(cells(5, log=log), store, square, backend=backend)
    assert (mended.done, mended.failed, mended.skipped, len(mended.failures)) == (1, 0, 4, 0)


def test_a_function_of_the_notebook_runs_in_other_processes(store):
    def cube(cell, scratch):
        return pd.DataFrame({"cube": [cell.settings["x"] ** 3]})

    assert run(cells(3), store, cube, backend="processes").rows["cube"].tolist() == [0, 1, 8]


def test_a_function_that_other_processes_cannot_import_is_a_failure_that_says_so(store, monkeypatch):
    module = types.ModuleType("nowhere")
    exec("def measure(cell, scratch): pass", vars(module))
    monkeypatch.setitem(sys.modules, "nowhere", module)
    outcome = run(cells(2), store, module.measure, backend="processes")
    assert outcome.failures["error"].tolist() == [
        "`measure` must be a function that other processes can import; ModuleNotFoundError: No module named 'nowhere'."
        " Put it into a module."] * 2


def test_processes_are_others_with_one_thread_each(store):
    rows = run(cells(4), store, process_and_threads, backend="processes").rows
    assert os.getpid() not in set(rows["process"])
    assert set(rows["threads"]) == {1} and set(rows["openmp"]) == {"1"}


def test_a_table_that_no_file_can_hold_is_a_failure(store):
    outcome = run(cells(2), store, lambda cell, scratch: cell.settings["x"])
    assert outcome.failures["error"].tolist() == [
        f"ArgumentError: `measure` must return a DataFrame; got int of Cell(m: x {x}). Return one." for x in range(2)]


def test_a_measure_that_exits_is_a_failure(store):
    assert run(cells(1), store, lambda cell, scratch: sys.exit(3)).failures["error"].tolist() == ["SystemExit: 3"]


def test_another_version_of_the_worker_is_a_failure(store, monkeypatch):
    attempting = jacprobe.experiments.sweeping.attempt.Attempting.of(square, store, num_threads=None)
    monkeypatch.setattr(jacprobe.experiments.sweeping.attempt, "__version__", "9.9")
    with pytest.raises(ArgumentError, match=r"workers with jacprobe 0.* one has 9\.9\. Install the same version there"):
        raise ArgumentError(attempting(cells(1)[0]).failure.error)


@BOTH
def test_the_next_try_finds_the_files_of_the_last(store, backend):
    assert run(cells(2), store, continued, backend=backend).failed == 2
    assert run(cells(2), store, continued, backend=backend).rows["went_on"].tolist() == [True, True]
    assert list((store.folder / "scratch").iterdir()) == []


def test_a_worker_that_does_not_see_the_store_has_an_empty_folder_each_time(store):
    attempting = jacprobe.experiments.sweeping.attempt.Attempting(continued, store.folder, "another identity")
    for _ in range(2):
        assert attempting(cells(1)[0]).failure.error == "RuntimeError: half way"


def test_two_tries_at_one_cell_at_once_do_not_share_files(store):
    folders = []

    def nested(cell, scratch):
        folders.append(scratch)
        if len(folders) == 1:
            jacprobe.experiments.sweeping.attempt.Attempting.of(nested, store, num_threads=None)(cell)
        return pd.DataFrame({"x": [1]})

    run(cells(1), store, nested)
    assert folders[0] == store.scratch(cells(1)[0]).absolute() != folders[1]


def test_a_store_that_cannot_be_written_stops_the_sweep_in_one_line(store, monkeypatch):
    def refuse(*_):
        raise OutputError("`x` could not be written: No space left on device.")

    monkeypatch.setattr(Store, "write", refuse)
    with pytest.raises(OutputError, match="No space left"):
        run(cells(5), store)


@pytest.mark.parametrize("times", [1, 99], ids=["once", "each time"])
def test_a_killed_process_loses_no_other_cell(store, log, times):
    outcome = run(cells(9, log=log, times=times), store, killed_at_three, backend="processes")
    if times == 1:
        assert (outcome.done, outcome.failed) == (9, 0)
    else:
        assert (outcome.done, outcome.failed) == (8, 1)
        assert outcome.failures["x"].tolist() == [3]
        assert outcome.failures["error"].tolist() == [
            "its process was killed each time; the machine may have too little memory for it"]
    assert outcome.rows["x"].tolist() == [x for x in range(9) if times == 1 or x != 3]


def test_two_runs_of_one_folder_at_once_agree(store, tmp_path):
    code = textwrap.dedent("""
        import sys, time
        from pathlib import Path
        from small_measures import slow
        from jacprobe.experiments import Cell, Store, run_cells

        def together(cell, scratch):
            mine, other = (Path(f"{sys.argv[1]}-{number}") for number in (sys.argv[2], 1 - int(sys.argv[2])))
            mine.touch()
            while not other.exists():  # both have looked what there is to do
                time.sleep(0.01)
            return slow(cell, scratch)

        given = [Cell("m", {"x": x, "seconds": 0.02}) for x in range(30)]
        outcome = run_cells(given, Store.open(sys.argv[1], facts={}), together, backend="serial", progress=False)
        print(outcome.done, outcome.failed, outcome.skipped, outcome.rows["square"].sum())
    """)
    runs = [subprocess.Popen([sys.executable, "-c", code, str(store.folder), str(number)], stdout=subprocess.PIPE,
                             text=True, env=environment()) for number in range(2)]
    assert [process.communicate(timeout=100)[0] for process in runs] == [f"30 0 0 {29 * 30 * 59 // 6}\n"] * 2
    assert len(list(store.folder.glob("cells/*"))) == len(store.rows()) == 30 and len(store.failures()) == 0
    assert list((store.folder / "scratch").iterdir()) == []


@pytest.mark.parametrize("backend", ["serial", "processes"])
def test_control_c_keeps_what_is_finished(store, backend):
    code = textwrap.dedent("""
        import sys
        from small_measures import slow
        from jacprobe.experiments import Cell, Store, run_cells
        given = [Cell("m", {"x": x, "seconds": 0.3 if x < 4 else 60}) for x in range(9)]
        jobs = {"jobs": 2} if sys.argv[2] == "processes" else {}
        try:
            run_cells(given, Store.open(sys.argv[1], facts={}), slow, backend=sys.argv[2], progress=False, **jobs)
        except KeyboardInterrupt:
            print("interrupted")
    """)
    process = subprocess.Popen([sys.executable, "-c", code, str(store.folder), backend], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, start_new_session=True,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
                               env=environment())
    end = time.monotonic() + 100
    while len(list(store.folder.glob("cells/*.parquet"))) < 4 and time.monotonic() < end:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
    out, err = process.communicate(timeout=60)
    assert out == "interrupted\n" and err == ""
    assert sorted(store.rows()["x"]) == [0, 1, 2, 3] and len(store.failures()) == 0


def test_an_outcome_fits_one_line(store):
    text = repr(run(cells(5), store, square_unless_three))
    assert text.startswith("Outcome of 5 cells in '") and text.endswith(" 0 there already, 1 failed (see .failures)")


def test_progress_is_shown_on_stderr(store, capsys):
    run(cells(5), store, square_unless_three, progress=True)
    out, err = capsys.readouterr()
    assert out == "" and "sweep: 100%" in err and "5/5" in err and "failed=1" in err


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"backend": "desk"}, UnknownNameError, "`backend` must be one of serial, processes, dask, ray; got 'desk'"),
        ({"jobs": 0}, ArgumentError, "`jobs` must be a number of processes; got 0"),
        ({"jobs": True}, ArgumentError, "`jobs` must be a number of processes; got True"),
        ({"address": "a:1"}, ArgumentError, "`address` must come with a cluster; got 'a:1' for the backend serial"),
        ({"backend": "dask", "address": "a:1", "jobs": 2}, ArgumentError, "`jobs` must be left out with an address"),
    ],
    ids=["an unknown backend", "no jobs", "jobs that are no number", "an address of no cluster", "jobs elsewhere"],
)
def test_options_that_do_not_fit_are_refused(store, options, error, message):
    with pytest.raises(error, match=message):
        run(cells(1), store, **options)
