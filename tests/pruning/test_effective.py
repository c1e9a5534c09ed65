import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from unitgraph import Graph, random_masks

import jacprobe as jp
from jacprobe.masks import Masks
from jacprobe.pruning.effective import effective_masks


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("density", [0.1, 0.25, 0.6])
def test_of_an_mlp_exactly_the_weights_on_a_path_of_kept_ones_are_effective(density, seed):
    net = nn.Sequential(nn.Linear(7, 6), nn.Tanh(), nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5), nn.GELU(),
                        nn.Linear(5, 3))
    masks = random_masks(net, density, seed)
    graph = Graph(masks)
    inputs = units = graph.units(7)
    for name, out in (("0", 6), ("2", 8), ("4", 5), ("6", 3)):
        units = graph.linear(units, f"{name}.weight", out)
    assert effective_masks(net, masks, torch.randn(4, 7)) == graph.effective(inputs, units)


def test_of_a_tiny_net_every_path_can_be_walked():
    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3), nn.Linear(3, 2))
    names = ("0.weight", "2.weight", "3.weight")
    for seed in range(20):
        masks = random_masks(net, 0.35, seed)
        found = {name: torch.zeros_like(mask) for name, mask in masks.items()}
        for path in itertools.product(range(3), range(3), range(3), range(2)):
            steps = [(name, (path[k + 1], path[k])) for k, name in enumerate(names)]
            if all(masks[name][entry] for name, entry in steps):
                for name, entry in steps:
                    found[name][entry] = True
        assert effective_masks(net, masks, torch.ones(1, 3)) == Masks(found)


class ConvNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, stride=2, padding=2, dilation=2)
        self.norm = nn.BatchNorm2d(4)
        self.depthwise = nn.Conv2d(4, 8, 3, padding=1, groups=4, bias=False)
        self.grouped = nn.Conv2d(8, 4, 3, padding=1, groups=2)
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.deep = nn.Conv2d(4, 3, 3, padding=1)
        self.fc = nn.Linear(3 * 4, 2)

    def forward(self, images):
        out = F.relu(self.norm(self.stem(images)))
        out = self.pool(F.gelu(self.grouped(torch.tanh(self.depthwise(out)))))
        return self.fc(self.deep(out).sigmoid().flatten(1))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("density", [0.08, 0.2, 0.5])
def test_of_a_convolutional_net_the_explicit_matrices_tell_the_same(density, seed):
    net = ConvNet()
    masks = random_masks(net, density, seed)
    masks = Masks({name: mask for name, mask in masks.items() if not name.startswith("norm")})
    graph = Graph(masks)
    inputs = graph.units(2, 6, 6)
    units = graph.conv(graph.conv(inputs, "stem.weight", net.stem), "depthwise.weight", net.depthwise)
    units = graph.pool(graph.conv(units, "grouped.weight", net.grouped), 2, 2, (2, 2))
    units = graph.linear(graph.conv(units, "deep.weight", net.deep), "fc.weight", 2)
    assert effective_masks(net, masks, torch.randn(1, 2, 6, 6)) == graph.effective(inputs, units)


@pytest.mark.parametrize("seed", range(3))
def test_circular_padding_is_followed_around_the_edge(seed):
    net = nn.Sequential(nn.Conv1d(2, 2, 3, padding=1, padding_mode="circular"), nn.Flatten(), nn.Linear(8, 2))
    masks = random_masks(net, 0.3, seed)
    graph = Graph(masks)
    inputs, units = graph.units(2, 4), graph.units(2, 4)
    for out, x, c, tap in itertools.product(range(2), range(4), range(2), range(3)):
        graph.wire(inputs[c, (x + tap - 1) % 4], units[out, x], ("0.weight", (out, c, tap)))
    outputs = graph.linear(units, "2.weight", 2)
    assert effective_masks(net, masks, torch.ones(1, 2, 4)) == graph.effective(inputs, outputs)


def test_taps_that_only_meet_padding_are_not_effective():
    net = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.Flatten(), nn.Linear(3, 2))
    dense = Masks({"0.weight": torch.ones(3, 2, 3, 3, dtype=torch.bool)})
    effective = effective_masks(net, dense, torch.ones(1, 2, 1, 1))["0.weight"]
    assert effective[:, :, 1, 1].all()
    assert effective.sum() == 6


