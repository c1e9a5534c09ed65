"""What jacprobe writes it reads back bit by bit, in every format and on every architecture."""

import warnings

import numpy as np
import pytest
import safetensors
import torch
from torch import nn
from torch.nn.utils import prune

import jacprobe as jp
from jacprobe.errors import JacprobeWarning
from jacprobe.interchange import FORMATS, WRITABLE, read_mask_file
from jacprobe.masks import Masks

SUFFIX = {"safetensors": "safetensors", "npz": "npz"}
KEPT = torch.tensor([[True, False, True], [False, False, True]])
PROVENANCE = {"method": "snip", "arguments": {"loss": "labels"}, "sparsity": 0.9, "prunable": "weights", "seed": 0,
              "weights_sha256": "ab" * 32, "odd": ["3", "null", "NaN", "", None, True, 1e-30], "text of a number": "3"}


def file_in(folder, format):
    return folder / f"masks.{SUFFIX.get(format, 'pt')}"


def bits(masks):
    return {name: (tuple(mask.shape), np.packbits(mask.numpy()).tobytes()) for name, mask in masks.items()}


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Linear(2, 2))


@pytest.fixture
def masks():
    return Masks({"0.weight": KEPT, "2.weight": torch.eye(2) > 0}, PROVENANCE)


def test_masks_of_torch_pruning_load_and_convert_through_every_format_and_back(pruned, tmp_path):
    masks = Masks.of(pruned.net)
    assert bits(masks) == bits(pruned.masks)
    for format in WRITABLE:
        path = jp.write_masks(masks, file_in(tmp_path, format), format=format, model=pruned.net, overwrite=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore" if format == "dense" else "error", JacprobeWarning)
            found = read_mask_file(path)
        assert found.format == format
        assert bits(found.masks) == bits(masks)
        assert found.masks.digest == masks.digest
    assert Masks.of(masks.apply(pruned.fresh())) == masks


def test_a_model_pruned_by_torch_has_the_spectrum_of_one_with_the_same_masks(pruned_once):
    masked = Masks(pruned_once.masks).apply(pruned_once.fresh())
    plain = jp.remove_masks(pruned_once.net)
    masked.load_state_dict(Masks(pruned_once.masks).apply(plain).state_dict())
    theirs, ours = (jp.spectra(net, pruned_once.inputs, kind="end_to_end").end_to_end
                    for net in (pruned_once.net, masked))
    torch.testing.assert_close(theirs.values, ours.values, rtol=0, atol=theirs.floor + ours.floor)


@pytest.mark.parametrize("format", WRITABLE)
def test_masks_that_lie_in_memory_in_another_order_come_back(format, tmp_path, net):
    masks = Masks({"0.weight": KEPT.T.contiguous().T, "2.weight": torch.eye(2).T > 0})
    path = jp.write_masks(masks, file_in(tmp_path, format), format=format, model=net)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if format == "dense" else "error", JacprobeWarning)
        assert bits(jp.read_masks(path)) == bits(masks)


@pytest.mark.parametrize("first", [name for name in WRITABLE if name != "dense"])
@pytest.mark.parametrize("second", [name for name in WRITABLE if name != "dense"])
def test_any_format_converts_to_any_other_and_back(first, second, tmp_path, net, masks):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one = jp.write_masks(masks, file_in(tmp_path / "a", first), format=first, model=net)
    other = jp.write_masks(jp.read_masks(one), file_in(tmp_path / "b", second), format=second, model=net)
    again = jp.write_masks(jp.read_masks(other), one, format=first, model=net, overwrite=True)
    assert bits(jp.read_masks(again)) == bits(masks)


