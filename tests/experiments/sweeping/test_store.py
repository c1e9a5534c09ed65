"""A folder of cells: whole files, never overwritten, of one kind."""

import errno
import json
import multiprocessing
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest

import jacprobe
from jacprobe.errors import ArgumentError, DataError, OutputError
from jacprobe.experiments import Cell, Store

FACTS = {"device": "cpu"}


def cell(x, **settings):
    return Cell("m", {"x": x, **settings})


def frame(value=1.0):
    return pd.DataFrame({"mean": [value, 2.0], "layer": ["a", "b"]})


@pytest.fixture
def store(tmp_path):
    return Store.open(tmp_path / "sweep", facts=FACTS)


def test_rows_are_the_settings_and_what_was_measured(store):
    assert store.write(cell(1, gamma=None), frame(0.5))
    assert store.write(cell(2, gamma=0.1), frame(0.25))
    expected = pd.DataFrame({"measure": ["m"] * 4, "x": [2, 2, 1, 1], "gamma": [0.1, 0.1, np.nan, np.nan],
                             "mean": [0.25, 2.0, 0.5, 2.0], "layer": ["a", "b", "a", "b"]})
    pd.testing.assert_frame_equal(store.rows([cell(2, gamma=0.1), cell(9), cell(1, gamma=None)]), expected)
    assert store.rows()["x"].tolist() == [2, 2, 1, 1]  # "0.1" comes before "null"


def test_cells_of_several_measures_have_all_columns(store):
    store.write(Cell("a", {"x": 1}), pd.DataFrame({"count": [3]}))
    store.write(Cell("b", {"y": "t"}), pd.DataFrame({"count": [0.5], "name": ["n"]}))
    store.write(Cell("c", {}), pd.DataFrame({"count": ["many"]}))
    store.write(Cell("d", {}), pd.DataFrame({"count": []}))
    rows = store.rows()
    assert rows.columns.tolist() == ["measure", "x", "y", "count", "name"]
    assert rows["count"].tolist() == [3, 0.5, "many"]


def test_a_setting_named_as_a_measured_column_is_told_apart(store):
    store.write(cell(1, mean="geometric"), frame())
    assert store.rows().columns.tolist() == ["measure", "x", "settings.mean", "mean", "layer"]


def test_an_empty_store_has_empty_tables(store):
    assert len(store.rows()) == len(store.failures()) == 0
    assert store.rows().columns.tolist() == ["measure"]
    assert store.failures().columns.tolist() == ["measure", "error", "traceback"]


def test_settings_stand_in_the_file_of_a_cell(store):
    store.write(cell(1), frame())
    (path,) = store.folder.glob("cells/*.parquet")
    assert path.stem == cell(1).digest
    metadata = pyarrow.parquet.read_schema(path).metadata
    assert json.loads(metadata[b"jacprobe.cell"]) == {"measure": "m", "settings": {"x": 1}}
    pd.testing.assert_frame_equal(pd.read_parquet(path), frame())


def test_the_first_result_of_a_cell_stays(store):
    assert store.write(cell(1), frame(1.0))
    assert not store.write(cell(1), frame(9.0))
    assert store.rows()["mean"].tolist() == [1.0, 2.0]


def test_the_first_result_stays_where_another_process_writes_it_meanwhile(store, monkeypatch):
    answers = iter([False])
    Store.open(store.folder, facts=FACTS).write(cell(1), frame(1.0))
    done = Store.done
    monkeypatch.setattr(Store, "done", lambda self, which: next(answers, None) is None and done(self, which))
    assert not store.write(cell(1), frame(9.0))
    assert store.rows([cell(1)])["mean"].tolist() == [1.0, 2.0]


def test_a_failure_is_kept_until_the_cell_is_done(store):
    store.fail(cell(1), "ValueError: no", "Traceback ...")
    store.fail(cell(1), "ValueError: no again", "Traceback ...")
    (row,) = store.failures().to_dict("records")
    assert row == {"measure": "m", "x": 1, "error": "ValueError: no again", "traceback": "Traceback ..."}
    assert not store.done(cell(1)) and len(store.failures([cell(2)])) == 0
    store.write(cell(1), frame())
    assert len(store.failures()) == 0
    store.fail(cell(1), "too late")
    assert len(store.failures()) == 0 and store.done(cell(1))


def test_scratch_files_go_when_the_cell_is_done(store):
    store.scratch(cell(1)).mkdir()
    (store.scratch(cell(1)) / "checkpoint").touch()
    store.fail(cell(1), "half way")
    assert (store.scratch(cell(1)) / "checkpoint").exists()
    store.write(cell(1), frame())
    assert not store.scratch(cell(1)).exists()


