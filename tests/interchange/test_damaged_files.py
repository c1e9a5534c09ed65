"""Damaged and hostile mask files: one line each, and nothing of them is run."""

import json
import os
import pickle
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

import jacprobe as jp
from jacprobe.errors import CheckpointError, JacprobeError, UntrustedFileError
from jacprobe.interchange import FORMATS, WRITABLE, find_masks
from jacprobe.masks import Masks

KEPT = torch.tensor([[True, False, True], [False, False, True]])
MASKS = Masks({"fc.weight": KEPT}, {"method": "snip"})


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.ModuleDict({"fc": nn.Linear(3, 2)}))[0]


def refused(path, match, error=CheckpointError, **arguments):
    with pytest.raises(error, match=match) as caught:
        jp.read_masks(path, **arguments)
    assert len(str(caught.value).splitlines()) == 1


# hostile


class Evil:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("save", ["torch", "old torch", "pickle"])
@pytest.mark.parametrize("hidden", ["alone", "in a dict"])
def test_a_pickle_that_runs_code_is_refused_and_never_run(tmp_path, save, hidden):
    path, target = tmp_path / "mask.pth", tmp_path / "ran"
    value = Evil(target) if hidden == "alone" else {"fc.weight": KEPT.int(), "note": Evil(target)}
    if save == "pickle":
        path.write_bytes(pickle.dumps(value))
    else:
        torch.save(value, path, _use_new_zipfile_serialization=save == "torch")
    for format in (None, *FORMATS):
        refused(path, r"must hold only tensors and torch\.nn modules; it wants .*mkdir.*, which could run code\. "
                      r"Ask for its state dict\.$", UntrustedFileError, format=format)
    assert find_masks(path) is None
    assert not target.exists()


def test_objects_in_a_numpy_archive_are_refused_and_never_run(tmp_path):
    np.savez(tmp_path / "m.npz", **{"fc.weight": np.array([Evil(tmp_path / "ran")], dtype=object)})
    refused(tmp_path / "m.npz", r"must be a whole model file; reading it failed \(Object arrays cannot be loaded")
    assert not (tmp_path / "ran").exists()


def test_the_user_s_own_allowed_classes_open_no_door(tmp_path):
    torch.save({"fc.weight": Evil(tmp_path / "ran")}, tmp_path / "m.pt")
    with torch.serialization.safe_globals([os.mkdir]):
        refused(tmp_path / "m.pt", "could run code", UntrustedFileError)
    assert not (tmp_path / "ran").exists()


# damaged


@pytest.mark.parametrize("format", WRITABLE)
def test_a_file_cut_short_anywhere_is_refused_in_one_line(format, tmp_path, net):
    suffix = {"safetensors": "safetensors", "npz": "npz"}.get(format, "pt")
    path = jp.write_masks(MASKS, tmp_path / f"m.{suffix}", format=format, model=net)
    data = path.read_bytes()
    for length in {0, 1, 7, 8, 9, len(data) // 4, len(data) // 2, len(data) - 1}:
        path.write_bytes(data[:length])
        refused(path, "must|could")


@pytest.mark.parametrize("format", ["safetensors", "npz"])
def test_a_flipped_bit_anywhere_in_the_masks_is_noticed(format, tmp_path):
    path = jp.write_masks(MASKS, tmp_path / f"m.{format}")
    data = path.read_bytes()
    for position in range(len(data)):
        path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1:])
        try:
            found = jp.read_masks(path)
        except JacprobeError:
            continue
        assert found == MASKS  # the bit was in what says nothing of masks
        assert found.provenance.keys() in ({"method"}, {"source"})
        assert found.provenance.get("method", "snip") == "snip"


def relabelled(path, **metadata):
    """Write a canonical file with other metadata."""
    tensors = safetensors.torch.load_file(path)
    with safetensors.safe_open(path, "pt") as file:
        facts = {**file.metadata(), **metadata}
    safetensors.torch.save_file(tensors, path, {key: value for key, value in facts.items() if value is not None})
    return path


def test_a_canonical_file_must_have_its_digest(tmp_path):
    path = relabelled(jp.write_masks(MASKS, tmp_path / "m.safetensors"), digest="00")
    refused(path, r"must have the digest '00' that it states; its masks have '[0-9a-f]{64}'\. It is damaged; write or")


def test_a_canonical_file_of_a_later_version_is_refused(tmp_path):
    path = relabelled(jp.write_masks(MASKS, tmp_path / "m.safetensors"), format_version="2")
    refused(path, r"must be of format version 1; got '2'\. Update jacprobe")


@pytest.mark.parametrize("names", ["[", "3", '["other"]', '["fc.weight", "fc.weight"]', "[" * 10_000, None])
def test_a_wrong_order_of_names_does_no_harm(tmp_path, names):
    path = relabelled(jp.write_masks(MASKS, tmp_path / "m.safetensors"), names=names)
    assert jp.read_masks(path) == MASKS


def test_a_canonical_file_must_hold_bool_tensors(tmp_path):
    safetensors.torch.save_file({"fc.weight": KEPT.int()}, tmp_path / "m.safetensors", {"format": "jacprobe masks"})
    refused(tmp_path / "m.safetensors", r"must hold bool tensors; 'fc\.weight' is torch\.int32\. Write it again")


def test_metadata_that_are_no_text_are_refused(tmp_path):
    header = json.dumps({"__metadata__": {"format": 3}, "a": {"dtype": "BOOL", "shape": [1], "data_offsets": [0, 1]}})
    (tmp_path / "m.safetensors").write_bytes(len(header).to_bytes(8, "little") + header.encode() + b"\1")
    refused(tmp_path / "m.safetensors", "must be a whole model file; reading it failed")


def test_a_numpy_archive_with_a_name_twice_is_refused(tmp_path):
    np.savez(tmp_path / "m.npz", a=KEPT.numpy())
    with zipfile.ZipFile(tmp_path / "m.npz") as archive:
        content = archive.read("a.npy")
    with zipfile.ZipFile(tmp_path / "m.npz", "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("a.npy", content)
    refused(tmp_path / "m.npz", r"must name each array once; some names appear twice")


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"\x93NUMPY", b"PK\x03\x04 damaged", b"\0" * 100])
def test_what_is_no_mask_file_is_refused(tmp_path, content):
    (tmp_path / "m.pt").write_bytes(content)
    refused(tmp_path / "m.pt", "must")


def test_missing_files_and_folders_are_refused(tmp_path):
    refused(tmp_path / "m.pt", r"must be a model or mask file; there is no such file")
    refused(tmp_path, r"must be a model or mask file; it is a folder")


def test_a_changed_provenance_is_noticed(tmp_path):
    path = relabelled(jp.write_masks(MASKS, tmp_path / "m.safetensors"), method="grasp")
    refused(path, r"must have the provenance that it was written with; it was changed\. Write or copy it again")
