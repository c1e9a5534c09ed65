import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from jacprobe.errors import ArgumentError, DtypeError, ShapeError, UnknownNameError
from jacprobe.masks import Masks
from jacprobe.models import build
from jacprobe.pruning.allocation import ALLOCATIONS, Allocator, Layer, layers_of
from jacprobe.pruning.prunable import prunable_names

FORMULAS = [name for name in ALLOCATIONS if name != "global"]


def make_layers(net, prunable="weights"):
    return layers_of(net, prunable_names(net, prunable))


def quotas(layers, allocation, density, *, floors=None, most=None):
    total = sum(layer.size for layer in layers)
    num_kept = total - round((1 - density) * total)
    allocator = Allocator(allocation, layers, num_kept=num_kept, floors=floors or {})
    found = allocator.quotas(num_kept, most or {layer.name: layer.size for layer in layers})
    assert sum(found.values()) == num_kept
    assert all(0 <= count <= layer.size for count, layer in zip(found.values(), layers, strict=True))
    return found


def resnet():
    return build("resnet-20", input_shape=(3, 32, 32), num_classes=10)


def vgg():
    return build("vgg16", input_shape=(3, 32, 32), num_classes=10)


NETS = {"resnet-20": resnet, "vgg16": vgg}


def bisected(rising, sizes, total):
    """Targets rising(scale) capped at the sizes that sum to `total`, by NumPy bisection on the scale."""
    low, high = 0.0, 1e12
    for _ in range(400):
        middle = (low + high) / 2
        low, high = (middle, high) if np.minimum(rising(middle), sizes).sum() < total else (low, middle)
    return np.minimum(rising(high), sizes)


@pytest.mark.parametrize("density", [0.9, 0.5, 0.1, 0.02, 0.001])
@pytest.mark.parametrize("make", NETS.values(), ids=NETS)
def test_erk_is_capped_and_solved_again_to_the_exact_total(make, density):
    net = make()
    layers = make_layers(net)
    found = quotas(layers, "erk", density)
    weights = [net.get_parameter(layer.name) for layer in layers]
    sizes = np.array([weight.numel() for weight in weights], dtype=float)
    targets = bisected(lambda scale: scale * np.array([sum(weight.shape) for weight in weights], dtype=float), sizes,
                       sum(found.values()))
    assert np.abs(np.array(list(found.values())) - targets).max() < 1 + 1e-6
    if density >= 0.5:
        assert any(count == layer.size for count, layer in zip(found.values(), layers, strict=True))


@pytest.mark.parametrize("density", [0.9, 0.5, 0.1, 0.02])
@pytest.mark.parametrize("make", NETS.values(), ids=NETS)
def test_ideal_gas_quotas_have_one_force(make, density):
    layers = make_layers(make())
    found = quotas(layers, "igq", density)
    sizes = np.array([layer.size for layer in layers], dtype=float)
    targets = bisected(lambda scale: sizes / (1 + sizes / max(scale, 1e-300)), sizes, sum(found.values()))
    assert np.abs(np.array(list(found.values())) - targets).max() < 1 + 1e-6


@pytest.mark.parametrize("make", NETS.values(), ids=NETS)
def test_uniform_has_one_density(make):
    layers = make_layers(make())
    for density in (0.9, 0.1, 0.001):
        for layer, count in zip(layers, quotas(layers, "uniform", density).values(), strict=True):
            assert abs(count - density * layer.size) <= 1


@pytest.mark.parametrize("make", NETS.values(), ids=NETS)
def test_uniform_plus_spares_the_first_convolution_and_the_last_layer(make):
    layers = make_layers(make())
    found = quotas(layers, "uniform-plus", 0.1)
    first, *middle, last = layers
    assert found[first.name] == first.size
    assert found[last.name] == math.ceil(0.2 * last.size)
    rest = (sum(found.values()) - found[first.name] - found[last.name]) / sum(layer.size for layer in middle)
    assert all(abs(found[layer.name] - rest * layer.size) <= 1 for layer in middle)
    above = quotas(layers, "uniform-plus", 0.6)
    assert above[last.name] == pytest.approx(0.6 * last.size, rel=0.01)


def test_uniform_plus_spares_the_bias_with_its_layer():
    layers = make_layers(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(40, 30), nn.Linear(30, 10)), "paper")
    found = quotas(layers, "uniform-plus", 0.15)
    assert (found["0.weight"], found["0.bias"]) == (36, 4)
    assert (found["3.weight"], found["3.bias"]) == (60, 2)


