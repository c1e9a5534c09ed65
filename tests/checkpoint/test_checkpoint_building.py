"""Models built from files, by name, by factory, by module."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

import jacprobe as jp
from jacprobe.checkpoint import build_model, read_checkpoint
from jacprobe.errors import ArgumentError, CheckpointError, DtypeError, ModelError, UnknownNameError


@pytest.fixture
def lenet():
    return jp.build("lenet-5", input_shape=(1, 28, 28), num_classes=7, seed=3)


@pytest.fixture
def factories(tmp_path, monkeypatch):
    """A module of the user's own in the current folder."""
    (tmp_path / "own_nets.py").write_text(
        "import torch\n"
        "def make():\n    return torch.nn.Linear(4, 2)\n"
        "def broken():\n    raise KeyError('width')\n"
        "def number():\n    return 3\n"
        "ready = torch.nn.Linear(4, 2)\n"
        "class Nets:\n    make = staticmethod(make)\n"
    )
    (tmp_path / "own_broken.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    yield
    sys.modules.pop("own_nets", None)


def assert_same_weights(model, expected):
    assert model.state_dict().keys() == expected.state_dict().keys()
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in expected.state_dict().items())


def test_a_jacprobe_checkpoint_needs_nothing_else(lenet, tmp_path):
    loaded = jp.load_model(jp.save_model(lenet, tmp_path / "model.pt"))
    assert_same_weights(loaded, lenet)
    assert loaded.jacprobe_spec == lenet.jacprobe_spec


def test_a_state_dict_takes_a_network_by_name(lenet, write):
    loaded = jp.load_model(write(lenet.state_dict()), model="lenet-5", input_shape=(1, 28, 28))
    assert_same_weights(loaded, lenet)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 3, 5)])
def test_the_ends_of_an_mlp_are_read_off_its_weights(shape, write):
    net = jp.build("mlp-3-tanh", input_shape=shape, num_classes=4, width=6)
    loaded = jp.load_model(write(net.state_dict()), model="mlp-3-tanh", width=6)
    assert_same_weights(loaded, net)
    inputs = torch.randn(2, *shape)
    assert torch.equal(loaded(inputs), net(inputs))


def test_a_double_precision_file_gives_a_double_precision_model(lenet, write):
    loaded = jp.load_model(write(lenet.double().state_dict()), model="lenet-5", input_shape=(1, 28, 28))
    assert_same_weights(loaded, lenet)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float64}


def test_masks_of_the_file_are_applied_and_stay(write):
    net = jp.build("mlp-3-tanh", input_shape=(1, 2, 2), num_classes=2, width=3)
    masks = jp.Masks({"fc2.weight": torch.eye(3).bool()})
    for source in (masks.apply(net).state_dict(), net.state_dict() | {"fc2.weight_mask": torch.eye(3)}):
        loaded = jp.load_model(write(source), model="mlp-3-tanh", width=3)
        assert jp.Masks.of(loaded) == masks
        inputs = torch.randn(5, 1, 2, 2)
        assert torch.equal(loaded(inputs), masks.apply(net)(inputs))


def test_a_pickled_module_brings_its_own_network_and_mode(net, write):
    net[3].eval()
    checkpoint = read_checkpoint(write(net.train()))
    loaded = build_model(checkpoint)
    assert_same_weights(loaded, net)
    assert [module.training for module in loaded.modules()] == [module.training for module in net.modules()]
    assert loaded is not checkpoint.module


def test_a_pickled_module_may_fill_another(net, write):
    assert_same_weights(jp.load_model(write(net), model=nn.Sequential(*net.children())), net)


def test_a_module_given_as_model_is_copied(write):
    own, other = nn.Linear(4, 2), nn.Linear(4, 2)
    before = own.weight.clone()
    assert_same_weights(jp.load_model(write(other.state_dict()), model=own), other)
    assert torch.equal(own.weight, before)


@pytest.mark.parametrize("model", ["own_nets:make", "own_nets:ready", "own_nets:Nets.make", lambda: nn.Linear(4, 2)])
def test_a_factory_of_the_user_makes_the_network(model, factories, write):
    net, path_before = nn.Linear(4, 2), list(sys.path)
    assert_same_weights(jp.load_model(write(net.state_dict()), model=model), net)
    assert sys.path == path_before


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        ("no_such_module:make", ArgumentError, "must name an importable module; got 'no_such_module:make'"),
        (":make", ArgumentError, "must name an importable module; got ':make'"),
        (".own_nets:make", ArgumentError, "must name an importable module; got '.own_nets:make'"),
        ("own_nets:none", ArgumentError, "must name a factory; 'own_nets' has no 'none'"),
        ("own_nets:", ArgumentError, "must name a factory; 'own_nets' has no ''"),
        ("own_nets:__name__", DtypeError, "must name a factory; 'own_nets:__name__' is str"),
        ("own_nets:number", DtypeError, r"must make a torch\.nn\.Module; 'own_nets:number' made int"),
        ("own_nets:broken", ModelError, "'own_nets:broken' raised KeyError: 'width'"),
        ("own_broken:make", ModelError, "'own_broken' raised ZeroDivisionError: division by zero"),
        (3, DtypeError, "package.module:factory, a module or a callable; got int"),
        ("lenet-6", UnknownNameError, "`model` must be one of .*Did you mean 'lenet-5'"),
        ("vgg16", ArgumentError, r"`input_shape` must be given to build 'vgg16'"),
        ("lenet-5", ArgumentError, r"`input_shape` must be given to build 'lenet-5'.*`--input-shape`"),
        (None, ArgumentError, r"`model` must name the network of .*model\.pt.* got None.*lenet-5.*`--model`"),
    ],
)
def test_a_model_that_makes_no_network_is_one_line(model, error, message, factories, write, lenet):
    with pytest.raises(error, match=message) as info:
        jp.load_model(write(lenet.state_dict()), model=model)
    assert "\n" not in str(info.value)


