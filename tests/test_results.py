"""Statistics, tables and files of spectra."""

import dataclasses
import json
import math
import zipfile

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
import torch
from oracles import seeded_normal
from torch import nn

import jacprobe as jp
from jacprobe.errors import ArgumentError, DataError, OutputError, UnknownNameError
from jacprobe.results import Spectrum, SpectrumSet

DESIGNED = ["segment", "kind", "out_dim", "in_dim", "num_inputs", "mean", "std", "min", "max", "cond", "ldi", "zeros",
            "method", "label", "floor", "seconds", "reason"]


def _spectrum(name="fc", kind="layer", rows=((2.0, 1.05, 0.5), (3.0, 0.95, 0.0)), zeros=(0, 1), floor=1e-6, **fields):
    values = torch.tensor(rows, dtype=torch.float64)
    facts = {"source": "input", "target": name, "modules": (name,)}
    facts |= {"out_dim": values.shape[1], "in_dim": values.shape[1] + 1}
    return Spectrum(name, kind, num_inputs=len(rows), values=values, zeros=torch.tensor(zeros), method="factors",
                    label="exact", floor=floor, **{**facts, **fields})


def _missing(name="gone", kind="module"):
    return Spectrum(name, kind, None, None, None, None, 2, reason="never called in the forward pass", modules=(name,))


def _set(*spectra):
    return SpectrumSet(spectra or (_spectrum(), _spectrum("fc", "module"), _spectrum("end_to_end", "end_to_end"),
                                   _missing()), 0.1, {"name": "net"}, {"dtype": "float32"})


def test_statistics_are_those_of_numpy():
    rows = np.sort(-np.abs(seeded_normal(5, 7).double().numpy()), axis=1) * -1
    spectrum = _spectrum(rows=rows.tolist(), zeros=[0] * 5)
    assert spectrum.mean == pytest.approx(rows.mean(), rel=1e-14)
    assert spectrum.std == pytest.approx(rows.std(), rel=1e-14)
    assert (spectrum.min, spectrum.max) == (rows.min(), rows.max())
    assert spectrum.cond == rows.max() / rows.min()
    np.testing.assert_array_equal(spectrum.cond_per_input.numpy(), rows[:, 0] / rows[:, -1])
    for q in (0, 0.05, 0.5, 1):
        assert spectrum.quantile(q) == pytest.approx(np.quantile(rows, q), rel=1e-14)
    assert spectrum.ldi(0.3) == (np.abs(rows - 1) <= 0.3).mean()


def test_counts_part_structural_zeros_from_small_values():
    spectrum = _spectrum(rows=((1.0, 1e-9, 0.0), (1.0, 1e-6, 1e-7), (1.0, 0.0, 0.0)), zeros=(1, 0, 1), floor=1e-6)
    assert (spectrum.num_zeros, spectrum.num_under_floor) == (2, 4)


def test_the_condition_number_is_infinite_with_zeros_and_nan_for_a_zero_map():
    assert _spectrum().cond == math.inf
    assert math.isnan(_spectrum(rows=((0.0, 0.0),), zeros=(2,)).cond)


def test_a_spectrum_that_is_missing_has_nan_statistics_and_a_reason():
    missing = _missing()
    assert all(math.isnan(x) for x in (missing.mean, missing.std, missing.min, missing.max, missing.cond,
                                       missing.quantile(0.5), missing.ldi(0.1)))
    assert (missing.num_zeros, missing.num_under_floor, missing.cond_per_input) == (0, 0, None)
    assert "never called" in repr(missing)


def test_values_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        _spectrum().floor = 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        _set().epsilon = 1


def test_the_summary_begins_with_the_designed_columns_one_row_per_segment():
    table = _set().summary()
    assert list(table.columns)[: len(DESIGNED)] == DESIGNED
    assert list(table["segment"]) == ["fc", "fc", "end_to_end", "gone"]
    assert table["zeros"].tolist()[:3] == [1, 1, 1]
    assert table["zeros"].isna().tolist() == [False] * 3 + [True]
    assert table.loc[0, "ldi"] == pytest.approx(2 / 6)
    assert table.loc[3, "reason"] == "never called in the forward pass"
    assert table["reason"].isna().sum() == 3


def test_the_summary_of_no_segments_has_the_same_columns():
    assert list(_set().select("pair").summary().columns) == list(_set().summary().columns)


def test_the_frame_is_tidy():
    frame = _set().frame()
    assert list(frame.columns) == ["segment", "kind", "input", "index", "value", "zero"]
    assert len(frame) == 3 * 2 * 3
    last = frame[(frame["kind"] == "layer") & (frame["input"] == 1)]
    assert last["value"].tolist() == [3.0, 0.95, 0.0]
    assert last["index"].tolist() == [0, 1, 2]
    assert last["zero"].tolist() == [False, False, True]
    assert pd.api.types.is_float_dtype(frame["value"])
    assert pd.api.types.is_bool_dtype(frame["zero"])


def test_the_frame_of_no_values_is_empty_with_the_same_columns():
    for empty in (_set().select("pair"), _set(_missing())):
        assert list(empty.frame().columns) == list(_set().frame().columns)
        assert len(empty.frame()) == 0


