"""Files as other tools write them, built by hand."""

import pickle
from collections import OrderedDict

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn
from torch.nn.utils import parametrize, prune

import jacprobe as jp
from jacprobe.errors import JacprobeWarning
from jacprobe.interchange import find_masks, read_mask_file
from jacprobe.masks import Masks

KEPT = torch.tensor([[True, False, True], [False, False, True]])
BIAS = torch.tensor([True, False])
MASKS = Masks({"fc.weight": KEPT})


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.norm = nn.Linear(3, 2), nn.BatchNorm1d(2)

    def forward(self, x):
        return self.norm(self.fc(x))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


@pytest.fixture
def write(tmp_path):
    def save(value, name="mask.pth"):
        torch.save(value, tmp_path / name)
        return tmp_path / name

    return save


def test_masks_of_open_lth(write):
    mask = {"fc.weight": np.array([[1.0, 0, 1], [0, 0, 1]]), "fc.bias": np.ones(2)}
    path = write({k: torch.as_tensor(v).cpu().int() for k, v in mask.items()})  # as its Mask.save does
    found = read_mask_file(path)
    assert found.format == "open-lth"
    assert found.masks == Masks({"fc.weight": KEPT, "fc.bias": torch.ones(2, dtype=torch.bool)})
    assert found.weights is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool, torch.uint8, torch.int64, torch.float16], ids=str)
def test_flat_masks_of_any_number_type(write, dtype):
    assert jp.read_masks(write({"fc.weight": KEPT.to(dtype)})) == MASKS


def test_masks_of_nni(write):
    norm = {"weight": torch.ones(2), "bias": None}
    path = write({"fc": {"weight": KEPT.float(), "bias": BIAS.float()}, "norm": norm})
    found = read_mask_file(path)
    assert found.format == "nni"
    assert found.masks == Masks({"fc.weight": KEPT, "fc.bias": BIAS, "norm.weight": torch.ones(2, dtype=torch.bool)})


def test_masks_of_nni_may_have_modules_called_as_wrappers_are(write):
    path = write({"model": {"weight": KEPT.float(), "bias": None}})
    assert set(jp.read_masks(path)) == {"model.weight"}


@pytest.mark.parametrize("savez", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int32, np.float32, ">i4"], ids=str)
def test_numpy_archives(tmp_path, savez, dtype):
    savez(tmp_path / "m.npz", **{"fc.weight": KEPT.numpy().astype(dtype)})
    assert read_mask_file(tmp_path / "m.npz").format == "npz"
    assert jp.read_masks(tmp_path / "m.npz") == MASKS


def test_the_state_dict_of_a_model_pruned_by_torch(net, write):
    prune.custom_from_mask(net.fc, "weight", KEPT)
    prune.custom_from_mask(net.fc, "bias", BIAS)
    found = read_mask_file(write(net.state_dict()))
    assert found.format == "torch-prune"
    assert found.masks == Masks({"fc.weight": KEPT, "fc.bias": BIAS})
    assert torch.equal(found.weights["fc.weight"], net.fc.weight_orig)


def test_a_pickled_module_pruned_by_torch(write):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 2))
    prune.random_unstructured(module[0], "weight", 2)
    prune.l1_unstructured(module[0], "weight", 2)  # a container of both hooks
    found = read_mask_file(write(module))
    assert found.format == "torch-prune"
    assert torch.equal(found.masks["0.weight"], module[0].weight_mask.bool())
    assert torch.equal(found.weights["0.weight"], module[0].weight_orig)


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "net"])
def test_a_training_script_s_checkpoint_of_a_pruned_data_parallel_model(net, write, key):
    prune.custom_from_mask(net.fc, "weight", KEPT)
    state = nn.DataParallel(net).state_dict()
    assert jp.read_masks(write({"epoch": 3, key: state, "best": 0.9})) == MASKS


def test_the_state_dict_of_a_compiled_model(net, write):
    state = {f"_orig_mod.{name}": tensor for name, tensor in MASKS.apply(net).state_dict().items()}
    assert jp.read_masks(write(state)) == MASKS


def test_flat_masks_of_a_wrapped_model(write):
    assert jp.read_masks(write({"module.fc.weight": KEPT.int()})) == MASKS
    assert jp.read_masks(write({"module.fc": {"weight": KEPT.float(), "bias": None}})) == MASKS
    assert jp.read_masks(write({"fc.parametrizations.weight.original": KEPT.int()})) == MASKS


class TheirMask(nn.Module):
    def __init__(self, mask):
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight):
        return weight * self.mask


@pytest.mark.parametrize("dtype", [torch.bool, torch.float32], ids=str)
def test_the_state_dict_of_parametrised_masks_of_another_tool(net, write, dtype):
    parametrize.register_parametrization(net.fc, "weight", TheirMask(KEPT.to(dtype)))
    found = read_mask_file(write(net.state_dict()))
    assert (found.format, found.masks) == ("parametrized", MASKS)


def test_two_parametrised_masks_of_one_weight_are_both_applied(net, write):
    for mask in (KEPT, torch.tensor([[True, True, False], [True, True, True]])):
        parametrize.register_parametrization(net.fc, "weight", TheirMask(mask))
    assert jp.read_masks(write(net.state_dict())).num_kept == 2