def test_the_canonical_file_keeps_provenance_order_and_digest(tmp_path, masks):
    backwards = Masks(dict(reversed(list(masks.items()))), masks.provenance)
    path = jp.write_masks(backwards, tmp_path / "masks.safetensors")
    found = jp.read_masks(path)
    assert found == masks
    assert found.provenance == PROVENANCE
    assert list(found) == ["2.weight", "0.weight"]
    with safetensors.safe_open(path, "pt") as file:  # by the library that anyone reads it with
        metadata, names = file.metadata(), set(file.keys())
        assert file.get_tensor("0.weight").dtype == torch.bool
        assert torch.equal(file.get_tensor("0.weight"), KEPT)
    assert names == set(masks)
    assert metadata.items() >= {"format": "jacprobe masks", "format_version": "1", "method": "snip", "seed": "0",
                                "sparsity": "0.9", "prunable": "weights", "digest": masks.digest,
                                "weights_sha256": "ab" * 32, "arguments": '{"loss": "labels"}'}.items()
    assert len(metadata["shapes_sha256"]) == 64


def test_masks_of_one_network_have_one_hash_of_shapes(tmp_path, masks):
    facts = []
    for i, some in enumerate((masks, ~masks)):
        with safetensors.safe_open(jp.write_masks(some, tmp_path / f"{i}.safetensors"), "pt") as file:
            facts.append(file.metadata())
    assert facts[0]["shapes_sha256"] == facts[1]["shapes_sha256"]
    assert facts[0]["digest"] != facts[1]["digest"]


@pytest.mark.parametrize("format", WRITABLE)
def test_the_same_masks_make_the_same_bytes(format, tmp_path, net, masks):
    paths = [jp.write_masks(Masks(masks, masks.provenance), file_in(tmp_path, format).with_stem(f"m{i}"), format=format,
                            model=net) for i in range(3)]
    assert len({path.read_bytes() for path in paths}) == 1


def test_the_source_is_the_provenance_of_a_format_without_any(tmp_path, masks):
    found = jp.read_masks(jp.write_masks(masks, tmp_path / "masks.npz"))
    assert found.provenance["source"].keys() == {"format", "sha256"}
    assert found.provenance["source"]["format"] == "npz"


@pytest.mark.parametrize("format", ["safetensors", "npz", "open-lth", "nni"])
def test_masks_of_any_shape_come_back(format, tmp_path):
    masks = Masks({"scale": torch.tensor(False), "a.weight": torch.ones(0, 3, dtype=torch.bool),
                   "file.bias": torch.ones(1, dtype=torch.bool), "conv.weight": torch.rand(2, 3, 3, 1, 2) < 0.5})
    assert jp.read_masks(jp.write_masks(masks, file_in(tmp_path, format), format=format)) == masks


@pytest.mark.parametrize("name", ["file", "weight", "allow_pickle"])
@pytest.mark.parametrize("format", ["safetensors", "npz", "open-lth", "nni"])
def test_a_root_parameter_of_any_name_comes_back(format, name, tmp_path):
    masks = Masks({name: KEPT, "weight": KEPT})
    assert jp.read_masks(jp.write_masks(masks, file_in(tmp_path, format), format=format)) == masks


@pytest.mark.parametrize("format", ["torch-prune", "parametrized", "weight-mask"])
def test_files_with_weights_may_be_safetensors_too(format, tmp_path, net, masks):
    path = jp.write_masks(masks, tmp_path / "model.safetensors", format=format, model=net)
    found = read_mask_file(path)
    assert (found.format, found.masks) == (format, masks)


@pytest.mark.parametrize("format", ["torch-prune", "parametrized", "weight-mask", "dense"])
def test_files_with_weights_hold_the_whole_network(format, tmp_path, net, masks):
    path = jp.write_masks(masks, tmp_path / "model.pt", format=format, model=net)
    for source in (net, masks.apply(net), dict(net.state_dict())):
        again = jp.write_masks(masks, tmp_path / "again.pt", format=format, model=source, overwrite=True)
        one, other = (torch.load(file, weights_only=True) for file in (path, again))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) and one[key].dtype == other[key].dtype for key in one)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", JacprobeWarning)
        weights = read_mask_file(path).weights
    for name, tensor in net.state_dict().items():
        hidden = tensor if name not in masks or format in ("torch-prune", "parametrized") else tensor * masks[name]
        assert torch.equal(weights[name], hidden)
    loaded = jp.load_model(path, model=lambda: nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Linear(2, 2)))
    assert Masks.of(loaded) == (Masks({}) if format == "dense" else masks)
    inputs = torch.randn(4, 3)
    assert torch.equal(loaded.eval()(inputs), masks.apply(net).eval()(inputs))


