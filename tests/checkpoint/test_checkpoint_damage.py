"""Damaged files and files of another kind: one line, no other exception, never other numbers."""

from __future__ import annotations

import io
import os
import pickle
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

import jacprobe as jp
from jacprobe.checkpoint import read_checkpoint, save_model
from jacprobe.errors import CheckpointError, JacprobeError

STRIDE = 7  # every byte was tried once; the tests try each of these with two patterns


@pytest.fixture
def file(tmp_path):
    return tmp_path / "model.pt"


def _contents(path):
    checkpoint = read_checkpoint(path)
    state = checkpoint.state_dict if checkpoint.module is None else checkpoint.module.state_dict()
    return {name: (tensor.dtype, tensor.tolist()) for name, tensor in state.items()}, checkpoint.masks


def _outcome(path):
    """Return the contents, or jacprobe's own error; anything else is raised."""
    try:
        return _contents(path)
    except JacprobeError as error:
        return error


def _jacprobe_file(path):
    net = jp.build("mlp-3-tanh", input_shape=(1, 2, 2), num_classes=2, width=2)
    save_model(jp.Masks({"fc1.weight": torch.eye(2, 4).bool()}).apply(net), path)
    return path.read_bytes()


def _torch_file(value, **arguments):
    stream = io.BytesIO()
    torch.save(value, stream, **arguments)
    return stream.getvalue()


CHECKED = {
    "jacprobe checkpoint": lambda net, path: _jacprobe_file(path),
    "state dict": lambda net, path: _torch_file(nn.Linear(3, 2).state_dict()),
    "pickled module": lambda net, path: _torch_file(nn.Sequential(nn.Linear(3, 2))),
}
UNCHECKED = {
    "old format": lambda net, path: _torch_file(net.state_dict(), _use_new_zipfile_serialization=False),
    "old format, module": lambda net, path: _torch_file(nn.ReLU(), _use_new_zipfile_serialization=False),
    "safetensors": lambda net, path: safetensors.torch.save(net.state_dict()),
    "bare pickle": lambda net, path: pickle.dumps({"a": [1.5, "text"], "b": (None, 2**80)}),
}


@pytest.mark.parametrize("kind", CHECKED)
def test_a_flipped_byte_of_a_zip_is_refused_or_changes_nothing(kind, net, file):
    data = CHECKED[kind](net, file)
    file.write_bytes(data)
    expected, refused = _contents(file), 0
    for position in range(0, len(data), STRIDE):
        for flip in (0xFF, 0x01):
            file.write_bytes(data[:position] + bytes([data[position] ^ flip]) + data[position + 1 :])
            got = _outcome(file)
            assert got == expected or (isinstance(got, CheckpointError) and "\n" not in str(got)), position
            refused += isinstance(got, CheckpointError)
    assert refused > len(data) // STRIDE // 4


@pytest.mark.parametrize("kind", UNCHECKED)
def test_a_flipped_byte_elsewhere_raises_nothing_foreign(kind, net, file):
    data = UNCHECKED[kind](net, file)
    for position in range(0, len(data), STRIDE):
        for flip in (0xFF, 0x01, 0x20):
            file.write_bytes(data[:position] + bytes([data[position] ^ flip]) + data[position + 1 :])
            assert "\n" not in str(_outcome(file))


@pytest.mark.parametrize("kind", {**CHECKED, **UNCHECKED})
def test_a_truncated_file_is_refused(kind, net, file):
    data = {**CHECKED, **UNCHECKED}[kind](net, file)
    for size in range(1, len(data), STRIDE):
        file.write_bytes(data[:size])
        with pytest.raises(CheckpointError, match=r"^[^\n]*$"):
            read_checkpoint(file)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "must hold a model; it is empty"),
        (b"<!DOCTYPE html>\n<html>404", "it is text that starts with '<!DOCTYPE html>.*saved an error page"),
        ("\ufeffGrüße, dies ist kein Modell".encode(), "it is text that starts with '.*Grüße"),
        (b"PK\x03\x04" + b"x" * 50, "must be a whole zip file; it is truncated or damaged"),
        (b"PK\x05\x06", "it is a damaged zip file"),
        (b"\x00\x01\x02\x03" * 9, r"its first bytes b'\\x00\\x01.*' belong to no format of torch"),
        (pickle.dumps([1, 2]), "must hold tensors; it is a pickle without any"),
        (b".", "must hold tensors; it is a pickle without any"),
    ],
)
def test_files_that_hold_no_model_say_what_they_are(data, message, file):
    file.write_bytes(data)
    for trust_file in (False, True):
        with pytest.raises(CheckpointError, match=message):
            read_checkpoint(file, trust_file=trust_file)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([torch.ones(1)], "must hold a module or a state dict; got list"),
        (torch.ones(2), "must hold a module or a state dict; got Tensor"),
        ({"epoch": 1, "lr": 0.1}, "got dict with the keys epoch, lr. Save model.state_dict"),
        ({}, "got dict. Save"),
        ({"weight": torch.ones(1), "epoch": 3}, "got dict with the keys epoch, weight"),
        ({"state_dict": {}}, "got dict. Save"),
        ({3: torch.ones(1)}, "got dict with the keys 3"),
    ],
)
def test_torch_files_of_the_wrong_thing_are_refused(value, message, write):
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(write(value))


def test_numpy_files_are_refused(tmp_path):
    np.save(tmp_path / "model.npy", np.ones(3))
    with pytest.raises(CheckpointError, match="it is a NumPy array"):
        read_checkpoint(tmp_path / "model.npy")
    np.savez(tmp_path / "model.npz", np.ones(3))
    with pytest.raises(CheckpointError, match="it is a zip file of NumPy arrays"):
        read_checkpoint(tmp_path / "model.npz")


def test_a_zip_of_something_else_is_refused(file):
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(CheckpointError, match=r"it is a zip file of readme\.txt"):
        read_checkpoint(file)


def test_a_zip_that_unpacks_to_far_more_is_refused(file):
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10**6))
    with pytest.raises(CheckpointError, match="it unpacks to far more than its size"):
        read_checkpoint(file)


def test_an_empty_safetensors_file_is_refused(tmp_path):
    safetensors.torch.save_file({}, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="it is a safetensors file with none"):
        read_checkpoint(tmp_path / "a.safetensors")


def test_a_missing_file_a_folder_and_a_pipe_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="there is no such file"):
        read_checkpoint(tmp_path / "none.pt")
    with pytest.raises(CheckpointError, match="it is a folder"):
        read_checkpoint(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match="it is a device or a pipe"):
        read_checkpoint(tmp_path / "pipe")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_refused(file):
    file.write_bytes(b"x")
    file.chmod(0)
    with pytest.raises(CheckpointError, match="must be readable; got Permission denied"):
        read_checkpoint(file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "must be a jacprobe checkpoint of version 1; got 2"),
        ({"model": None}, "must have the fields of a jacprobe checkpoint"),
        ({"state_dict": {"a": 1}}, "must have the fields of a jacprobe checkpoint"),
        ({"masks": {"none": torch.ones(1).bool()}}, "must have the fields of a jacprobe checkpoint"),
        ({"input_shape": [1, -2]}, "must have the fields of a jacprobe checkpoint"),
        ({"provenance": "me"}, "must have the fields of a jacprobe checkpoint"),
        ({"masks": {"fc1.weight": torch.ones(3).bool()}}, "a mask must have the shape of its weight"),
    ],
)
def test_a_jacprobe_checkpoint_with_a_wrong_field_is_refused(change, message, file):
    _jacprobe_file(file)
    torch.save(torch.load(file, weights_only=True) | change, file)
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(file)
