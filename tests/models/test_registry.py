import copy
import io
import json
import math

import numpy as np
import pytest
import torch
from torch import nn

import jacprobe as jp
from jacprobe.errors import ArgumentError, BudgetError, ShapeError, UnknownNameError
from jacprobe.models import build, model_names

SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32)]
# every architecture argument at a value that is not its default
NAMES_WITH_ARGUMENTS = [
    ("mlp-5-tanh", {"width": 12}),
    ("lenet-300-100", {"activation": "selu"}),
    ("lenet-5", {"activation": "tanh", "pool": "avg"}),
    ("vgg16", {"activation": "lrelu", "width": 4}),
    ("vgg16-bn", {"activation": "gelu", "width": 4}),
    ("resnet-20", {"activation": "tanh", "k": 2, "block_size": 1}),
    ("wrn-16-2", {"activation": "softplus"}),
]


def _small(name):
    return {"width": 4} if name.startswith("vgg") else {}


def _inputs(shape, num_inputs=3):
    return torch.randn(num_inputs, *shape, generator=torch.Generator().manual_seed(1))


def _identical(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", model_names())
def test_every_network_maps_images_to_classes_without_mixing_them(name, shape):
    net = build(name, input_shape=shape, num_classes=7, **_small(name)).eval()
    inputs = _inputs(shape, num_inputs=2)
    perturbed = inputs.clone()
    perturbed[0] += 0.5 * _inputs(shape, num_inputs=1)[0].flip(-1)
    with torch.no_grad():
        outputs, others = net(inputs), net(perturbed)
    assert outputs.shape == (2, 7)
    assert torch.isfinite(outputs).all()
    assert torch.equal(outputs[1], others[1])
    assert not torch.equal(outputs[0], others[0])


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 7, 5), (1, 3, 9)], ids=str)
@pytest.mark.parametrize("name", ["mlp-3-relu", "lenet-300-100", "vgg16", "vgg16-bn", "resnet-20", "wrn-16-1"])
def test_small_odd_and_oblong_images_fit(name, shape):
    net = build(name, input_shape=shape, num_classes=1, **_small(name)).eval()
    assert net(_inputs(shape)).shape == (3, 1)


def test_the_public_name_builds_on_mnist_by_default():
    net = jp.build("mlp-7-tanh")
    assert net(_inputs((1, 28, 28))).shape == (3, 10)
    assert sum(p.numel() for p in net.parameters()) == 785 * 100 + 5 * 101 * 100 + 101 * 10


@pytest.mark.parametrize("name", ["mlp-7-tanh", "lenet-5", "vgg16-bn", "resnet-20", "wrn-16-2"])
def test_weights_have_variance_one_over_fan_in_and_biases_are_zero(name):
    net = build(name, input_shape=(3, 32, 32), **({"width": 16} if name == "vgg16-bn" else {}))
    standardised = []
    for module in net.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            fan_in = module.weight[0].numel()
            values = module.weight.detach().flatten() * math.sqrt(fan_in)
            # 5 standard errors of mean and variance; a Gaussian's fourth moment is 3, a uniform's would be 1.8
            assert abs(values.mean()) < 5 / math.sqrt(values.numel())
            assert abs(values.var() - 1) < 5 * math.sqrt(2 / (values.numel() - 1))
            assert torch.count_nonzero(module.bias) == 0
            standardised.append(values)
    assert torch.cat(standardised).pow(4).mean() == pytest.approx(3, rel=0.1)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    first, second, other = (build("lenet-5", seed=seed).state_dict() for seed in (3, 3, 4))
    assert _identical(first, second)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])


def test_weights_do_not_depend_on_the_global_seed_and_leave_its_state_alone():
    torch.manual_seed(1)
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    first = build("resnet-20").state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)
    torch.manual_seed(2)
    assert _identical(first, build("resnet-20").state_dict())


@pytest.mark.parametrize(("name", "arguments"), NAMES_WITH_ARGUMENTS)
def test_the_spec_survives_json_and_builds_the_same_architecture(name, arguments):
    net = build(name, input_shape=torch.Size([3, 8, 8]), num_classes=np.int64(5), seed=9, **arguments)
    spec = json.loads(json.dumps(net.jacprobe_spec))
    assert spec == {"name": name, "arguments": {"input_shape": [3, 8, 8], "num_classes": 5, **arguments}}
    again = build(spec["name"], **spec["arguments"])
    assert repr(again) == repr(net)
    again.load_state_dict(net.state_dict())
    inputs = _inputs((3, 8, 8))
    assert torch.equal(again.eval()(inputs), net.eval()(inputs))