def test_a_parametrized_file_is_the_state_dict_of_the_masked_model(tmp_path, net, masks):
    path = jp.write_masks(masks, tmp_path / "model.pt", format="parametrized", model=net)
    fresh = (~masks).apply(net)
    fresh.load_state_dict(torch.load(path, weights_only=True))
    assert Masks.of(fresh) == masks


def test_a_torch_prune_file_is_the_state_dict_of_a_model_pruned_by_torch(tmp_path, net, masks):
    path = jp.write_masks(masks, tmp_path / "model.pt", format="torch-prune", model=net)
    theirs = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Linear(2, 2))
    for layer in (theirs[0], theirs[2]):
        prune.identity(layer, "weight")
    theirs.load_state_dict(torch.load(path, weights_only=True))
    inputs = torch.randn(4, 3)
    assert torch.equal(theirs.eval()(inputs), masks.apply(net).eval()(inputs))
    assert Masks.of(theirs) == masks


@pytest.mark.parametrize("format", WRITABLE)
def test_tied_weights_are_masked_at_every_owner_and_listed_once(format, tmp_path):
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    masks = Masks({"0.weight": torch.eye(3) > 0})
    path = jp.write_masks(masks, file_in(tmp_path, format), format=format, model=net)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", JacprobeWarning)
        assert jp.read_masks(path) == masks
        assert jp.read_masks(path, model=net) == masks
        weights = read_mask_file(path).weights
    if weights is not None:
        loaded = jp.load_model(path, model=lambda: nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)))
        assert torch.equal(loaded[1].weight, net[1].weight * torch.eye(3))


def test_tied_weights_of_safetensors_are_told_by_the_model(tmp_path):
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    masks = Masks({"0.weight": torch.eye(3) > 0})
    path = jp.write_masks(masks, tmp_path / "model.safetensors", format="torch-prune", model=net)
    assert set(jp.read_masks(path)) == {"0.weight", "1.weight"}
    assert jp.read_masks(path, model=net) == masks


def test_a_jacprobe_checkpoint_gives_its_masks_and_provenance(tmp_path):
    net = jp.build("mlp-3-tanh", input_shape=(1, 4, 4))
    masks = Masks({"fc1.weight": torch.rand(100, 16) < 0.5})
    path = jp.save_model(masks.apply(net), tmp_path / "pruned.pt", provenance={"method": "snip"})
    found = read_mask_file(path)
    assert (found.format, found.masks, found.masks.provenance["method"]) == ("checkpoint", masks, "snip")


@pytest.mark.parametrize("format", WRITABLE)
def test_a_network_with_a_compiled_block_is_written_by_plain_names(format, tmp_path, net, masks):
    for model in (net, masks.apply(net)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's compiler warns about itself when it is imported
            compiled = nn.Sequential(net[0], net[1], torch.compile(model[2]))
            path = jp.write_masks(masks, file_in(tmp_path, format), format=format, model=compiled, overwrite=True)
            found = read_mask_file(path)
        assert found.masks == masks
        assert found.weights is None or set(found.weights) == set(net.state_dict())


def test_nothing_of_the_model_or_masks_changes_by_writing(tmp_path, net, masks):
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    for format in WRITABLE:
        jp.write_masks(masks, file_in(tmp_path, format).with_stem(format), format=format, model=net)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert masks == Masks({"0.weight": KEPT, "2.weight": torch.eye(2) > 0})


def test_every_format_stands_in_the_docs():
    import jacprobe.interchange

    for name in FORMATS:
        assert f"\n{name} " in jacprobe.interchange.__doc__
    assert set(WRITABLE) == set(FORMATS) - {"checkpoint"}