def test_smart_ratios_fall_from_input_to_output():
    layers = make_layers(vgg())
    found = quotas(layers, "smart-ratio", 0.02)
    *others, last = layers
    num = len(others)
    shape = np.array([(num - i) ** 2 + (num - i) for i in range(num)], dtype=float)
    sizes = np.array([layer.size for layer in others], dtype=float)
    targets = bisected(lambda scale: scale * shape * sizes, sizes, sum(found.values()) - round(0.3 * last.size))
    assert np.abs(np.array([found[layer.name] for layer in others]) - targets).max() < 1 + 1e-6
    assert found[last.name] == round(0.3 * last.size)


def test_the_last_layer_of_smart_ratios_gives_way_only_where_all_others_are_dense():
    layers = make_layers(vgg())
    found, last = quotas(layers, "smart-ratio", 0.99999), layers[-1]
    assert all(found[layer.name] == layer.size for layer in layers[:-1])
    assert found[last.name] > 0.3 * last.size
    assert quotas(layers, "smart-ratio", 0.99)[last.name] == round(0.3 * last.size)


def test_a_convolutional_network_without_a_matrix_has_smart_ratios_too():
    layers = make_layers(nn.Sequential(nn.Conv2d(10, 10, 1, bias=False), nn.Conv2d(10, 10, 1, bias=False)))
    assert list(quotas(layers, "smart-ratio", 0.2).values()) == [30, 10]  # 6 to 2


@pytest.mark.parametrize("allocation", ["uniform", "erk", "igq"])
@settings(deadline=None, max_examples=60)
@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6), density=st.floats(0, 1), floor=st.integers(0, 3))
def test_the_total_is_exact_for_any_layers(allocation, sizes, density, floor):
    layers = [Layer(str(i), (size, 3), i, "linear") for i, size in enumerate(sizes)]
    fewest = sum(min(floor, layer.size) for layer in layers) / (3 * sum(sizes))
    floors = {layer.name: floor for layer in layers}
    found = quotas(layers, allocation, min(max(density, fewest), 1), floors=floors)
    assert all(count >= min(floor, layer.size) for count, layer in zip(found.values(), layers, strict=True))


def test_what_is_removed_already_bounds_the_quotas():
    layers = [Layer(name, (10, 10), i, "linear") for i, name in enumerate("abc")]
    found = quotas(layers, "uniform", 0.5, most={"a": 10, "b": 100, "c": 100})
    assert found == {"a": 10, "b": 70, "c": 70}


def test_remainders_go_to_the_largest_and_then_to_the_first():
    layers = [Layer(name, (size,), i, "linear") for i, (name, size) in enumerate({"a": 5, "b": 5, "c": 10}.items())]
    assert quotas(layers, "uniform", 0.5) == {"a": 3, "b": 2, "c": 5}
    layers = [Layer(name, (size,), i, "linear") for i, (name, size) in enumerate({"a": 6, "b": 7, "c": 7}.items())]
    assert quotas(layers, "uniform", 0.25) == {"a": 1, "b": 2, "c": 2}  # 1.5, 1.75, 1.75


# given quotas


