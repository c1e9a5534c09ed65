"""Files of spectra: every bit comes back, damage is refused, older files can be read."""

import dataclasses
import hashlib
import json
import zipfile

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
import torch
from made_up import exact, missing, one_of_each
from oracles import seeded_normal
from torch import nn

import jacprobe as jp
from jacprobe.errors import ArgumentError, DataError, OutputError
from jacprobe.results import Spectrum, SpectrumSet
from jacprobe.results.files import WRITERS


def _set(*spectra):
    return SpectrumSet(spectra or one_of_each().spectra, 0.1, {"name": "net"}, {"dtype": "float32"})


def _real():
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))
    net.unused = nn.Linear(1, 1)
    net.forward = lambda x: net[2](net[1](net[0](x)))
    return jp.spectra(net, seeded_normal(3, 4), kind=("layers", "modules", "cumulative", "end_to_end"))


def _assert_equal(one, other):
    assert (one.epsilon, one.model, one.provenance) == (other.epsilon, other.model, other.provenance)
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        _assert_same(a, b, a.segment)


def _assert_same(x, y, where):
    assert type(x) is type(y), where
    if isinstance(x, torch.Tensor):
        assert x.dtype == y.dtype, where
        assert x.numpy().tobytes() == y.numpy().tobytes(), where
        assert x.shape == y.shape, where
    elif dataclasses.is_dataclass(x):
        for field in dataclasses.fields(x):
            _assert_same(getattr(x, field.name), getattr(y, field.name), f"{where}.{field.name}")
    elif isinstance(x, tuple):
        for part, other in zip(x, y, strict=True):
            _assert_same(part, other, where)
    else:
        assert x == y or (x != x and y != y), where


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
@pytest.mark.parametrize("result", [_set, _real, lambda: _set().select("pair"), lambda: _set(missing())],
                         ids=["every label", "measured", "empty", "without values"])
def test_a_file_gives_back_every_bit(tmp_path, result, suffix):
    result, path = result(), tmp_path / f"spectra{suffix}"
    assert result.save(path) == path
    _assert_equal(result, SpectrumSet.load(path))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_special_numbers_survive_a_file(tmp_path):
    rows = ((np.pi * 1e300, 5e-324, -0.0),)
    for suffix in (".npz", ".parquet"):
        _set(exact(rows=rows)).save(tmp_path / f"s{suffix}")
        assert SpectrumSet.load(tmp_path / f"s{suffix}")["fc"].values.numpy().tobytes() == np.array(rows).tobytes()


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_nothing_is_overwritten_unasked(tmp_path, suffix):
    path = tmp_path / f"spectra{suffix}"
    _set().save(path)
    before = path.read_bytes()
    with pytest.raises(OutputError, match="must not exist yet"):
        _set().save(path)
    assert path.read_bytes() == before
    _set(missing()).save(path, overwrite=True)
    assert len(SpectrumSet.load(path)) == 1


