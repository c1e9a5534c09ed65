"""What is read from each kind of sound file."""

from __future__ import annotations

import hashlib
import warnings
from collections import OrderedDict

import pytest
import safetensors.torch
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

import jacprobe as jp
from jacprobe.checkpoint import LayerRow, read_checkpoint
from jacprobe.checkpoint.revival import MODULE_NAMES
from jacprobe.errors import CheckpointError, UntrustedFileError


def assert_same_state(state, expected):
    assert list(state) == list(expected)
    for name, tensor in expected.items():
        assert state[name].dtype == tensor.dtype, name
        assert torch.equal(state[name], tensor), name


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_state_dict_comes_back_bit_identical(zipped, net, write):
    path = write(net.state_dict(), _use_new_zipfile_serialization=zipped)
    checkpoint = read_checkpoint(path)
    assert checkpoint.format == "state dict"
    assert_same_state(checkpoint.state_dict, net.state_dict())
    assert checkpoint.notes == (() if zipped else ("old torch format, which has no checksum",))
    assert (checkpoint.module, checkpoint.spec, checkpoint.input_shape, len(checkpoint.masks)) == (None, None, None, 0)
    assert checkpoint.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert checkpoint.size == path.stat().st_size


@pytest.mark.parametrize("name", ["model.safetensors", "model.bin"])
def test_safetensors_are_known_by_suffix_or_content(name, net, tmp_path):
    safetensors.torch.save_file(net.state_dict(), tmp_path / name)
    checkpoint = read_checkpoint(str(tmp_path / name))
    assert checkpoint.format == "safetensors"
    assert_same_state(dict(sorted(checkpoint.state_dict.items())), dict(sorted(net.state_dict().items())))


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float16, torch.bfloat16, torch.complex64, torch.int8, torch.bool, torch.uint16]
)
def test_every_plain_dtype_is_read(dtype, write):
    tensor = torch.tensor([[0, 1], [1, 1]]).to(dtype)
    assert_same_state(read_checkpoint(write({"weight": tensor})).state_dict, {"weight": tensor})


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", "net", "state_dict_ema"])
def test_a_training_checkpoint_is_unwrapped_and_says_so(key, net, write):
    checkpoint = read_checkpoint(write({"epoch": 3, key: net.state_dict(), "optimizer": {"lr": 0.1}, "best": None}))
    assert_same_state(checkpoint.state_dict, net.state_dict())
    assert checkpoint.notes == (f"unwrapped key {key!r}",)


def test_of_several_keys_the_first_is_taken_and_the_others_named(net, write):
    value = {"model_ema": {"weight": torch.zeros(1)}, "model": {"state_dict": net.state_dict()}}
    checkpoint = read_checkpoint(write(value))
    assert checkpoint.notes == ("unwrapped key 'model' (also there: model_ema)", "unwrapped key 'state_dict'")
    assert_same_state(checkpoint.state_dict, net.state_dict())


@pytest.mark.parametrize(
    ("prefixes", "notes"),
    [
        (["module."], ("stripped prefix 'module.'",)),
        (["_orig_mod."], ("stripped prefix '_orig_mod.'",)),
        (["module.", "_orig_mod."], ("stripped prefix 'module.'", "stripped prefix '_orig_mod.'")),
        (["_orig_mod.", "module."], ("stripped prefix '_orig_mod.'", "stripped prefix 'module.'")),
    ],
)
def test_wrapper_prefixes_are_stripped_and_said(prefixes, notes, net, write):
    state = {"".join(prefixes) + name: tensor for name, tensor in net.state_dict().items()}
    checkpoint = read_checkpoint(write(state))
    assert_same_state(checkpoint.state_dict, net.state_dict())
    assert checkpoint.notes == notes


def test_a_prefix_of_some_names_only_is_part_of_them(write):
    state = {"module.weight": torch.ones(1), "head.weight": torch.ones(1)}
    assert list(read_checkpoint(write(state)).state_dict) == list(state)


MASK = torch.tensor([[1, 0, 1, 0], [0, 0, 1, 1], [1, 1, 1, 0]]).bool()


def _torch_prune(net):
    prune.custom_from_mask(net[0], "weight", MASK)
    return net.state_dict()


def _mask_beside(net):
    return net.state_dict() | {"0.weight_mask": MASK.int()}


def _parametrised(net):
    return jp.Masks({"0.weight": MASK}).apply(net).state_dict()


@pytest.mark.parametrize("convention", [_torch_prune, _mask_beside, _parametrised])
def test_each_convention_of_masks_becomes_plain_weights_and_masks(convention, net, write):
    expected = net.state_dict()
    expected = OrderedDict(expected | {"0.weight": expected["0.weight"] * MASK})
    checkpoint = read_checkpoint(write(convention(net)))
    assert checkpoint.masks == jp.Masks({"0.weight": MASK})
    assert checkpoint.notes == ("read masks of 1 parameters",)
    assert_same_state(OrderedDict(sorted(checkpoint.state_dict.items())), OrderedDict(sorted(expected.items())))
    assert not torch.signbit(checkpoint.state_dict["0.weight"][~MASK]).any()


