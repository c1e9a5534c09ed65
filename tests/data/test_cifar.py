"""CIFAR-10 is read from its binary and its Python batches, and no batch can run code."""

import io
import os
import pickle
import tarfile

import numpy as np
import pytest

from jacprobe.data import load_data
from jacprobe.data.cifar import pickled_batch
from jacprobe.errors import DataError


def write_binary(folder, records):
    folder.mkdir(parents=True, exist_ok=True)
    for name, batch in records.items():
        (folder / f"{name}.bin").write_bytes(batch.tobytes())


def write_python(folder, records, protocol=2):
    folder.mkdir(parents=True, exist_ok=True)
    for name, batch in records.items():
        content = {b"data": batch[:, 1:].copy(), b"labels": batch[:, 0].tolist(), b"filenames": [b"a.png"]}
        (folder / name).write_bytes(pickle.dumps(content, protocol=protocol))


def write_archive(write, folder_name):
    def write_it(folder, records):
        write(folder / folder_name, records)
        kind = "binary" if folder_name.endswith("bin") else "python"
        with tarfile.open(folder / f"cifar-10-{kind}.tar.gz", "w:gz") as archive:
            archive.add(folder / folder_name, folder_name)
        for path in (folder / folder_name).iterdir():
            path.unlink()

    return write_it


LAYOUTS = [
    pytest.param("cifar-10-batches-bin", write_binary, id="binary folder"),
    pytest.param("cifar-10", write_binary, id="binary in cifar-10"),
    pytest.param(".", write_binary, id="binary in the root"),
    pytest.param("cifar-10-batches-py", write_python, id="python folder"),
    pytest.param(".", write_python, id="python in the root"),
    pytest.param(".", write_archive(write_binary, "cifar-10-batches-bin"), id="binary archive"),
    pytest.param(".", write_archive(write_python, "cifar-10-batches-py"), id="python archive"),
]


@pytest.mark.parametrize("folder, write", LAYOUTS)
@pytest.mark.parametrize("split", ["train", "test"])
def test_every_layout_gives_the_standardised_images_in_file_order(tmp_path, records, folder, write, split):
    write(tmp_path / folder, records)
    images, labels = load_data("cifar-10", split=split, root=tmp_path)
    train = np.concatenate([records[f"data_batch_{number}"] for number in range(1, 6)])
    pixels = train[:, 1:].reshape(-1, 3, 32, 32).astype(np.float64)
    mean, std = pixels.mean((0, 2, 3), keepdims=True), pixels.std((0, 2, 3), keepdims=True)
    chosen = train if split == "train" else records["test_batch"]
    expected = (chosen[:, 1:].reshape(-1, 3, 32, 32) - mean) / std
    np.testing.assert_allclose(images.numpy(), expected, atol=1e-6, rtol=0)
    assert labels.tolist() == chosen[:, 0].tolist()


@pytest.mark.parametrize("protocol", range(5))
def test_python_batches_are_read_in_every_protocol_that_writes_arrays_by_name(tmp_path, records, protocol):
    write_python(tmp_path, records, protocol)
    images, labels = pickled_batch((tmp_path / "test_batch").read_bytes(), tmp_path)
    assert np.array_equal(images.reshape(-1, 3072), records["test_batch"][:, 1:])
    assert np.array_equal(labels, records["test_batch"][:, 0])


@pytest.mark.parametrize("fortran", [False, True], ids=["C order", "Fortran order"])
def test_a_batch_written_by_python_2_is_read(tmp_path, fortran):
    data = np.arange(2 * 3072).reshape(2, 3072).astype(np.uint8)
    raw = data.tobytes("F" if fortran else "C")
    content = (  # the opcodes that Python 2 with an old NumPy wrote
        b"\x80\x02}q\x01(U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02M\x00\x0c\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNN"
        b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        + (b"\x88" if fortran else b"\x89")
        + b"T"
        + len(raw).to_bytes(4, "little")
        + raw
        + b"tb"
        b"U\x06labels](K\x03K\x07eu."
    )
    images, labels = pickled_batch(content, tmp_path)
    assert np.array_equal(images.reshape(2, 3072), data) and labels.tolist() == [3, 7]


class Bomb:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_malicious_batch_is_refused_and_does_not_run(tmp_path, protocol):
    marker = tmp_path / "marker"
    content = pickle.dumps({b"data": Bomb(marker)}, protocol=protocol)
    with pytest.raises(DataError, match=r"it asks for '(posix|nt)\.system', which could run code"):
        pickled_batch(content, tmp_path / "data_batch_1")
    assert not marker.exists()
    pickle.loads(content)
    assert marker.exists()  # so the bomb was real