def test_a_store_is_found_again_and_refuses_to_begin_anew(store):
    store.write(cell(1), frame())
    again = Store.open(store.folder, facts=FACTS)
    assert again == store and again.done(cell(1)) and not again.done(cell(2))
    with pytest.raises(ArgumentError, match="`folder` must be new or empty; .* holds a sweep"):
        Store.open(store.folder, facts=FACTS, resume=False)


@pytest.mark.parametrize(
    ("facts", "difference"),
    [({"device": "cuda"}, "has device 'cpu', not 'cuda'"), ({}, "has device 'cpu', not None"),
     ({**FACTS, "data": "x" * 99}, "has data None, not 'xxx.*xx...")],
    ids=["another value", "one fact less", "one fact more, shortened"],
)
def test_other_facts_are_refused_by_the_name_of_the_difference(store, facts, difference):
    with pytest.raises(ArgumentError, match=f"`folder` must hold a sweep of the same facts; .*{difference}"):
        Store.open(store.folder, facts=facts)


@pytest.mark.parametrize(("name", "shown"), [("format", "format 0, not 1"), ("jacprobe", "jacprobe version 0, not")])
def test_other_versions_are_refused_by_name(store, name, shown):
    path = store.folder / "store.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: 0}))
    with pytest.raises(ArgumentError, match=f"has {shown}"):
        Store.open(store.folder, facts=FACTS)


def test_the_facts_of_a_store_name_its_version(store):
    found = json.loads((store.folder / "store.json").read_text())
    assert found["jacprobe"] == jacprobe.__version__ and found["facts"] == FACTS


def test_a_folder_of_other_things_is_refused(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(OutputError, match="`folder` must be new, empty or hold a sweep; .* holds other files"):
        Store.open(tmp_path, facts=FACTS)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="`folder` must be a folder that can be written; got .*: File exists"):
        Store.open(tmp_path / "file", facts=FACTS)


@pytest.mark.parametrize("text", ["{", '{"facts": {}}', '{"identity": 3, "facts": {}}', "[]"])
def test_a_store_without_its_facts_is_refused(store, text):
    (store.folder / "store.json").write_text(text)
    with pytest.raises(DataError, match=r"store.json` must be the facts of a sweep; .* Choose another folder"):
        Store.open(store.folder, facts=FACTS)


def test_a_damaged_result_is_named(store):
    store.write(cell(1), frame())
    (path,) = store.folder.glob("cells/*")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=f"{path.name}` must be a whole file of a sweep; .* Delete it and run"):
        store.rows()


def test_a_damaged_failure_is_named(store):
    store.fail(cell(1), "no")
    (path,) = store.folder.glob("failed/*")
    path.write_text("{")
    with pytest.raises(DataError, match=f"{path.name}` must be a whole file of a sweep; .* Delete it and run"):
        store.failures()


@pytest.mark.parametrize(
    ("value", "message"),
    [([1], "`measure` must return a DataFrame; got list"),
     (pd.DataFrame({"a": [1, "b"]}), "`measure` must return columns of one type each; .* Use numbers and texts")],
    ids=["a list", "a column of two types"],
)
def test_a_result_that_no_file_can_hold_is_refused(store, value, message):
    with pytest.raises(ArgumentError, match=message):
        store.write(cell(1), value)
    assert not store.done(cell(1)) and list(store.folder.glob("cells/*")) == []


def test_a_full_disk_is_one_line_and_leaves_nothing(store, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match=r"\.parquet` could not be written: No space left on device\."):
        store.write(cell(1), frame())
    assert not store.done(cell(1)) and list(store.folder.glob("cells/*")) == []


def _open_and_write(folder, number):
    store = Store.open(folder, facts=FACTS)
    return [store.write(cell(x), frame(float(number))) for x in range(40)]


def test_processes_that_make_and_fill_one_folder_at_once_write_each_cell_once(tmp_path):
    with multiprocessing.get_context("fork").Pool(4) as pool:
        written = pool.starmap(_open_and_write, [(tmp_path / "sweep", number) for number in range(4)])
    assert np.sum(written, axis=0).tolist() == [1] * 40
    rows = Store.open(tmp_path / "sweep", facts=FACTS).rows()
    assert len(rows) == 80
    for x in range(40):
        (winner,) = [number for number in range(4) if written[number][x]]
        assert rows.query("x == @x and layer == 'a'")["mean"].tolist() == [winner]
