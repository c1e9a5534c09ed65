"""IDX files are read exactly, or refused by name."""

import gzip

import numpy as np
import pytest

from jacprobe.data.idx import read_idx
from jacprobe.errors import DataError

ARRAY = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
CONTENT = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4]) + bytes(range(24))


@pytest.mark.parametrize("name", ["plain", "packed.gz"])
def test_an_idx_file_gives_back_its_array(tmp_path, write_idx, name):
    assert np.array_equal(read_idx(write_idx(tmp_path / name, ARRAY), num_dims=3), ARRAY)


def test_a_file_unpacked_under_its_gz_name_is_read_all_the_same(tmp_path):
    path = tmp_path / "images.gz"
    path.write_bytes(CONTENT)
    assert np.array_equal(read_idx(path, num_dims=3), ARRAY)


@pytest.mark.parametrize(
    "content, message",
    [
        pytest.param(b"", r"must begin with an IDX magic number; got b''", id="empty"),
        pytest.param(b"<html>", r"must begin with an IDX magic number; got b'<htm'", id="web page"),
        pytest.param(b"\0\0\x0d" + CONTENT[3:], r"must hold unsigned bytes, IDX type 0x08; got type 0x0d", id="floats"),
        pytest.param(b"\0\0\x08\x01" + CONTENT[4:], r"must have 3 dimensions; got 1", id="labels for images"),
        pytest.param(CONTENT[:9], r"must have a header of 16 bytes; got 9", id="cut in the header"),
        pytest.param(CONTENT[:-1], r"must be 40 bytes long .* got 39: it is truncated", id="truncated"),
        pytest.param(CONTENT + b"x", r"must be 40 bytes long .* got 41: there are trailing bytes", id="trailing"),
        pytest.param(gzip.compress(CONTENT)[:-9], r"must be an undamaged gzip file", id="truncated gzip"),
        pytest.param(gzip.compress(CONTENT)[:-8] + bytes(8), r"must be an undamaged gzip file", id="wrong checksum"),
        pytest.param(b"\x1f\x8b\x08" + bytes(30), r"must be an undamaged gzip file", id="damaged gzip"),
    ],
)
def test_a_damaged_file_is_refused_by_name_with_the_fault(tmp_path, content, message):
    path = tmp_path / "images-file"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"images-file` {message}") as caught:
        read_idx(path, num_dims=3)
    assert "\n" not in str(caught.value)


def test_an_unreadable_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="must be readable; got Is a directory"):
        read_idx(tmp_path, num_dims=3)
