"""Records on disk: whole after a crash, continued under the same settings, and never overwritten unasked."""

import csv
import json

import pandas as pd
import pytest
import torch
from oracles import seeded_normal
from torch import nn

import jacprobe as jp
from jacprobe.errors import ArgumentError, DataError, OutputError
from jacprobe.monitoring import read_records

INPUTS = seeded_normal(3, 4)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))


def monitor(path, net=None, **arguments):
    return jp.Monitor(net or network(), INPUTS, path=path, **{"every": 1, "max_share": None, **arguments})


def grow(net):
    with torch.no_grad():
        net[0].weight.mul_(1.1)


def test_the_file_has_the_frame_bit_for_bit_after_every_record(tmp_path):
    net, path = network(), tmp_path / "values.csv"
    watch = monitor(path, net, method="moments", num_probes=3)
    for _ in range(2):
        grow(net)
        watch.step()
        assert read_records(path).equals(watch.frame())
    plain = pd.read_csv(path, skiprows=1)
    assert plain.columns.tolist() == ["step", "segment", "statistic", "value", "label", "standard_error"]
    assert len(plain) == len(watch.frame()) == 3 * 2 * 4


def test_a_run_that_was_cut_off_continues_without_its_torn_record(tmp_path):
    net, path = network(), tmp_path / "values.csv"
    watch = monitor(path, net)
    grow(net)
    watch.step()
    whole = path.read_text()
    path.write_text(whole + "2,0,mean,0.5,exact,\n2,0,std,0.")
    assert read_records(path).equals(watch.frame())
    again = monitor(path, net, resume=True)
    assert again.num_steps == 1 and path.read_text() == whole
    grow(net)
    again.step()
    assert again.frame()["step"].unique().tolist() == [0, 1, 2] and read_records(path).equals(again.frame())


def test_records_after_the_step_of_the_checkpoint_are_made_again(tmp_path):
    net, path = network(), tmp_path / "values.csv"
    watch = monitor(path, net)
    for _ in range(4):
        watch.step()
    again = monitor(path, net, resume=True, start=2)
    again.step()
    assert read_records(path)["step"].unique().tolist() == [0, 1, 2, 3]


def test_resuming_starts_a_file_where_there_is_none(tmp_path):
    assert monitor(tmp_path / "values.csv", resume=True).num_steps == 0
    assert read_records(tmp_path / "values.csv")["step"].unique().tolist() == [0]


def test_names_with_commas_quotes_and_hashes_come_back(tmp_path):
    net = nn.Sequential()
    net.add_module('a,"#b', nn.Linear(4, 2))
    watch = monitor(tmp_path / "values.csv", net)
    assert read_records(tmp_path / "values.csv").equals(watch.frame())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"statistics": ("mean",)}, r"'values.csv' has statistics \['mean', .*'\], not \['mean'\]"),
        ({"every": 5}, "has every 1, not 5"),
        ({"seed": 3}, "has seed 0, not 3"),
        ({"num_inputs": 2}, "has inputs"),
        ({"kind": "modules", "net": nn.Sequential(nn.Linear(4, 3))}, "has segments"),
    ],
)
def test_other_settings_are_refused_and_the_file_is_left_alone(tmp_path, arguments, message):
    path = tmp_path / "values.csv"
    monitor(path)
    before = path.read_bytes()
    with pytest.raises(ArgumentError, match=f"`path` must name a file of the same settings; .*{message}"):
        monitor(path, resume=True, **arguments)
    assert path.read_bytes() == before


def test_an_existing_file_is_not_overwritten(tmp_path):
    path = tmp_path / "values.csv"
    monitor(path)
    with pytest.raises(OutputError, match="must not exist yet. Choose another name, or pass resume=True to append"):
        monitor(path)
    with pytest.raises(OutputError, match="must lie in an existing folder"):
        monitor(tmp_path / "missing" / "values.csv")


@pytest.mark.parametrize(
    "content", ["step,segment\n", "# jacprobe monitor {\n", "# jacprobe monitor {}\nx\n1,2\n", "\xff",
                "# jacprobe monitor {}\nstep\n", "# jacprobe monitor []\nstep\n"])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    path = tmp_path / "values.csv"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match="must be a file that a Monitor wrote"):
        read_records(path)
    with pytest.raises(DataError, match="must be a file that a Monitor wrote"):
        monitor(path, resume=True)
    with pytest.raises(DataError, match="there is none"):
        read_records(tmp_path / "other.csv")


def test_a_record_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "folder").mkdir()
    watch = monitor(tmp_path / "folder" / "values.csv")
    (tmp_path / "folder" / "values.csv").unlink()
    (tmp_path / "folder").rmdir()
    with pytest.raises(OutputError, match="could not be written"):
        watch.step()


def test_the_first_line_tells_how_the_numbers_came_about(tmp_path):
    monitor(tmp_path / "values.csv")
    head, columns = (tmp_path / "values.csv").read_text().splitlines()[:2]
    facts = json.loads(head.removeprefix("# jacprobe monitor "))
    assert facts["model"] == "Sequential" and facts["segments"] == {"0": "4x4", "2": "2x4"}
    assert facts["provenance"]["torch"] and facts["provenance"]["seed_of_probes"] == 0
    assert next(csv.reader([columns]))[0] == "step"