def test_a_pruned_model_is_not_filled(write):
    own = jp.Masks({"weight": torch.ones(2, 4).bool()}).apply(nn.Linear(4, 2))
    with pytest.raises(ModelError, match="must be dense, since the masks come from the file"):
        jp.load_model(write(nn.Linear(4, 2).state_dict()), model=own)


def test_arguments_without_a_name_are_refused(net, write):
    with pytest.raises(ArgumentError, match="`width` must come with a network's name"):
        jp.load_model(write(net), width=3)
    with pytest.raises(ArgumentError, match="`width` must come with a network's name"):
        jp.load_model(write(nn.Linear(1, 1).state_dict()), model="a:b", width=3)


def test_the_first_mismatches_are_named_and_the_others_counted(write):
    state = {f"layer{i}.weight": torch.ones(1) for i in range(5)} | {"weight": torch.ones(3, 4)}
    message = (
        r"must fit Linear; missing keys: 'bias'; unexpected keys: 'layer0.weight', 'layer1.weight', 'layer2.weight'"
        r" and 2 more; shapes differ: 'weight' is \(3, 4\) and the network's \(2, 4\)\. Check `model`"
    )
    with pytest.raises(CheckpointError, match=message):
        jp.load_model(write(state), model=nn.Linear(4, 2))


def test_the_wrong_name_is_refused_by_name(lenet, write):
    with pytest.raises(CheckpointError, match=r"must fit 'mlp-3-tanh'; missing keys: .*fc"):
        jp.load_model(write(lenet.state_dict()), model="mlp-3-tanh", input_shape=(1, 28, 28))


def test_missing_batch_counters_of_old_files_are_filled(net, write):
    state = {name: tensor for name, tensor in net.state_dict().items() if "num_batches" not in name}
    assert_same_weights(jp.load_model(write(state), model=net), net)


def test_a_model_with_extra_state_that_the_file_lacks_is_one_line(write):
    class Extra(nn.Linear):
        def get_extra_state(self):
            return {"a": 1}

    with pytest.raises(CheckpointError, match="missing keys: '_extra_state'"):
        jp.load_model(write(nn.Linear(2, 2).state_dict()), model=Extra(2, 2))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "none", "arguments": {}}, "must describe a network that jacprobe can build; `model` must be one of"),
        ({"name": "lenet-5", "arguments": {"seed": "x"}}, "must describe a network that jacprobe can build; `seed`"),
        ({"name": "lenet-5", "arguments": {"name": "x"}}, "a network that jacprobe can build; .*multiple"),
        ({"name": "lenet-5", "arguments": {"input_shape": [1, 32, 32]}}, "must fit 'lenet-5'; shapes differ"),
    ],
)
def test_a_jacprobe_checkpoint_of_an_unknown_network_is_one_line(spec, message, lenet, tmp_path):
    path = jp.save_model(lenet, tmp_path / "model.pt")
    torch.save(torch.load(path, weights_only=True) | {"model": spec}, path)
    with pytest.raises(CheckpointError, match=message):
        jp.load_model(path)


def test_classes_and_inputs_are_read_off_by_name_whatever_the_order_in_the_file(tmp_path):
    net = jp.build("mlp-3-tanh", input_shape=(1, 8, 8), num_classes=7)
    state = net.state_dict()
    for i, names in enumerate((sorted(state), sorted(state, reverse=True))):
        torch.save({name: state[name] for name in names}, tmp_path / f"{i}.pt")
        loaded = jp.load_model(tmp_path / f"{i}.pt", model="mlp-3-tanh").state_dict()
        assert all(torch.equal(loaded[name], state[name]) for name in state)


def test_a_prefix_that_all_names_share_is_dropped_where_the_rest_fit(tmp_path):
    net = jp.build("mlp-3-tanh", input_shape=(1, 4, 4))
    torch.save({"state_dict": {f"model.{name}": t for name, t in net.state_dict().items()}}, tmp_path / "a.ckpt")
    loaded = jp.load_model(tmp_path / "a.ckpt", model=jp.build("mlp-3-tanh", input_shape=(1, 4, 4), seed=1))
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), net.parameters(), strict=True))


def test_other_weights_beside_those_taken_are_named(tmp_path):
    state = jp.build("mlp-3-tanh", input_shape=(1, 4, 4)).state_dict()
    torch.save({"ema": state, "net_weights": state, "epoch": 3}, tmp_path / "two.pt")
    assert read_checkpoint(tmp_path / "two.pt").notes == ("unwrapped key 'ema' (also there: net_weights)",)
