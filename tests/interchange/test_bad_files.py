"""Damaged, hostile and ill-fitting mask files: one line each, and nothing changed."""

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
from jacprobe.errors import (
    ArgumentError,
    CheckpointError,
    DtypeError,
    JacprobeError,
    ModelError,
    OutputError,
    ShapeError,
    UnknownNameError,
    UntrustedFileError,
)
from jacprobe.interchange import FORMATS, WRITABLE, find_masks
from jacprobe.masks import Masks

KEPT = torch.tensor([[True, False, True], [False, False, True]])
MASKS = Masks({"fc.weight": KEPT}, {"method": "snip"})


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.ModuleDict({"fc": nn.Linear(3, 2)}))[0]


@pytest.fixture
def write(tmp_path):
    def save(value, name="mask.pth"):
        torch.save(value, tmp_path / name)
        return tmp_path / name

    return save


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


# wrong values; the key is named


@pytest.mark.parametrize("value", [2.0, -1.0, 0.5, float("nan"), float("inf")])
def test_masks_hold_zeros_and_ones_only(write, tmp_path, net, value):
    mask = KEPT.float()
    mask[0, 0] = value
    wrong = r"must hold sound masks: a mask must hold only 0 and 1; 'fc\.{}' holds other values"
    refused(write({"fc.weight": mask}), wrong.format("weight"), format="open-lth")
    refused(write({"fc": {"weight": mask, "bias": None}}), wrong.format("weight"))
    np.savez(tmp_path / "m.npz", **{"fc.weight": mask.numpy()})
    refused(tmp_path / "m.npz", r"a mask must hold only 0 and 1; 'fc\.weight' holds other values \(float32\)")
    refused(write({"fc.weight": torch.ones(2, 3), "fc.weight_mask": mask}), wrong.format("weight_mask"))
    refused(write({"fc.weight_orig": torch.ones(2, 3), "fc.weight_mask": mask}), wrong.format("weight_mask"))
    refused(write({"fc.parametrizations.weight.original": torch.ones(2, 3),
                   "fc.parametrizations.weight.0.mask": mask}), r"'fc\.parametrizations\.weight\.0\.mask' holds other")


def test_texts_in_a_numpy_archive_are_no_masks(tmp_path):
    np.savez(tmp_path / "m.npz", **{"fc.weight": np.array(["1", "0"])})
    refused(tmp_path / "m.npz", r"'fc\.weight' holds other values \(<U1\)")


@pytest.mark.parametrize("key", ["fc.weight", "fc.weight_orig"])
def test_a_mask_has_the_shape_of_its_weight(write, key):
    refused(write({key: torch.ones(2, 2), "fc.weight_mask": KEPT.float()}),
            r"must hold sound masks: a mask must have the shape of its weight; 'fc\.weight_mask' is \(2, 3\) for "
            r"\(2, 2\)")


def test_a_mask_without_its_weight_is_named(write):
    state = {"a.weight_orig": torch.ones(2, 3), "a.weight_mask": KEPT.float(), "b.weight_mask": KEPT.float()}
    refused(write(state), r"must hold the weight of each mask; that of 'b\.weight_mask' is missing")


def test_a_parameter_twice_is_named(write):
    state = {"fc.weight_orig": torch.ones(2, 3), "fc.weight_mask": KEPT.float(), "fc.weight": torch.ones(2, 3)}
    refused(write(state), r"must hold each parameter once; 'fc\.weight' is there twice", format="torch-prune")
    refused(write({"fc.weight": KEPT.int(), "fc.weight_orig": KEPT.int()}),
            r"must hold each mask once; 'fc\.weight' is there twice", format="open-lth")


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ({"fc": {"weight": KEPT.float(), "_input_": KEPT.float()}}, r"'fc\._input_' is no parameter\. Remove that key"),
        ({"fc": {"weight": [1, 0]}}, r"must hold a mask or None for each parameter; 'fc\.weight' is list"),
        ({"fc": 3}, r"must map module names to dicts of masks; 'fc' has int"),
        ({"fc": {"weight": None, "bias": None}}, r"must hold masks; it has none"),
        ({}, r"must be a dict from module name to masks; it holds an empty dict"),
        ([KEPT], r"must be a dict from module name to masks; it holds list"),
    ],
    ids=["an input mask", "a list", "a number", "none at all", "empty", "a list of masks"],
)
def test_nni_files_hold_nothing_else(write, value, match):
    refused(write(value), match, format="nni")


