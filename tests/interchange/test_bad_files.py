"""Mask files with wrong content, of another format, or of another model: one line each, which names the key."""

import numpy as np
import pytest
import torch
from torch import nn

import jacprobe as jp
from jacprobe.errors import ArgumentError, CheckpointError, DtypeError, ShapeError, UnknownNameError
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


# wrong values


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
