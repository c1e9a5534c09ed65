"""What must not be written is refused in one line, and no file changes."""

import pytest
import torch
from torch import nn

import jacprobe as jp
from jacprobe.errors import ArgumentError, DtypeError, ModelError, OutputError, ShapeError, UnknownNameError
from jacprobe.interchange import WRITABLE
from jacprobe.masks import Masks

KEPT = torch.tensor([[True, False, True], [False, False, True]])
MASKS = Masks({"fc.weight": KEPT}, {"method": "snip"})


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.ModuleDict({"fc": nn.Linear(3, 2)}))[0]


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


@pytest.mark.parametrize("name", ["", "__metadata__", "a\udc80"])
def test_names_that_no_file_can_hold_are_refused(tmp_path, name):
    for suffix in ("npz", "safetensors"):
        unwritten(tmp_path / f"m.{suffix}", r"`masks` must have names that a file can hold; got '.*'\. Rename that",
                  ArgumentError, Masks({name: KEPT}))


def test_a_state_dict_with_an_unsound_mask_is_refused(tmp_path):
    for state, match in (
        ({"fc.weight": torch.ones(2, 3), "fc.weight_mask": torch.full((2, 3), 2.0)}, "'fc.weight_mask' holds other"),
        ({"fc.weight": torch.ones(2, 3), "fc.weight_orig": torch.ones(2, 3), "fc.weight_mask": torch.ones(2, 3)},
         "'fc.weight' is there twice"),
    ):
        unwritten(tmp_path / "m.pt", rf"`model` must be a sound state dict: .*{match}.*\. Pass that of the dense model",
                  ModelError, format="torch-prune", model=state)