@pytest.mark.parametrize("name", ["spectra.csv", "spectra", "spectra.npy"])
def test_other_names_are_refused(tmp_path, name):
    for action in (_set().save, SpectrumSet.load):
        with pytest.raises(ArgumentError, match=r"`path` must end in .npz or .parquet; got .*Rename it"):
            action(tmp_path / name)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none.npz` must be a file; there is none. Check the path"):
        SpectrumSet.load(tmp_path / "none.npz")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(DataError, match="must be a file"):
        SpectrumSet.load(tmp_path / "folder.npz")


def _zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("facts", "hello")


def _npy(path):
    with open(path, "wb") as file:
        np.save(file, np.zeros(3))


def _npz(**arrays):
    def write(path):
        with open(path, "wb") as file:
            np.savez(file, **arrays)
    return write


def _parquet(metadata=None, **columns):
    def write(path):
        table = pyarrow.table(columns or {"value": [1.0]})
        pyarrow.parquet.write_table(table.replace_schema_metadata(metadata), path)
    return write


_ONE = json.dumps({"epsilon": 0.1, "model": {}, "provenance": {}, "spectra": [
    {"segment": "fc", "kind": "layer", "source": "input", "target": "fc", "out_dim": 1, "in_dim": 1, "num_inputs": 1,
     "reason": None, "modules": []}]})


@pytest.mark.parametrize(
    ("suffix", "write"),
    [
        pytest.param(".npz", lambda p: p.write_bytes(b""), id="empty npz"),
        pytest.param(".npz", lambda p: p.write_text("<html>not found</html>"), id="text as npz"),
        pytest.param(".npz", _zip, id="other zip"),
        pytest.param(".npz", _npy, id="npy as npz"),
        pytest.param(".npz", _npz(images=np.zeros(3)), id="other npz"),
        pytest.param(".npz", _npz(facts=np.array("hello")), id="facts that are no JSON"),
        pytest.param(".npz", _npz(facts=np.array("[1, 2]")), id="facts of another kind"),
        pytest.param(".npz", _npz(facts=np.array("{}")), id="facts without spectra"),
        pytest.param(".npz", _npz(facts=np.array([None], dtype=object)), id="pickled objects"),
        pytest.param(".npz", _npz(**{"facts": np.array(_ONE), "values/0": np.array([["a"]]), "zeros/0": np.zeros(1)}),
                     id="values that are texts"),
        pytest.param(".npz", _npz(**{"facts": np.array(_ONE), "values/0": np.zeros((1, 1))}), id="without zeros"),
        pytest.param(".parquet", lambda p: p.write_bytes(b""), id="empty parquet"),
        pytest.param(".parquet", lambda p: p.write_text("<html>not found</html>"), id="text as parquet"),
        pytest.param(".parquet", _parquet(), id="other parquet"),
        pytest.param(".parquet", _parquet({b"jacprobe": b"hello"}), id="metadata that is no JSON"),
        pytest.param(".parquet", _parquet({b"jacprobe": b"\xff\xfe"}), id="metadata that is no text"),
        pytest.param(".parquet", _parquet({b"jacprobe": _ONE.encode()}), id="parquet without its columns"),
        pytest.param(".parquet", _parquet({b"jacprobe": _ONE.encode()}, spectrum=[7], value=[1.0], zero=[False]),
                     id="parquet without its rows"),
    ],
)
def test_a_foreign_or_damaged_file_is_refused_in_one_line(tmp_path, suffix, write):
    path = tmp_path / f"spectra{suffix}"
    write(path)
    with pytest.raises(DataError, match=r"must be a whole file written by SpectrumSet.save; .* Save again") as caught:
        SpectrumSet.load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_a_cut_file_is_refused_and_a_flipped_byte_never_changes_a_value_unseen(tmp_path, suffix):
    path, result = tmp_path / f"spectra{suffix}", _set(*one_of_each().spectra[:3])
    result.save(path)
    whole = path.read_bytes()
    for size in range(0, len(whole), max(1, len(whole) // 40)):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match="must be a whole file"):
            SpectrumSet.load(path)
    for position in range(0, len(whole), max(1, len(whole) // 300)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x10]) + whole[position + 1:])
        try:
            loaded = SpectrumSet.load(path)
        except DataError:
            continue
        _assert_equal(result, loaded)


def _as_version_0_1():
    """Return facts and arrays as version 0.1 wrote them, and the set they stand for."""
    known = {"kind": "layer", "source": "input", "target": "fc", "out_dim": 2, "in_dim": 3, "num_inputs": 2,
             "method": "factors + svd float64", "label": "exact", "floor": 1e-6, "seconds": 0.5, "modules": ["fc"],
             "reason": None}
    gone = {**known, "out_dim": None, "in_dim": None, "source": None, "target": None, "method": "none",
            "label": "none", "floor": float("nan"), "reason": "never called", "modules": ["gone"]}
    facts = {"epsilon": 0.2, "model": {"name": "net"}, "provenance": {"dtype": "float32"},
             "spectra": [{"segment": "gone", **gone}, {"segment": "fc", **known}]}
    values, zeros = np.array([[2.0, 1.0], [3.0, 0.0]]), np.array([0, 1])
    spectra = (Spectrum("gone", **{**gone, "modules": ("gone",)}),
               Spectrum("fc", **{**known, "modules": ("fc",)}, values=torch.from_numpy(values),
                        zeros=torch.from_numpy(zeros)))
    return facts, values, zeros, SpectrumSet(spectra, 0.2, {"name": "net"}, {"dtype": "float32"})


def test_an_npz_file_of_version_0_1_can_be_read(tmp_path):
    facts, values, zeros, expected = _as_version_0_1()
    _npz(**{"facts": np.array(json.dumps(facts)), "values/1": values, "zeros/1": zeros})(tmp_path / "old.npz")
    _assert_equal(SpectrumSet.load(tmp_path / "old.npz"), expected)


def test_a_parquet_file_of_version_0_1_can_be_read(tmp_path):
    facts, values, _, expected = _as_version_0_1()
    text = json.dumps(facts).encode()
    one = np.ones(4, dtype=np.int32)
    segment, kind = (pyarrow.DictionaryArray.from_arrays(one, pyarrow.array(texts))
                     for texts in (["gone", "fc"], ["layer", "layer"]))
    table = {"spectrum": one, "segment": segment, "kind": kind, "input": [0, 0, 1, 1], "index": [0, 1, 0, 1],
             "value": values.ravel(), "zero": [False, False, False, True]}
    digest = hashlib.sha256(text).hexdigest().encode()
    _parquet({b"jacprobe": text, b"sha256": digest}, **table)(tmp_path / "old.parquet")
    _assert_equal(SpectrumSet.load(tmp_path / "old.parquet"), expected)


def test_singular_values_of_a_parquet_file_stand_apart_from_the_rest(tmp_path):
    result = one_of_each()
    frame = pd.read_parquet(result.save(tmp_path / "spectra.parquet"))
    values = frame[frame["part"] == "values"].reset_index(drop=True)
    columns = ["segment", "kind", "input", "index", "value", "zero"]
    pd.testing.assert_frame_equal(values[columns], result.frame()[columns], check_dtype=False, check_categorical=False)
    assert {"zeros", "lower", "upper", "density.nodes", "density.weights"} < set(frame["part"])


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_a_file_that_lacks_a_part_is_refused(tmp_path, suffix):
    stored = one_of_each()._stored()
    del stored.arrays["density.weights", 2]
    WRITERS[suffix](stored, tmp_path / f"spectra{suffix}")
    with pytest.raises(DataError, match="must be a whole file"):
        SpectrumSet.load(tmp_path / f"spectra{suffix}")