@pytest.mark.parametrize(
    "content, name",
    [
        pytest.param(b"cbuiltins\neval\n(S'1'\ntR.", "builtins.eval", id="eval"),
        pytest.param(b"cnumpy.core.multiarray\nfromfile\n.", "numpy.core.multiarray.fromfile", id="other numpy name"),
        pytest.param(b"\x80\x04\x8c\x05numpy\x8c\x0ddtype.__new__\x93.", "numpy.dtype.__new__", id="dotted name"),
        pytest.param(b"\x80\x02(S'1'\nibuiltins\nexec\n.", "builtins.exec", id="instance opcode"),
    ],
)
def test_a_batch_may_ask_for_nothing_but_the_names_of_an_array(tmp_path, content, name):
    with pytest.raises(DataError, match=f"asks for '{name}'"):
        pickled_batch(content, tmp_path)


GOOD = {b"data": np.zeros((2, 3072), np.uint8), b"labels": [1, 2]}


@pytest.mark.parametrize(
    "value, message",
    [
        pytest.param([1], "must hold a pickled dict; got list", id="no dict"),
        pytest.param({}, r"must hold 'data', an array of shape \(N, 3072\); got NoneType", id="no data"),
        pytest.param(GOOD | {b"data": np.zeros((2, 9), np.uint8)}, r"'data', .* got shape \(2, 9\)", id="wrong shape"),
        pytest.param(GOOD | {b"data": np.zeros((2, 3072))}, "another type than uint8", id="floats"),
        pytest.param(GOOD | {b"labels": None}, "must hold 'labels', a list of whole numbers; got NoneType", id="none"),
        pytest.param(GOOD | {b"labels": [1]}, "one label per image; got 2 images and 1 labels", id="few labels"),
        pytest.param(GOOD | {b"labels": [1, -1]}, "labels from 0 to 9; got -1", id="negative label"),
        pytest.param(GOOD | {b"labels": [1, 2**70]}, "'labels', a list of whole numbers", id="huge label"),
    ],
)
def test_a_batch_that_is_none_is_refused(tmp_path, value, message):
    with pytest.raises(DataError, match=message):
        pickled_batch(pickle.dumps(value, protocol=2), tmp_path)


@pytest.mark.parametrize("content", [b"", b"<html>", pickle.dumps(GOOD, protocol=2)[:200]], ids=repr)
def test_a_damaged_pickle_is_refused(tmp_path, content):
    with pytest.raises(DataError, match="must be an undamaged pickle of byte arrays"):
        pickled_batch(content, tmp_path)


def test_bytes_in_another_encoding_are_refused(tmp_path):
    with pytest.raises(DataError, match="bytes written as 'rot13'"):
        pickled_batch(b"c_codecs\nencode\n(Va\nVrot13\ntR.", tmp_path)


@pytest.mark.parametrize("size", [0, 3072, 3073 + 1])
def test_a_binary_batch_of_the_wrong_size_is_refused(tmp_path, records, size):
    write_binary(tmp_path, records)
    (tmp_path / "data_batch_3.bin").write_bytes(bytes(size))
    with pytest.raises(DataError, match=rf"data_batch_3.bin` must hold records of 3073 bytes; got {size} bytes"):
        load_data("cifar-10", root=tmp_path)


def test_a_binary_label_out_of_range_is_refused(tmp_path, records):
    records["data_batch_2"][1, 0] = 10
    write_binary(tmp_path, records)
    with pytest.raises(DataError, match="data_batch_2.bin` must hold labels from 0 to 9; got 10"):
        load_data("cifar-10", root=tmp_path)


def test_missing_batches_are_named_with_the_folders_searched(tmp_path, records):
    write_binary(tmp_path, records)
    (tmp_path / "test_batch.bin").unlink()
    with pytest.raises(DataError, match=r"has no data_batch_1\[.bin\] to 5 and test_batch\[.bin\] in it or in its"):
        load_data("cifar-10", split="test", root=tmp_path)
    assert len(load_data("cifar-10", root=tmp_path).images) == 20


def test_a_damaged_archive_is_refused(tmp_path, records):
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(b"<html>")
    with pytest.raises(DataError, match="tar.gz` must be an undamaged tar archive"):
        load_data("cifar-10", root=tmp_path)
    write_archive(write_binary, "cifar-10-batches-bin")(tmp_path, records)
    path.write_bytes(path.read_bytes()[:30000])
    with pytest.raises(DataError, match="tar.gz` must be an undamaged tar archive"):
        load_data("cifar-10", root=tmp_path)


def test_an_archive_without_a_batch_is_refused_and_links_in_it_are_not_followed(tmp_path):
    with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz") as archive:
        for number in range(1, 5):
            member = tarfile.TarInfo(f"../data_batch_{number}.bin")
            member.size = 3073
            archive.addfile(member, io.BytesIO(bytes(3073)))
        link = tarfile.TarInfo("data_batch_5.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(DataError, match="data_batch_5.bin is missing"):
        load_data("cifar-10", root=tmp_path)


def test_an_unreadable_batch_is_refused(tmp_path, records, monkeypatch):
    write_binary(tmp_path, records)

    def deny(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.read_bytes", deny)
    with pytest.raises(DataError, match="data_batch_1.bin` must be readable; got Permission denied"):
        load_data("cifar-10", root=tmp_path)