def random_masks(layers, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Masks({layer.name: torch.rand(layer.shape, generator=generator) < 0.1 * (1 + i)
                  for i, layer in enumerate(layers)})


def test_masks_give_their_counts():
    layers = make_layers(build("lenet-5", input_shape=(1, 28, 28), num_classes=10))
    masks = random_masks(layers)
    found = quotas(layers, masks, 1 - masks.sparsity)
    assert found == {name: int(mask.sum()) for name, mask in masks.items()}


def test_densities_are_met_by_name():
    layers = make_layers(nn.Sequential(nn.Linear(10, 10), nn.Linear(10, 5)))
    assert quotas(layers, {"1.weight": 0.1, "0.weight": 0.25}, 0.2) == {"0.weight": 25, "1.weight": 5}


def test_a_callable_gives_densities_from_shapes():
    layers = make_layers(nn.Sequential(nn.Linear(10, 10), nn.Linear(10, 10)))

    def sloped(shapes, density):
        assert shapes == {"0.weight": (10, 10), "1.weight": (10, 10)} and density == 0.2
        return {"0.weight": 1.5 * density, "1.weight": 0.5 * density}

    assert quotas(layers, sloped, 0.2) == {"0.weight": 30, "1.weight": 10}


def test_rounds_before_the_last_keep_given_quotas_in_proportion():
    layers = [Layer(name, (100,), i, "linear") for i, name in enumerate("abc")]
    allocator = Allocator({"a": 0.1, "b": 0.02, "c": 0}, layers, num_kept=12, floors={})
    most = dict.fromkeys("abc", 100)
    assert allocator.quotas(60, most) == {"a": 50, "b": 10, "c": 0}
    assert allocator.quotas(150, most) == {"a": 100, "b": 50, "c": 0}
    assert allocator.quotas(250, most) == {"a": 100, "b": 100, "c": 50}
    assert allocator.quotas(12, most) == {"a": 10, "b": 2, "c": 0}


# bad input


def make_two():
    return [Layer("a", (10, 10), 0, "conv"), Layer("b", (10, 10), 1, "linear")]


def test_an_allocation_must_be_known():
    with pytest.raises(UnknownNameError, match=r"`allocation` must be one of global, uniform, .+; got 'erq'\. Did"):
        Allocator("erq", make_two(), num_kept=10, floors={})
    with pytest.raises(DtypeError, match=r"`allocation` must be a name, masks, densities .+; got int\. Map each"):
        Allocator(3, make_two(), num_kept=10, floors={})
    with pytest.raises(DtypeError, match="got list"):
        Allocator(lambda shapes, density: [density], make_two(), num_kept=10, floors={})


@pytest.mark.parametrize(("allocation", "num_kept", "match"), [
    ("uniform-plus", 119, r"`allocation` 'uniform-plus' must be able to keep 119 .+ keep 120 to 200\. Change"),
    ("smart-ratio", 29, r"'smart-ratio' must be able to keep 29 weights; its layers keep 30 to"),
])
def test_quotas_that_cannot_be_are_refused(allocation, num_kept, match):
    with pytest.raises(ArgumentError, match=match):
        Allocator(allocation, make_two(), num_kept=num_kept, floors={}).quotas(num_kept, {"a": 100, "b": 100})


def test_floors_that_cannot_be_are_refused():
    with pytest.raises(ArgumentError, match=r"'erk' must be able to keep 5 weights; .+ keep 6 to 200\. Change"):
        Allocator("erk", make_two(), num_kept=5, floors={"a": 3, "b": 3}).quotas(5, {"a": 100, "b": 100})


@pytest.mark.parametrize(("densities", "match"), [
    ({"a": 0.1}, r"for each parameter of the prunable set and no other; got none for \['b'\], and some for \[\]\. "),
    ({"a": 0.1, "b": 0.1, "c": 0.1}, r"got none for \[\], and some for \['c'\]"),
    ({"a": 0.1, "b": 1.5}, r"densities in \[0, 1\]; got 1\.5 for 'b'\. Density is the share that is kept"),
    ({"a": 0.1, "b": float("nan")}, r"densities in \[0, 1\]; got nan for 'b'"),
    ({"a": 0.1, "b": "0.1"}, r"densities in \[0, 1\]; got '0\.1' for 'b'"),
    ({"a": 0.1, "b": 0.5}, r"must keep the 20 weights that `sparsity` leaves; it keeps 60 of 200\. Pass sparsity=0\.7"),
])
def test_densities_must_fit_the_set_and_the_total(densities, match):
    with pytest.raises(ArgumentError, match=match):
        Allocator(densities, make_two(), num_kept=20, floors={})


def test_masks_must_have_the_shapes_of_the_model():
    masks = Masks({"a": torch.ones(10, 10, dtype=torch.bool), "b": torch.ones(5, 20, dtype=torch.bool)})
    with pytest.raises(ShapeError, match=r"'b' is \(10, 10\) in the model and \(5, 20\) in the masks\. Use"):
        Allocator(masks, make_two(), num_kept=200, floors={})


def test_given_quotas_must_fit_what_is_left():
    with pytest.raises(ArgumentError, match=r"the model's own masks remove; 'a' shall keep 10 and has 5 left\. Lower"):
        Allocator({"a": 0.1, "b": 0.1}, make_two(), num_kept=20, floors={}).quotas(20, {"a": 5, "b": 100})