def test_an_infinite_hidden_weight_does_not_become_nan(write):
    state = {"weight_orig": torch.tensor([torch.inf, 1.0]), "weight_mask": torch.tensor([0.0, 1.0])}
    assert read_checkpoint(write(state)).state_dict["weight"].tolist() == [0, 1]


def test_names_that_only_look_like_masks_are_kept(write):
    state = {"attn_mask": torch.ones(2), "bias": torch.ones(2), "bias_mask": torch.ones(3), "w_orig": torch.ones(1)}
    checkpoint = read_checkpoint(write(state))
    assert list(checkpoint.state_dict) == list(state)
    assert not checkpoint.masks


def test_another_parametrisation_keeps_its_keys(write):
    state = parametrizations.weight_norm(nn.Linear(2, 2)).state_dict()
    assert list(read_checkpoint(write(state)).state_dict) == list(state)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"w_orig": torch.ones(2), "w_mask": torch.tensor([0.5, 1])}, "must hold only 0 and 1; 'w_mask' holds other"),
        ({"w_orig": torch.ones(2), "w_mask": torch.ones(3)}, r"must have the shape of its weight; 'w_mask' is \(3,\)"),
        ({"w_orig": torch.ones(2), "w": torch.ones(2), "w_mask": torch.ones(2)}, "once; 'w' is there twice"),
        ({"_orig_mod.w": torch.ones(2), "w": torch.ones(2)}, "without '_orig_mod.' some names coincide"),
    ],
)
def test_contradictions_of_names_and_masks_are_refused(state, message, write):
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(write(state))


def test_extra_state_is_left_out_and_said(write):
    checkpoint = read_checkpoint(write({"weight": torch.ones(1), "act._extra_state": {"a": 1}}))
    assert list(checkpoint.state_dict) == ["weight"]
    assert checkpoint.notes == ("left out the extra state of modules",)


def test_a_pickled_module_comes_back_whole(net, write):
    net.train()
    net[1].momentum = 0.25
    checkpoint = read_checkpoint(write(net))
    assert checkpoint.format == "pickled module"
    assert checkpoint.state_dict is None
    assert repr(checkpoint.module) == repr(net)
    assert_same_state(checkpoint.module.state_dict(), net.state_dict())
    assert checkpoint.module.training
    assert checkpoint.module[0].weight.requires_grad
    assert checkpoint.module[1].momentum == 0.25
    inputs = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(checkpoint.module.eval()(inputs), net.eval()(inputs))


TRANSFORMER = {"d_model": 4, "nhead": 2, "dim_feedforward": 3, "batch_first": True}
SEQUENCE, IMAGE = (2, 3, 4), (2, 4, 6, 6)
MODULES = {
    "transformer layer with relu": (lambda: nn.TransformerEncoderLayer(**TRANSFORMER), SEQUENCE),
    "transformer layer with gelu": (lambda: nn.TransformerEncoderLayer(**TRANSFORMER, activation="gelu"), SEQUENCE),
    "transformer with silu": (lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(
        **TRANSFORMER, activation=nn.functional.silu), 2, enable_nested_tensor=False), SEQUENCE),
    "LSTM": (lambda: nn.LSTM(4, 3, num_layers=2, bidirectional=True), SEQUENCE),
    "GRU": (lambda: nn.GRU(4, 3), SEQUENCE),
    "convolutions": (lambda: nn.Sequential(nn.Conv2d(4, 2, 3, padding_mode="circular", padding=1), nn.GroupNorm(2, 2),
                                           nn.GELU("tanh"), nn.ConvTranspose2d(2, 4, 2), nn.InstanceNorm2d(4)), IMAGE),
    "pooling": (lambda: nn.Sequential(nn.MaxPool2d(2), nn.Upsample(scale_factor=2), nn.AdaptiveAvgPool2d(1)), IMAGE),
    "activations": (lambda: nn.Sequential(nn.PReLU(), nn.LeakyReLU(0.2), nn.Softplus(), nn.ReLU6(), nn.Hardtanh(),
                                          nn.GLU(), nn.Softmax(-1), nn.Dropout(), nn.RReLU()), IMAGE),
    "norms": (lambda: nn.Sequential(nn.LayerNorm(4), nn.RMSNorm(4), nn.Linear(4, 2)), SEQUENCE),
    "lists and dictionaries": (lambda: nn.Sequential(OrderedDict(a=nn.Linear(4, 4), b=nn.Sequential(nn.Linear(4, 1)))),
                               SEQUENCE),
}


@pytest.mark.parametrize("name", MODULES)
def test_modules_of_torch_nn_compute_the_same_after_reading(name, write):
    make, shape = MODULES[name]
    module = make().eval()
    loaded = read_checkpoint(write(module)).module
    inputs = torch.randn(shape)
    expected, got = module(inputs), loaded(inputs)
    expected, got = (value if isinstance(value, tuple) else (value,) for value in (expected, got))
    assert torch.equal(got[0], expected[0])
    assert repr(loaded) == repr(module)