@pytest.mark.parametrize("name", ["mlp-3-tanh", "vgg16-bn", "resnet-20", "wrn-16-1"])
def test_a_network_copies_with_its_spec_and_its_state_is_plain(name):
    net = build(name, input_shape=(1, 8, 8), **_small(name))
    twin = copy.deepcopy(net)
    assert twin.jacprobe_spec == net.jacprobe_spec
    assert twin.jacprobe_spec is not net.jacprobe_spec
    assert _identical(twin.state_dict(), net.state_dict())
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    file.seek(0)
    assert _identical(torch.load(file, weights_only=True), net.state_dict())


@pytest.mark.parametrize("name", ["mlp-3-tanh", "lenet-5", "vgg16-bn", "resnet-20", "wrn-16-1"])
def test_modules_are_registered_in_the_order_in_which_they_run(name):
    net = build(name, input_shape=(1, 8, 8), **_small(name)).eval()
    ran = []
    leaves = [path for path, module in net.named_modules() if not list(module.children()) and "shortcut" not in path]
    for path in leaves:
        net.get_submodule(path).register_forward_hook(lambda *_, path=path: ran.append(path))
    net(_inputs((1, 8, 8)))
    assert ran == leaves


def test_a_network_is_built_on_the_cpu_whatever_the_default_device():
    with torch.device("meta"):
        net = build("vgg16-bn", input_shape=(1, 8, 8), width=2)
    assert {tensor.device.type for tensor in net.state_dict().values()} == {"cpu"}
    assert _identical(net.state_dict(), build("vgg16-bn", input_shape=(1, 8, 8), width=2).state_dict())


def test_an_unknown_name_is_refused():
    with pytest.raises(UnknownNameError, match="`model` must be one of .*; got 'vgg19'. Did you mean 'vgg16'"):
        build("vgg19")


@pytest.mark.parametrize(
    "shape",
    [(28, 28), (1, 0, 28), (1, 28, -1), (1, 28.0, 28), (True, 8, 8), 28, None, "abc", (1, 2**16, 2**16)],
    ids=str,
)
def test_a_bad_input_shape_is_refused(shape):
    with pytest.raises(ShapeError, match=r"`input_shape` must be three positive integers .*; got .*Pass"):
        build("mlp-3-tanh", input_shape=shape)


@pytest.mark.parametrize("value", [0, -3, 2.0, "10", None, True, 2**31], ids=str)
@pytest.mark.parametrize(
    ("key", "name"), [("num_classes", "lenet-5"), ("width", "vgg16"), ("k", "resnet-20"), ("block_size", "resnet-56")]
)
def test_a_count_that_is_no_positive_integer_is_refused(name, key, value):
    with pytest.raises(ArgumentError, match=rf"`{key}` must be an integer in \[1, 2\*\*31\); got .*Pass one"):
        build(name, **{key: value})


@pytest.mark.parametrize("seed", [-1, 2**63, 0.5, "0", None, False], ids=str)
def test_a_seed_that_is_no_integer_in_range_is_refused(seed):
    with pytest.raises(ArgumentError, match=r"`seed` must be an integer in \[0, 2\*\*63\); got .*\. Pass a seed"):
        build("mlp-3-tanh", seed=seed)


@pytest.mark.parametrize("value", ["swish", None, ["relu"], torch.relu], ids=["unknown", "none", "list", "function"])
def test_an_unknown_activation_lists_the_valid_ones(value):
    with pytest.raises(UnknownNameError, match="`activation` must be one of linear, tanh, relu, lrelu, selu, .*; got"):
        build("vgg16", activation=value)


def test_an_unknown_pooling_lists_the_valid_ones():
    with pytest.raises(UnknownNameError, match="`pool` must be one of max, avg; got 'mean'"):
        build("lenet-5", pool="mean")


@pytest.mark.parametrize(
    ("name", "key", "valid"),
    [
        ("mlp-3-tanh", "activation", "width"),
        ("mlp-3-tanh", "depth", "width"),
        ("lenet-300-100", "width", "activation"),
        ("vgg16", "batch_norm", "activation, width"),
        ("resnet-20", "width", "activation, block_size, k"),
        ("wrn-16-4", "k", "activation"),
    ],
)
def test_an_argument_that_the_network_does_not_take_is_refused(name, key, valid):
    with pytest.raises(UnknownNameError, match=f"`arguments of {name}` must be one of {valid}, input_shape, .*'{key}'"):
        build(name, **{key: 3})


def test_a_network_beyond_all_memory_is_refused_in_one_line():
    with pytest.raises(BudgetError, match="`mlp-3-tanh` must fit in memory; got .*2147483647.*Build a small") as caught:
        build("mlp-3-tanh", input_shape=(1, 46340, 46340), width=2**31 - 1)  # 2**64 bytes overflow at once
    assert "\n" not in str(caught.value)
