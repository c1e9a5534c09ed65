"""Scalars for TensorBoard, by a writer of the caller or, where it is installed, one of our own."""

import importlib.util

import pytest
from oracles import seeded_normal
from torch import nn

import jacprobe as jp
from jacprobe.errors import ArgumentError, OutputError

INPUTS = seeded_normal(3, 4)


class Notebook:
    """What a SummaryWriter is asked for, written down."""

    def __init__(self):
        self.scalars, self.texts = [], []

    def add_scalar(self, tag, value, step):
        self.scalars.append((tag, value, step))

    def add_text(self, tag, text):
        self.texts.append(text)


def test_a_writer_gets_every_known_value():
    writer = Notebook()
    monitor = jp.Monitor(nn.Linear(4, 2), INPUTS, every=1, max_share=None, method="moments", num_probes=2,
                         statistics=("mean", "mean_square"), tensorboard=writer, kind="modules")
    monitor.step()
    known = monitor.frame().dropna(subset="value")
    assert writer.scalars == [(f"mean_square/{s}", v, n) for s, v, n in known[["segment", "value", "step"]].values]
    assert len(writer.scalars) == 2 and "| factors + hutchinson | estimated |" in writer.texts[0]
    monitor.close()  # leaves a writer that it did not open


def test_a_missing_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ArgumentError, match="Install it: pip install tensorboard"):
        jp.Monitor(nn.Linear(4, 2), INPUTS, tensorboard=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_written_leaves_no_records_behind(tmp_path, monkeypatch):
    def refuse(folder):
        raise OutputError(f"`{folder}` must be a folder that can be written; got Not a directory. Choose another.")

    monkeypatch.setattr("jacprobe.monitoring.scalarwriter.importlib.util.find_spec", lambda name: True)
    monkeypatch.setattr("jacprobe.monitoring.scalarwriter._opened", refuse)
    with pytest.raises(OutputError, match="must be a folder that can be written"):
        jp.Monitor(nn.Linear(4, 2), INPUTS, path=tmp_path / "values.csv", tensorboard=tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_a_folder_gets_a_run(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with jp.Monitor(nn.Linear(4, 2), INPUTS, every=1, max_share=None, tensorboard=tmp_path / "run") as monitor:
        monitor.step()
    found = EventAccumulator(str(tmp_path / "run")).Reload()
    (tag,) = [tag for tag in found.Tags()["scalars"] if tag.startswith("mean/")]
    values = monitor.frame().query("statistic == 'mean'")["value"]
    assert [event.step for event in found.Scalars(tag)] == [0, 1]
    assert [event.value for event in found.Scalars(tag)] == pytest.approx(values.tolist())