def test_a_name_finds_the_layer_first():
    spectra = _spectrum("fc", "cumulative"), _spectrum("fc", "module"), _spectrum("fc", "layer")
    assert _set(*spectra)["fc"].kind == "layer"
    assert _set(*spectra[:2])["fc"].kind == "module"


def test_an_unknown_name_lists_the_known():
    with pytest.raises(UnknownNameError, match=r"must be one of fc, end_to_end, gone; got 'fcc'. Did you mean 'fc'"):
        _set()["fcc"]


def test_selection_keeps_kinds_and_order():
    result = _set()
    assert [s.kind for s in result.select("end_to_end", "layer")] == ["layer", "end_to_end"]
    assert result.select("layer").epsilon == result.epsilon
    assert (result.layers, len(result), result.end_to_end.kind) == (["fc"], 4, "end_to_end")
    with pytest.raises(UnknownNameError, match=r"`kinds` must be one of layer, module, .*got 'layers'"):
        result.select("layers")


def test_isometry_needs_every_value_of_every_layer_within_epsilon():
    near, far = _spectrum(rows=((1.1, 0.95),), zeros=(0,)), _spectrum(rows=((1.1, 0.89),), zeros=(0,))
    assert dataclasses.replace(_set(near), epsilon=0.11).is_isometric
    assert not dataclasses.replace(_set(near, far), epsilon=0.1).is_isometric


def test_isometry_is_unknown_without_the_spectrum_of_a_layer():
    with pytest.raises(ArgumentError, match="`is_isometric` must know the spectrum of every layer; 'fc' has none"):
        assert _set(_missing("fc", "layer")).is_isometric
    with pytest.raises(ArgumentError, match=r"there is no layer. Probe kind='layers'"):
        assert _set(_spectrum(kind="module")).is_isometric


def test_json_is_strict_and_holds_the_rows():
    document = json.loads(_set().to_json(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert set(document) == {"model", "segments", "provenance"}
    rows = document["segments"]
    assert list(rows[0])[: len(DESIGNED)] == DESIGNED
    assert rows[0]["cond"] is None
    assert rows[3]["mean"] is None
    assert rows[0]["max"] == 3.0
    assert document["provenance"]["epsilon"] == 0.1


def test_json_of_a_real_result_is_strict():
    result = jp.spectra(nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2)),
                        -seeded_normal(2, 3).abs(), kind=("layers", "modules", "end_to_end"))
    json.loads(result.to_json(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_texts_for_people_name_every_segment_and_reason():
    text = repr(_set())
    assert text.startswith("SpectrumSet of 4 segments, epsilon 0.1\n")
    assert "never called in the forward pass" in text
    assert "end_to_end" in text
    assert repr(_set().select("pair")).endswith("(no segments)")
    assert "3x4: 2 inputs, mean 1.25" in repr(_spectrum())


def test_a_value_under_the_floor_is_shown_as_a_bound():
    row = _set(_spectrum(rows=((2.0, 1e-9),), zeros=(0,))).table().iloc[0]
    assert row["min"] == "< 1.0e-06"
    assert row["cond"] == "> 2.0e+06"


def test_html_escapes_names():
    html = _set(_spectrum("<script>alert(1)</script>"))._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "<table" in html


def _real():
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))
    net.unused = nn.Linear(1, 1)
    net.forward = lambda x: net[2](net[1](net[0](x)))
    return jp.spectra(net, seeded_normal(3, 4), kind=("layers", "modules", "cumulative", "end_to_end"))


def _assert_equal(one, other):
    assert (one.epsilon, one.model, one.provenance) == (other.epsilon, other.model, other.provenance)
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        for field in dataclasses.fields(Spectrum):
            x, y = getattr(a, field.name), getattr(b, field.name)
            if isinstance(x, torch.Tensor):
                assert x.dtype == y.dtype, field.name
                assert torch.equal(x, y), field.name
            else:
                assert x == y or (x != x and y != y), field.name


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
@pytest.mark.parametrize("result", [_set, _real, lambda: _set().select("pair"), lambda: _set(_missing())],
                         ids=["made up", "measured", "empty", "without values"])
def test_a_file_gives_back_every_bit(tmp_path, result, suffix):
    result, path = result(), tmp_path / f"spectra{suffix}"
    assert result.save(path) == path
    _assert_equal(result, SpectrumSet.load(path))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_special_numbers_survive_a_file(tmp_path):
    rows = ((np.pi * 1e300, 5e-324, -0.0),)
    for suffix in (".npz", ".parquet"):
        _set(_spectrum(rows=rows, zeros=(0,))).save(tmp_path / f"s{suffix}")
        assert SpectrumSet.load(tmp_path / f"s{suffix}")["fc"].values.numpy().tobytes() == np.array(rows).tobytes()


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_nothing_is_overwritten_unasked(tmp_path, suffix):
    path = tmp_path / f"spectra{suffix}"
    _set().save(path)
    before = path.read_bytes()
    with pytest.raises(OutputError, match="must not exist yet"):
        _set().save(path)
    assert path.read_bytes() == before
    _set(_missing()).save(path, overwrite=True)
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
    path, result = tmp_path / f"spectra{suffix}", _set()
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
        for one, other in zip(result, loaded, strict=True):
            assert one.values is other.values is None or torch.equal(one.values, other.values)