@pytest.mark.parametrize("name", ["weight_mask", "mask", "_mask", "keep_mask", "_weight_mask"])
@pytest.mark.parametrize("dtype", [torch.bool, torch.float32], ids=str)
@pytest.mark.parametrize("is_masked", [True, False], ids=["weights masked", "weights dense"])
def test_a_mask_beside_its_weight(net, write, name, dtype, is_masked):
    net.fc.register_buffer(name, KEPT.to(dtype))
    if is_masked:
        net.fc.weight.data *= KEPT
    found = read_mask_file(write(net.state_dict()))
    assert (found.format, found.masks) == ("weight-mask", MASKS)
    assert set(found.weights) == set(Net().state_dict())


def test_masks_of_two_tools_in_one_file_are_all_read(write):
    net = nn.Sequential(nn.Linear(3, 2), nn.Linear(3, 2), nn.Linear(3, 2))
    prune.custom_from_mask(net[0], "weight", KEPT)
    pruned = Masks({"1.weight": ~KEPT}).apply(net)
    pruned[2].register_buffer("weight_mask", KEPT.float())
    expected = Masks({"0.weight": KEPT, "1.weight": ~KEPT, "2.weight": KEPT})
    path = write(pruned.state_dict())
    assert jp.read_masks(path) == expected == jp.read_checkpoint(path).masks
    for format in ("torch-prune", "parametrized", "weight-mask"):
        assert jp.read_masks(path, format=format) == expected


def test_a_bias_has_a_mask_beside_it_too(net, write):
    net.fc.register_buffer("bias_mask", BIAS.float())
    assert jp.read_masks(write(net.state_dict())) == Masks({"fc.bias": BIAS})


def test_a_buffer_called_mask_of_another_shape_is_no_mask(net, write):
    net.fc.register_buffer("mask", torch.ones(5, 5))
    net.fc.register_buffer("weight_mask", KEPT.float())
    assert jp.read_masks(write(net.state_dict())) == MASKS


def test_safetensors_of_another_tool(net, tmp_path):
    safetensors.torch.save_file({"fc.weight": KEPT}, tmp_path / "flat.safetensors")
    assert read_mask_file(tmp_path / "flat.safetensors").format == "safetensors"
    assert jp.read_masks(tmp_path / "flat.safetensors") == MASKS
    prune.custom_from_mask(net.fc, "weight", KEPT)
    safetensors.torch.save_file(net.state_dict(), tmp_path / "model.safetensors")
    assert read_mask_file(tmp_path / "model.safetensors").format == "torch-prune"
    safetensors.torch.save_file({"fc.weight": KEPT.to(torch.uint8)}, tmp_path / "bytes.safetensors")
    assert jp.read_masks(tmp_path / "bytes.safetensors") == MASKS


def test_exact_zeros_are_taken_for_removed_weights_with_a_warning(net, write):
    prune.custom_from_mask(net.fc, "weight", KEPT)
    prune.remove(net.fc, "weight")
    with pytest.warns(JacprobeWarning, match=r"holds no masks: the 3 exact zeros in its 1 tensors of two and more axes "
                                             r"are taken for removed weights; a kept weight that is exactly zero is"):
        found = read_mask_file(write(net.state_dict()))
    assert (found.format, found.masks) == ("dense", MASKS)


def test_a_dense_model_without_zeros_is_read_where_asked_for(net, write):
    path = write(net.state_dict())
    with pytest.warns(JacprobeWarning, match="the 0 exact zeros"):
        assert jp.read_masks(path, format="dense").sparsity == 0


def test_a_pickled_module_with_zeros(write):
    module = nn.Sequential(nn.Linear(3, 2))
    module[0].weight.data *= KEPT
    with pytest.warns(JacprobeWarning, match="the 3 exact zeros"):
        assert jp.read_masks(write(module)) == Masks({"0.weight": KEPT})


def test_old_torch_files_are_read_too(tmp_path):
    torch.save({"fc.weight": KEPT.int()}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert jp.read_masks(tmp_path / "old.pth") == MASKS


def test_ordered_dicts_are_dicts(write):
    assert jp.read_masks(write(OrderedDict({"fc.weight": KEPT.int()}))) == MASKS


def test_the_dense_file_warns_of_what_it_cannot_keep(net, tmp_path):
    masks = Masks({"fc.weight": KEPT, "fc.bias": BIAS})
    with pytest.warns(JacprobeWarning, match=r"`dense` keeps no masks: those of fc\.bias cannot be read back from "
                                             r"exact zeros \(1 of 2\)\. Write a format with masks too"):
        jp.write_masks(masks, tmp_path / "dense.pt", format="dense", model=net)
    net.fc.weight.data[0, 0] = 0  # a kept weight
    with pytest.warns(JacprobeWarning, match=r"those of fc\.weight cannot be read back"):
        jp.write_masks(MASKS, tmp_path / "zero.pt", format="dense", model=net)


# model files and mask files


def test_only_files_of_masks_alone_are_mask_files(net, write, tmp_path):
    assert find_masks(write({"fc.weight": KEPT.int()})).format == "open-lth"
    assert find_masks(write({"fc": {"weight": KEPT.float(), "bias": None}})).format == "nni"
    assert find_masks(jp.write_masks(MASKS, tmp_path / "m.safetensors")).format == "safetensors"
    assert find_masks(jp.write_masks(MASKS, tmp_path / "m.npz")).format == "npz"
    assert find_masks(write(net.state_dict())) is None
    assert find_masks(write(nn.BatchNorm1d(3).state_dict())) is None  # zeros and ones alone
    assert find_masks(write(MASKS.apply(net).state_dict())) is None
    assert find_masks(write(nn.Linear(3, 2))) is None
    assert find_masks(tmp_path / "missing.pt") is None
    (tmp_path / "p.pt").write_bytes(pickle.dumps({"a": 1}))
    assert find_masks(tmp_path / "p.pt") is None