# formats


def test_the_format_must_be_known(write):
    refused(write({"fc.weight": KEPT.int()}), r"`format` must be one of safetensors, npz, .*; got 'open_lth'\. Did you "
                                              r"mean 'open-lth'\?", UnknownNameError, format="open_lth")


@pytest.mark.parametrize(("format", "match"), [
    ("safetensors", r"must be a safetensors file; it is a torch file"),
    ("npz", r"must be a NumPy archive; it is a torch file"),
    ("checkpoint", r"must be a jacprobe checkpoint; it is none"),
    ("nni", r"must map module names to dicts of masks; 'fc\.weight' has Tensor"),
    ("torch-prune", r"must hold masks beside its weights; it has none that are named so"),
    ("parametrized", r"must hold masks beside its weights; it has none"),
    ("weight-mask", r"must hold masks beside its weights; it has none"),
    ("dense", r"must hold weights of two and more axes; it has none"),
])
def test_a_file_of_another_format_is_refused(write, format, match):
    refused(write({"fc.weight": KEPT.int()}), match, format=format)


def test_a_module_is_no_flat_dict_and_a_dense_one_has_no_masks(write):
    refused(write(nn.Linear(3, 2)), r"must be a dict from parameter name to tensor; it holds Linear", format="open-lth")
    refused(write(nn.Linear(3, 2)), r"must hold masks; its module has none", format="torch-prune")


def test_a_pickled_module_with_an_unsound_mask_is_refused(write):
    module = nn.Linear(3, 2)
    torch.nn.utils.prune.custom_from_mask(module, "weight", KEPT)
    module.weight_mask[0, 0] = 2
    refused(write(module), r"must hold sound masks: a mask must hold only 0 and 1; 'weight_mask' holds other values")


def test_what_fits_no_format_is_refused_with_the_list(write, net):
    refused(write(net.state_dict()), r"must hold masks; its weights have none and no exact zeros\. Known formats are "
                                     r"safetensors, npz, checkpoint, nni, torch-prune")
    refused(write([1, 2]), r"must hold masks; it is a list that no format has")


def test_a_dense_checkpoint_has_no_masks(tmp_path):
    path = jp.save_model(jp.build("mlp-3-tanh", input_shape=(1, 2, 2)), tmp_path / "dense.pt")
    refused(path, r"must hold masks; its model is dense\. Name a pruned model")


# fit


def test_masks_must_fit_the_model_given(write, net):
    for model in (net, dict(net.state_dict())):
        assert jp.read_masks(write({"fc.weight": KEPT.int()}), model=model) == MASKS
        refused(write({"fc.wieght": KEPT.int()}), r"`masks` must be one of fc\.weight, fc\.bias; got 'fc\.wieght'\.",
                UnknownNameError, model=model)
        refused(write({"fc.weight": KEPT.T.int()}), r"'fc\.weight' is \(2, 3\) in the model and \(3, 2\) in the masks",
                ShapeError, model=model)
        refused(write({"fc.w": KEPT.int(), "x": KEPT.int(), "fc.bias": KEPT.int()}),
                r"not in the model: 'fc\.w', 'x'; weights of the model without a mask: 'fc\.weight'; shapes differ: "
                r"'fc\.bias' is \(2, 3\) and the model's \(2,\)", ArgumentError, model=model)
    refused(write({"fc.weight": KEPT.int()}), r"`model` must be a torch\.nn\.Module or a state dict; got str",
            DtypeError, model="net")


# writing


def unwritten(path, match, error, masks=MASKS, **arguments):
    before = {file.name: file.read_bytes() for file in path.parent.iterdir() if file.is_file()}
    with pytest.raises(error, match=match) as caught:
        jp.write_masks(masks, path, **arguments)
    assert len(str(caught.value).splitlines()) == 1
    assert {file.name: file.read_bytes() for file in path.parent.iterdir() if file.is_file()} == before


@pytest.mark.parametrize("format", WRITABLE)
def test_nothing_is_overwritten_unless_asked(format, tmp_path, net):
    path = tmp_path / ("m.safetensors" if format == "safetensors" else "m.npz" if format == "npz" else "m.pt")
    path.write_text("precious")
    unwritten(path, r"must not exist yet\. Choose another name, or pass overwrite=True", OutputError, format=format,
              model=net)
    jp.write_masks(MASKS, path, format=format, model=net, overwrite=True)
    assert b"precious" not in path.read_bytes()


