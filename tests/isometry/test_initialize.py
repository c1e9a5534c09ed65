import numpy as np
import pytest
import torch
from torch import nn

from jacprobe.errors import ArgumentError
from jacprobe.isometry import initialize
from jacprobe.isometry.initialisers import INITIALISERS
from jacprobe.masks import Masks, assert_masked, remove_masks


def make_net():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(32, 20), nn.Linear(20, 4)
    )


LAYERS = {
    "wide": nn.Linear(30, 12),
    "tall": nn.Linear(12, 30),
    "square": nn.Linear(16, 16),
    "one output": nn.Linear(9, 1),
    "convolution": nn.Conv2d(3, 8, 3),
    "grouped convolution": nn.Conv2d(4, 8, 3, groups=2),
    "depthwise convolution": nn.Conv2d(20, 20, 3, groups=20),
    "tall convolution": nn.Conv1d(1, 12, 5),
    "transposed convolution": nn.ConvTranspose2d(4, 6, 3),
    "grouped transposed convolution": nn.ConvTranspose1d(6, 12, 2, groups=3),
}


def matrices(layer):
    """One matrix per group, float64 in NumPy, with a row per output."""
    weight, groups = layer.weight.detach().double().numpy(), getattr(layer, "groups", 1)
    if getattr(layer, "transposed", False):
        return [block.swapaxes(0, 1).reshape(block.shape[1], -1) for block in np.split(weight, groups)]
    return [block.reshape(len(block), -1) for block in np.split(weight, groups)]


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 1e-6), (torch.float64, 1e-12)], ids=["float32", "float64"])
@pytest.mark.parametrize("gain", [1, 2.5])
def test_orthogonal_weights_have_all_singular_values_at_the_gain(layer, dtype, atol, gain):
    net = initialize(layer.to(dtype), "orthogonal", gain=gain)
    assert net.weight.dtype == dtype
    for matrix in matrices(net):
        assert np.abs(np.linalg.svd(matrix, compute_uv=False) - gain).max() <= atol * gain
        gram = matrix @ matrix.T if len(matrix) <= matrix.shape[1] else matrix.T @ matrix
        assert np.abs(gram - gain**2 * np.eye(len(gram))).max() <= 2 * atol * gain**2


def test_orthogonal_weights_of_one_group_are_those_of_torch():
    for layer in (nn.Linear(30, 12), nn.Conv2d(3, 8, 3)):
        expected = nn.init.orthogonal_(torch.empty(layer.weight.shape, dtype=torch.float64),
                                       generator=torch.Generator().manual_seed(7))
        assert torch.equal(initialize(layer.double(), "orthogonal", seed=7).weight, expected)


VARIANCES = {  # (layer, its fan in, its fan out), written out by hand
    "linear": (nn.Linear(400, 200), 400, 200),
    "convolution": (nn.Conv2d(40, 60, 3), 40 * 9, 60 * 9),
    "strided 1-d convolution": (nn.Conv1d(50, 100, 7, stride=2), 50 * 7, 100 * 7),
    "grouped convolution": (nn.Conv2d(80, 120, 3, groups=4), 20 * 9, 30 * 9),
    "transposed convolution": (nn.ConvTranspose2d(60, 20, 3), 60 * 9, 20 * 9),
    "grouped transposed convolution": (nn.ConvTranspose2d(120, 40, 3, groups=2), 60 * 9, 20 * 9),
}