def test_containers_and_tied_weights_survive(write):
    module = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.ModuleList([nn.Linear(2, 2)])})
    module["p"] = nn.ParameterDict({"x": nn.Parameter(torch.ones(1))})
    module["q"] = nn.ParameterList([torch.ones(2)])
    module["b"][0].weight = module["a"].weight
    loaded = read_checkpoint(write(module)).module
    assert loaded["b"][0].weight is loaded["a"].weight
    assert_same_state(loaded.state_dict(), module.state_dict())


def test_an_uninitialised_lazy_module_is_refused(write):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lazy = nn.LazyLinear(3)
    with pytest.raises(UntrustedFileError, match="LazyLinear"):
        read_checkpoint(write(lazy))


def test_the_list_holds_only_modules_of_torch_nn():
    assert all(name.startswith("torch.nn.modules.") for name in MODULE_NAMES)
    assert len(MODULE_NAMES) > 100


def test_a_module_under_a_key_is_found(net, write):
    checkpoint = read_checkpoint(write({"epoch": 1, "model": net}))
    assert checkpoint.format == "pickled module"
    assert checkpoint.notes == ("unwrapped key 'model'",)


def test_pruning_hooks_become_masks(net, write):
    prune.l1_unstructured(net[0], "weight", amount=5)
    prune.random_unstructured(net[0], "weight", amount=2)  # the second makes a PruningContainer
    prune.ln_structured(net[3], "weight", amount=1, n=2, dim=0)
    prune.random_unstructured(net[3], "bias", amount=1)
    checkpoint = read_checkpoint(write(net))
    assert set(checkpoint.masks) == {"0.weight", "3.weight", "3.bias"}
    assert torch.equal(checkpoint.masks["0.weight"], net[0].weight_mask.bool())
    assert int((~checkpoint.masks["0.weight"]).sum()) == 7
    assert {name for name, _ in checkpoint.module.named_parameters()} == {
        "0.weight", "0.bias", "1.weight", "1.bias", "3.weight", "3.bias"
    }
    inputs = torch.randn(5, 4)
    assert torch.equal(checkpoint.module(inputs), net(inputs))
    assert not checkpoint.module[0]._forward_pre_hooks


def test_a_module_with_a_soft_mask_is_refused(net, write):
    prune.custom_from_mask(net[0], "weight", torch.full((3, 4), 0.5))
    with pytest.raises(CheckpointError, match="a mask must hold only 0 and 1; 'weight_mask'"):
        read_checkpoint(write(net))


def test_pruning_hooks_of_a_trusted_module_are_removed_too(net, write):
    prune.l1_unstructured(net[0], "weight", amount=5)
    net.note = Foreign()
    checkpoint = read_checkpoint(write(net), trust_file=True)
    assert not checkpoint.module[0]._forward_pre_hooks
    assert set(checkpoint.masks) == {"0.weight"}
    inputs = torch.randn(5, 4)
    assert torch.equal(checkpoint.module(inputs), net(inputs))


class Foreign:
    pass


def test_a_trusted_data_parallel_is_unwrapped(net, write):
    checkpoint = read_checkpoint(write(nn.DataParallel(net)), trust_file=True)
    assert type(checkpoint.module) is nn.Sequential
    assert "unwrapped DataParallel" in checkpoint.notes


def test_a_safe_file_is_read_in_the_safe_way_also_when_trusted(net, write):
    assert read_checkpoint(write(net), trust_file=True).notes == ()


def test_facts_count_parameters_and_list_layers(net, write):
    prune.custom_from_mask(net[0], "weight", MASK)
    with torch.no_grad():
        net[3].weight[0] = 0
    rows = [LayerRow("0.weight", (3, 4), 5 / 12), LayerRow("3.weight", (2, 3), 0.5)]
    for value in (net, net.state_dict()):
        checkpoint = read_checkpoint(write(value))
        assert checkpoint.num_parameters == 12 + 3 + 3 + 3 + 6 + 2
        assert sorted(checkpoint.layers) == rows


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_a_newer_pickle_protocol_needs_trust(protocol, net, write):
    path = write(net.state_dict(), pickle_protocol=protocol)
    with pytest.raises(UntrustedFileError, match=rf"use pickle protocol 2, .*; it uses {protocol}\. .*`--trust-file`"):
        read_checkpoint(path)
    assert_same_state(read_checkpoint(path, trust_file=True).state_dict, net.state_dict())


@pytest.mark.filterwarnings("ignore::torch.serialization.SourceChangeWarning")
def test_a_whole_module_in_the_old_format_needs_trust(net, write):
    path = write(net, _use_new_zipfile_serialization=False)
    with pytest.raises(UntrustedFileError, match=r"zip format where it holds a whole module; .*BatchNorm1d"):
        read_checkpoint(path)
    assert_same_state(read_checkpoint(path, trust_file=True).module.state_dict(), net.state_dict())
