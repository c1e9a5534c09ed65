"""A sweep over networks is what single calls find, and goes on where it stopped."""

import pandas as pd
import pytest

import jacprobe as jp
from jacprobe.errors import ArgumentError, DataError, UnknownNameError
from jacprobe.experiments.grid import grid_cells
from jacprobe.experiments.sweeping import Store

GRID = {"network": "mlp-3-tanh", "data": "digits", "method": "snip", "sparsity": [0.0, 0.5, 0.9], "num_images": 20}


def sweep(grid, folder, **options):
    return jp.sweep(grid, folder=folder, backend="serial", progress=False, **options)


def test_the_rows_are_what_spectra_finds(tmp_path):
    outcome = sweep(GRID, tmp_path / "sweep")
    assert (outcome.done, outcome.failed) == (3, 0), outcome.failures["traceback"].tolist()
    train, _ = jp.training.split_validation(jp.load_data("digits"), share=0.1, seed=0)
    for sparsity, mean in zip(outcome.rows["sparsity"], outcome.rows["mean"], strict=True):
        net = jp.initialize(jp.build("mlp-3-tanh", input_shape=(1, 8, 8), num_classes=10), "orthogonal", seed=0)
        masks = jp.prune(net, "snip", sparsity=sparsity, data=tuple(train), prunable="paper", batch_norm="paper")
        found = jp.spectra(masks.apply(net), train[0][:20], kind="end_to_end")
        assert mean == pytest.approx(found.end_to_end.mean, rel=1e-5)


def test_a_larger_sweep_of_the_same_folder_measures_what_is_new(tmp_path):
    sweep(GRID, tmp_path / "sweep")
    more = sweep(GRID, tmp_path / "sweep", seeds=2)
    assert (more.done, more.skipped) == (3, 3)
    assert len(jp.read_sweep(tmp_path / "sweep")) == len(more.rows) == 6


def test_another_device_in_the_same_folder_is_refused(tmp_path):
    Store.open(tmp_path / "sweep", facts={"device": "cuda"})
    with pytest.raises(ArgumentError, match="has device 'cuda', not 'cpu'"):
        sweep(GRID, tmp_path / "sweep")


@pytest.mark.parametrize("device", ["tpu", "cuda:99", 3])
def test_a_device_that_is_not_here_is_refused_before_any_cell(tmp_path, device):
    with pytest.raises(UnknownNameError, match="`device` must be one of cpu"):
        sweep(GRID, tmp_path / "sweep", device=device)
    assert not (tmp_path / "sweep").exists()


def test_data_that_are_nowhere_are_refused_before_any_cell(tmp_path):
    with pytest.raises(DataError, match="`root` must hold mnist"):
        sweep({**GRID, "data": "mnist"}, tmp_path / "sweep", data_root=tmp_path / "nothing")
    assert not (tmp_path / "sweep").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "desk"}, "`backend` must be one of serial, processes, dask, ray; got 'desk'"),
        ({"jobs": 0}, "`jobs` must be a number of processes; got 0"),
        ({"backend": "dask", "address": "tcp://nowhere:1", "jobs": 2}, "`jobs` must be left out with an address"),
    ],
    ids=["a backend", "jobs", "jobs of a cluster"],
)
def test_a_backend_is_checked_before_the_data_are_looked_for(tmp_path, options, message):
    with pytest.raises((UnknownNameError, ArgumentError), match=message):
        jp.sweep({**GRID, "data": "mnist"}, folder=tmp_path / "sweep", data_root=tmp_path / "nothing", **options)
    assert not (tmp_path / "sweep").exists()


def test_a_sweep_that_is_done_needs_no_data_any_more(tmp_path):
    grid, folder = {**GRID, "data": "mnist", "sparsity": 0.5}, tmp_path / "sweep"
    (cell,) = grid_cells(grid, measure="spectra", seeds=None)
    Store.open(folder, facts={"device": "cpu"}).write(cell, pd.DataFrame({"mean": [1.0]}))
    outcome = sweep(grid, folder, data_root=tmp_path / "nothing")
    assert (outcome.done, outcome.skipped, outcome.failed) == (0, 1, 0)
    with pytest.raises(DataError, match="`root` must hold mnist"):
        sweep({**grid, "sparsity": [0.5, 0.9]}, folder, data_root=tmp_path / "nothing")


def test_cells_whose_data_are_there_are_measured(tmp_path):
    grid = {**GRID, "data": ["digits", "mnist"], "sparsity": 0.5}
    outcome = sweep(grid, tmp_path / "sweep", data_root=tmp_path / "nothing")
    assert (outcome.done, outcome.failed) == (1, 1)
    assert outcome.failures["error"].iloc[0].startswith("DataError: `root` must hold mnist")


def test_a_folder_without_a_sweep_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match=r"store.json` must be the facts of a sweep; .*Choose another folder"):
        jp.read_sweep(tmp_path)