class Residual(nn.Module):
    """A shortcut, a concatenation, and one convolution used twice."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(2, 3, 1)
        self.branch = nn.Conv2d(3, 3, 3, padding=1)
        self.twice = nn.Conv2d(3, 3, 2, padding=1, dilation=2)
        self.fc = nn.Linear(5 * 9, 2)

    def forward(self, images):
        out = self.first(images)
        out = out + F.silu(self.branch(out), inplace=True)
        out = self.twice(F.leaky_relu(self.twice(out)))
        return self.fc(torch.cat([out, images], 1).flatten(1))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("density", [0.05, 0.15, 0.4])
def test_shortcuts_concatenations_and_tied_weights_are_followed(density, seed):
    net = Residual()
    masks = random_masks(net, density, seed)
    graph = Graph(masks)
    inputs = graph.units(2, 3, 3)
    units = graph.conv(inputs, "first.weight", net.first)
    units = graph.add(units, graph.conv(units, "branch.weight", net.branch))
    for _ in range(2):
        units = graph.conv(units, "twice.weight", net.twice)
    units = graph.linear(np.concatenate([units, inputs]), "fc.weight", 2)
    assert effective_masks(net, masks, torch.randn(2, 2, 3, 3)) == graph.effective(inputs, units)


def test_a_resnet_agrees_with_the_gradient_of_its_positive_twin():
    net = jp.build("resnet-20", input_shape=(3, 16, 16), num_classes=10)
    names = [name for name, parameter in net.named_parameters() if parameter.ndim > 1]
    masks = Masks({name: random_masks(net, 0.02)[name] for name in names})
    twin = net.eval().double()  # with positive weights and inputs relu is no threshold, so gradients cannot cancel
    weights = dict(twin.named_parameters())
    with torch.no_grad():
        for name in names:
            weights[name].copy_((torch.rand(weights[name].shape) + 0.5) * masks[name])
    twin(torch.rand(1, 3, 16, 16).double() + 0.5).sum().backward()
    expected = Masks({name: masks[name] & (weights[name].grad > 0) for name in names})
    assert 0 < expected.num_kept < masks.num_kept
    assert effective_masks(net, masks, torch.randn(1, 3, 16, 16)) == expected


def test_no_depth_under_or_overflows():
    torch.manual_seed(0)
    layers = [nn.Linear(60, 60) for _ in range(100)]  # sums of 60 ones would overflow float32 behind 22 of them
    net = nn.Sequential(*(part for layer in layers for part in (layer, nn.Sigmoid())))
    masks = Masks({f"{2 * k}.weight": torch.rand(60, 60) < (0.06 if k % 2 else 0.9) for k in range(100)})
    reached, useful = [np.ones(60, bool)], [np.ones(60, bool)]
    for mask in masks.values():
        reached.append((mask.numpy() & reached[-1]).any(1))
    for mask in reversed(list(masks.values())):
        useful.insert(0, (mask.numpy() & useful[0][:, None]).any(0))
    expected = {name: mask & torch.from_numpy(useful[k + 1][:, None] & reached[k])
                for k, (name, mask) in enumerate(masks.items())}
    found = effective_masks(net, masks, torch.ones(1, 60))
    assert found == Masks(expected)
    assert 0 < found.num_kept < masks.num_kept


@pytest.mark.parametrize("name", ["mlp-5-relu", "lenet-5", "vgg16-bn", "resnet-20"])
def test_where_nothing_is_pruned_everything_is_effective(name):
    net = jp.build(name, input_shape=(3, 32, 32), num_classes=10)
    dense = random_masks(net, 2.0, kinds=("weight", "bias"))
    assert effective_masks(net, dense, torch.randn(1, 3, 32, 32)) == dense


@pytest.mark.parametrize("seed", range(3))
def test_effective_weights_are_kept_and_finding_them_again_changes_nothing(seed):
    net, inputs = Residual(), torch.randn(1, 2, 3, 3)
    masks = random_masks(net, 0.2, seed)
    effective = effective_masks(net, masks, inputs)
    assert effective <= masks
    assert effective_masks(net, effective, inputs) == effective


def test_a_transposed_convolution_has_the_connections_of_its_explicit_matrix():
    net = nn.Sequential(nn.ConvTranspose2d(2, 2, 2, stride=2, bias=False), nn.Flatten(), nn.Linear(32, 1, bias=False))
    kept = torch.zeros(1, 32, dtype=torch.bool)
    kept[0, 0] = True  # channel 0, first pixel: only the first tap of the first filter reaches it
    masks = Masks({"0.weight": torch.ones(2, 2, 2, 2, dtype=torch.bool), "2.weight": kept})
    assert effective_masks(net, masks, torch.ones(1, 2, 2, 2))["0.weight"].nonzero().tolist() == [
        [0, 0, 0, 0], [1, 0, 0, 0]]


def test_signals_and_volumes_are_followed_like_images():
    line = nn.Sequential(nn.Conv1d(2, 3, 3, padding=1), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(12, 2))
    volume = nn.Sequential(nn.Conv3d(1, 2, 3, padding=1), nn.MaxPool3d(2), nn.AdaptiveAvgPool3d(1), nn.Flatten(),
                           nn.Linear(2, 2))
    for net, inputs in ((line, torch.ones(1, 2, 8)), (volume, torch.ones(1, 1, 4, 4, 4))):
        dense = random_masks(net, 2.0)
        assert effective_masks(net, dense, inputs) == dense


def test_half_precision_models_are_followed():
    net, masks = ConvNet(), random_masks(ConvNet(), 0.3, kinds=("weight",))
    inputs = torch.randn(1, 2, 6, 6)
    assert effective_masks(net.bfloat16(), masks, inputs) == effective_masks(ConvNet(), masks, inputs)
