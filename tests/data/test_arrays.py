"""Array files are taken as they are, or refused with the reason."""

import os
import pickle

import numpy as np
import pytest
import torch

from jacprobe.data import load_data
from jacprobe.errors import ArgumentError, DataError, DtypeError, NonFiniteError, ShapeError

IMAGES = np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float32)
LABELS = np.array([3, 1, 4, 1, 5])


def save_npy(path, value):
    np.save(path.with_suffix(".npy"), value)
    return path.with_suffix(".npy")


def save_npz(path, value):
    np.savez_compressed(path.with_suffix(".npz"), **value)
    return path.with_suffix(".npz")


def save_pt(path, value):
    torch.save(value, path.with_suffix(".pt"))
    return path.with_suffix(".pt")


def save_legacy(path, value):
    torch.save(value, path.with_suffix(".pth"), _use_new_zipfile_serialization=False)
    return path.with_suffix(".pth")


TENSORS = torch.from_numpy(IMAGES), torch.from_numpy(LABELS)
FORMS = [
    pytest.param(save_npy, IMAGES, False, id="npy"),
    pytest.param(save_npy, np.asfortranarray(IMAGES), False, id="npy in Fortran order"),
    pytest.param(save_npy, IMAGES.astype(">f4"), False, id="npy big endian"),
    pytest.param(save_npz, {"images": IMAGES}, False, id="npz"),
    pytest.param(save_npz, {"arr_0": IMAGES}, False, id="npz of one array"),
    pytest.param(save_npz, {"x": IMAGES, "y": LABELS.astype(np.uint8)}, True, id="npz x and y"),
    pytest.param(save_npz, {"data": IMAGES, "labels": LABELS}, True, id="npz any name and labels"),
    pytest.param(save_npz, {"images": IMAGES, "labels": LABELS, "more": LABELS}, True, id="npz and more"),
    pytest.param(save_pt, TENSORS[0], False, id="pt tensor"),
    pytest.param(save_pt, TENSORS[0].clone().requires_grad_(), False, id="pt that requires grad"),
    pytest.param(save_pt, TENSORS, True, id="pt tuple"),
    pytest.param(save_pt, [TENSORS[0], None], False, id="pt list without labels"),
    pytest.param(save_pt, {"images": TENSORS[0], "y": TENSORS[1], "classes": ["a"]}, True, id="pt dict"),
    pytest.param(save_legacy, TENSORS, True, id="pth in the old format"),
]


@pytest.mark.parametrize("save, value, labelled", FORMS)
def test_every_form_gives_back_the_images_and_labels(tmp_path, save, value, labelled):
    images, labels = load_data(save(tmp_path / "file", value))
    assert images.dtype == torch.float32 and np.array_equal(images.numpy(), IMAGES)
    assert images.is_contiguous() and not images.requires_grad
    if labelled:
        assert labels.dtype == torch.int64 and np.array_equal(labels.numpy(), LABELS)
    else:
        assert labels is None


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_the_dtype_is_kept(tmp_path, dtype):
    assert load_data(save_pt(tmp_path / "file", TENSORS[0].to(dtype))).images.dtype == dtype


def test_a_path_may_be_text_with_a_suffix_in_capitals(tmp_path):
    path = save_npy(tmp_path / "file", IMAGES).rename(tmp_path / "file.NPY")
    assert load_data(str(path), num=2).images.shape == (2, 2, 3)


def test_writing_to_the_images_leaves_the_file_alone(tmp_path):
    path = save_npy(tmp_path / "file", IMAGES)
    load_data(path).images.zero_()
    assert np.array_equal(np.load(path), IMAGES)


REFUSED = [
    pytest.param(save_npy, np.ones((2, 3), np.uint8), DtypeError, "floating dtype; got uint8. Convert", id="integer"),
    pytest.param(save_npy, np.ones((2, 3), complex), DtypeError, "floating dtype; got complex128", id="complex"),
    pytest.param(save_npy, np.ones((2, 3), np.longdouble), DtypeError, "dense arrays .* got float128", id="float128"),
    pytest.param(save_npy, np.array([["a"]]), DtypeError, "dense arrays of numbers; got <U1", id="text"),
    pytest.param(
        save_pt, torch.eye(2).to_sparse(), DtypeError, "dense arrays of numbers; got torch.float32", id="sparse"
    ),
    pytest.param(save_npy, np.ones(3), ShapeError, r"shape \(N, ...\); got \(3,\)", id="one dimension"),
    pytest.param(save_npy, np.ones((0, 3)), ArgumentError, r"zero samples, shape \(0, 3\)", id="no sample"),
    pytest.param(
        save_npz, {"x": IMAGES, "y": LABELS[1:]}, ShapeError, r"labels of shape \(5,\), .* got \(4,\)", id="few"
    ),
    pytest.param(save_npz, {"x": IMAGES, "y": LABELS / 2}, DtypeError, "labels of an integer dtype; got", id="halves"),
    pytest.param(save_npz, {"a": IMAGES, "b": LABELS}, DataError, "call it 'images' or 'x'; got 'a', 'b'", id="names"),
    pytest.param(save_pt, {}, DataError, "one array of images.* got none", id="empty dict"),
    pytest.param(save_pt, 3, DataError, r"a tensor, a dict or \(images, labels\); got int", id="a number"),
    pytest.param(save_npz, {"x": np.array([None])}, DataError, "NumPy file of plain numbers; got Object", id="objects"),
]


@pytest.mark.parametrize("save, value, error, message", REFUSED)
def test_what_is_no_image_array_is_refused_with_the_reason(tmp_path, save, value, error, message):
    with pytest.raises(error, match=f"`.*file.*` must hold .*{message}|`.*file.*` must be .*{message}") as caught:
        load_data(save(tmp_path / "file", value))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_images_that_are_not_finite_are_refused_where_they_are_chosen(tmp_path, bad):
    images = IMAGES.copy()
    images[3] = bad
    path = save_npy(tmp_path / "file", images)
    with pytest.raises(NonFiniteError, match="must hold finite images; got 6 NaN or infinite entries"):
        load_data(path)
    assert load_data(path, num=3).images.shape == (3, 2, 3)


class Bomb:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".pt", ".pth"])
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_no_file_runs_code(tmp_path, suffix, protocol):
    marker, path = tmp_path / "marker", tmp_path / f"file{suffix}"
    path.write_bytes(pickle.dumps(Bomb(marker), protocol=protocol))
    with pytest.raises(DataError, match="must be an undamaged"):
        load_data(path)
    for save in (save_pt, save_legacy):
        with pytest.raises(DataError, match="without running code"):
            load_data(save(tmp_path / "bomb", {"images": Bomb(marker)}))
    assert not marker.exists()


@pytest.mark.parametrize("save, value", [(save_npy, IMAGES), (save_npz, {"x": IMAGES}), (save_pt, TENSORS[0])])
def test_a_damaged_file_is_refused_in_one_line(tmp_path, save, value):
    path = save(tmp_path / "file", value)
    content = path.read_bytes()
    for damaged in (b"", b"<html>", content[: len(content) // 2], content[:-1][::-1]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="must be an undamaged") as caught:
            load_data(path)
        assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(DataError, match="missing.npy` must be a file; there is none"):
        load_data(tmp_path / "missing.npy")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(DataError, match="folder.npz` must be a file; it is a folder"):
        load_data(tmp_path / "folder.npz")