@pytest.mark.parametrize(("layer", "fan_in", "fan_out"), VARIANCES.values(), ids=VARIANCES)
@pytest.mark.parametrize(
    ("method", "arguments", "variance"),
    [
        ("sg", {"gamma": 0.01}, lambda fan_in, fan_out: 0.01),
        ("vs-l", {}, lambda fan_in, fan_out: 1 / fan_in),
        ("vs-g", {}, lambda fan_in, fan_out: 2 / (fan_in + fan_out)),
        ("vs-h", {}, lambda fan_in, fan_out: 2 / fan_in),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_gaussian_weights_have_the_variance_of_their_name(layer, fan_in, fan_out, method, arguments, variance):
    weight = initialize(layer, method, seed=5, **arguments).weight.detach().double()
    expected = variance(fan_in, fan_out)
    assert abs(weight.mean()) <= 4 * (expected / weight.numel()) ** 0.5  # four standard errors
    assert abs(weight.var() / expected - 1) <= 4 * (2 / weight.numel()) ** 0.5
    assert abs((weight**4).mean() / weight.var() ** 2 - 3) <= 4 * (24 / weight.numel()) ** 0.5  # Gaussian, not uniform


def test_biases_are_zero_and_normalisations_keep_their_state():
    net = make_net()
    with torch.no_grad():
        for tensor in net[1].state_dict().values():
            tensor.add_(3)
    fresh = initialize(net, "vs-h")
    assert not any(fresh[i].bias.any() for i in (0, 4, 5))
    assert all(torch.equal(tensor, fresh[1].state_dict()[name]) for name, tensor in net[1].state_dict().items())


ARGUMENTS = {  # of each method, for make_net
    **{name: {} for name in ("orthogonal", "vs-l", "vs-g", "vs-h", "conv-orthogonal", "delta-orthogonal", "critical")},
    "sg": {"gamma": 0.1},
    "mean-field": {"sigma_w2": 1.5, "sigma_b2": 0.1},
    "sparse-kaiming": {"masks": Masks({"4.weight": torch.arange(640).reshape(20, 32) % 3 == 0})},
    "eoi": {"density": 0.3},
    "sao": {"degree": 4},
}


def test_every_method_is_tried_and_in_the_docstring():
    assert ARGUMENTS.keys() == INITIALISERS.keys()
    assert all(name in initialize.__doc__ for name in INITIALISERS)


@pytest.mark.parametrize("method", ARGUMENTS)
def test_the_caller_s_model_and_random_state_are_untouched(method):
    net = make_net().train()
    net[1].eval()
    net[4].weight.requires_grad_(False)
    before, flags = {n: t.clone() for n, t in net.state_dict().items()}, [m.training for m in net.modules()]
    state = torch.get_rng_state()
    fresh = remove_masks(initialize(net, method, **ARGUMENTS[method]))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert [m.training for m in net.modules()] == [m.training for m in fresh.modules()] == flags
    learnt = [{name: p.requires_grad for name, p in each.named_parameters()} for each in (net, fresh)]
    assert learnt[0] == learnt[1]
    assert not torch.equal(fresh[4].weight, net[4].weight)


@pytest.mark.parametrize("method", ARGUMENTS)
def test_the_same_seed_gives_the_same_weights_and_another_others(method):
    seeds = (3, torch.Generator().manual_seed(3), 4)
    first, again, other = (initialize(make_net(), method, seed=seed, **ARGUMENTS[method]) for seed in seeds)
    for i in (0, 4, 5):
        assert torch.equal(first[i].weight, again[i].weight)
        assert not torch.equal(first[i].weight, other[i].weight)


def test_layers_of_one_shape_are_drawn_apart():
    fresh = initialize(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), "vs-l")
    assert not torch.equal(fresh[0].weight, fresh[1].weight)


@pytest.mark.parametrize("method", ["orthogonal", "conv-orthogonal", "eoi", "sao"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_the_draw_does_not_depend_on_the_precision_of_the_model(dtype, method):
    double = initialize(nn.Linear(8, 4).double(), method, seed=1, **ARGUMENTS[method]).weight
    single = initialize(nn.Linear(8, 4).to(dtype), method, seed=1, **ARGUMENTS[method]).weight
    assert torch.equal(single, double.to(dtype))


@pytest.mark.parametrize("method", ["eoi", "sao", "sparse-kaiming"])
def test_sparse_methods_hold_their_zeros_under_training(method):
    net = initialize(make_net(), method, **ARGUMENTS[method])
    masks = Masks.of(net)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    net(torch.ones(2, 3, 4, 4)).sum().backward()
    optimiser.step()
    assert masks.num_kept < masks.num_prunable
    assert_masked(net, masks)


def test_a_callable_fills_the_weight_with_its_arguments():
    def constant(weight, generator, *, value):
        assert isinstance(generator, torch.Generator)
        weight.fill_(value)

    fresh = initialize(make_net(), constant, value=2.0)
    assert all((fresh[i].weight == 2).all() for i in (0, 4, 5))


def test_the_initialisers_of_torch_are_such_callables():
    fresh = initialize(make_net(), nn.init.kaiming_normal_, seed=4, nonlinearity="relu")
    generator = torch.Generator().manual_seed(4)
    for i in (0, 4, 5):
        expected = torch.empty(fresh[i].weight.shape, dtype=torch.float64)
        nn.init.kaiming_normal_(expected, nonlinearity="relu", generator=generator)
        assert torch.equal(fresh[i].weight, expected.float())


def test_errors_inside_a_callable_are_its_own():
    def broken(weight, generator):
        return weight + "text"

    with pytest.raises(TypeError, match="unsupported operand"):
        initialize(make_net(), broken)


@pytest.mark.parametrize("method", ARGUMENTS)
def test_the_default_device_and_dtype_of_the_user_change_nothing(method):
    expected = initialize(make_net(), method, **ARGUMENTS[method]).state_dict()
    net, dtype = make_net(), torch.get_default_dtype()
    try:
        torch.set_default_device("meta")
        torch.set_default_dtype(torch.float16)
        found = initialize(net, method, **ARGUMENTS[method]).state_dict()
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(dtype)
    layers = [name for name in expected if not name.startswith("1.")]
    assert all(torch.equal(found[name], expected[name]) for name in layers)


def test_tied_weights_stay_tied():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    fresh = initialize(net, "orthogonal")
    assert fresh[0].weight is fresh[1].weight
    assert torch.allclose(fresh[0].weight @ fresh[0].weight.T, torch.eye(3), atol=1e-6)


def test_weights_that_are_not_finite_are_repaired():
    net = nn.Linear(3, 2)
    nn.init.constant_(net.weight, float("nan"))
    assert initialize(net, "orthogonal").weight.isfinite().all()


def test_a_model_without_layers_is_copied():
    net = nn.LayerNorm(3)
    fresh = initialize(net, "orthogonal")
    assert fresh is not net
    assert torch.equal(fresh.weight, net.weight)


@pytest.mark.parametrize(("method", "arguments"), [
    ("eoi", {"density": {"1.weight": 0.4}}),
    ("sparse-kaiming", {"masks": Masks({"1.weight": torch.eye(3, dtype=torch.bool)})}),
], ids=["density", "masks"])
def test_a_tied_weight_is_not_left_dense_because_of_its_second_name(method, arguments):
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    with pytest.raises(ArgumentError, match=r"must name a tied weight by its first name; '1\.weight' is '0\.weight'"):
        initialize(net, method, **arguments)


def test_numbers_of_numpy_are_numbers():
    net = initialize(nn.Linear(4, 4), "orthogonal", gain=np.float32(2), seed=np.int64(3))
    assert torch.equal(net.weight, initialize(nn.Linear(4, 4), "orthogonal", gain=2.0, seed=3).weight)