def test_only_masks_are_written_and_at_least_one(tmp_path):
    unwritten(tmp_path / "m.npz", r"`masks` must be Masks; got dict\. Make them with", DtypeError, dict(MASKS))
    unwritten(tmp_path / "m.npz", r"`masks` must hold at least one mask; got none\. Prune the model", ArgumentError,
              Masks({}))


def test_the_format_must_be_told(tmp_path):
    unwritten(tmp_path / "m.pt", r"`format` must be given where the suffix tells none; got None for 'm\.pt'\. Choose "
                                 r"one of safetensors, npz, nni", ArgumentError)
    unwritten(tmp_path / "m.pt", r"`format` must be one of safetensors, .*; got 'checkpoint'", UnknownNameError,
              format="checkpoint")


@pytest.mark.parametrize(("name", "format"), [("m.safetensors", "open-lth"), ("m.safetensors", "npz"), ("m.npz", "nni"),
                                              ("m.npz", "safetensors"), ("m.npz", "torch-prune")])
def test_a_suffix_that_lies_is_refused(tmp_path, net, name, format):
    unwritten(tmp_path / name, rf"`path` must not end in {name[1:]}, which {format} files are not", ArgumentError,
              format=format, model=net)


@pytest.mark.parametrize("format", ["torch-prune", "weight-mask", "parametrized", "dense"])
def test_formats_with_weights_need_the_model(tmp_path, format):
    unwritten(tmp_path / "m.pt", rf"`model` must be given to write {format}, which holds the weights too; got None\. "
                                 r"Pass the network \(`--model` at the shell\)", ArgumentError, format=format)


@pytest.mark.parametrize("format", WRITABLE)
def test_masks_that_do_not_fit_are_not_written(tmp_path, net, format):
    path = tmp_path / ("m.safetensors" if format == "safetensors" else "m.npz" if format == "npz" else "m.pt")
    unwritten(path, r"got 'other'", UnknownNameError, Masks({"other": KEPT}), format=format, model=net)
    unwritten(path, r"'fc\.bias' is \(2,\) in", ShapeError, Masks({"fc.bias": KEPT}), format=format, model=net)


def test_a_model_that_carries_other_masks_is_refused(tmp_path, net):
    carried = Masks({"fc.weight": KEPT, "fc.bias": torch.tensor([True, False])}).apply(net)
    unwritten(tmp_path / "m.pt", r"`model` must be dense or carry the masks to write; it removes weights of 'fc\.bias' "
                                 r"which they keep", ArgumentError, format="torch-prune", model=carried)
    unwritten(tmp_path / "m.pt", r"it removes weights of 'fc\.weight'", ArgumentError, ~MASKS, format="torch-prune",
              model=MASKS.apply(net))
    jp.write_masks(MASKS & Masks({"fc.weight": torch.zeros(2, 3, dtype=torch.bool)}), tmp_path / "m.pt",
                   format="torch-prune", model=MASKS.apply(net))  # fewer are fine


def test_a_masked_weight_with_another_parametrisation_has_no_plain_name(tmp_path):
    net = nn.Sequential(torch.nn.utils.parametrizations.spectral_norm(nn.Linear(3, 2)))
    masks = Masks({"0.weight": KEPT})
    unwritten(tmp_path / "m.pt", r"`model` must have masked weights with no other parametrisation; '0\.weight' has "
                                 r"_SpectralNorm\. Write the masks alone, or pass jp\.remove_masks", ModelError, masks,
              format="weight-mask", model=masks.apply(net))
    assert jp.read_masks(jp.write_masks(masks, tmp_path / "m.npz")) == masks


def test_a_provenance_that_hides_a_fact_of_the_file_is_refused(tmp_path):
    unwritten(tmp_path / "m.safetensors", r"`masks` must not have 'digest' in their provenance, which is a fact of the "
                                          r"file\. Rename it", ArgumentError, Masks({"a": KEPT}, {"digest": "0"}))


def test_a_changed_provenance_is_noticed(tmp_path):
    path = relabelled(jp.write_masks(MASKS, tmp_path / "m.safetensors"), method="grasp")
    refused(path, r"must have the provenance that it was written with; it was changed\. Write or copy it again")
