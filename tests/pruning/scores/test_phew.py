import sys

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from jacprobe.errors import ArgumentError, ModelError
from jacprobe.models import build
from jacprobe.modelstate import plain_name
from jacprobe.pruning.context import Scoring
from jacprobe.pruning.scores import SCORES


def phew(net, names=None, seed=0, **arguments):
    names = [plain_name(name) for name, p in net.named_parameters() if p.ndim > 1] if names is None else names
    return SCORES["phew"](net, names, Scoring(progress=False, generator=torch.Generator().manual_seed(seed)),
                          **arguments)


def mlp(*widths):
    torch.manual_seed(0)
    layers = [nn.Linear(a, b) for a, b in zip(widths, widths[1:], strict=False)]
    return nn.Sequential(*[module for layer in layers for module in (layer, nn.ReLU())][:-1])


def highest(scores, count):
    flat = torch.cat([score.flatten() for score in scores.values()])
    threshold = flat.sort(descending=True).values[count - 1]
    return {name: score >= threshold for name, score in scores.items()}


@pytest.mark.parametrize("count", [3, 30, 300, 1500])
def test_the_highest_scores_are_paths_from_input_to_output(count):
    """All but the last, unfinished walk: every kept weight has a kept weight before and behind it."""
    kept = list(highest(phew(mlp(30, 40, 40, 10), input_shape=(30,)), count).values())
    assert sum(int(mask.sum()) for mask in kept) == count
    loose = 0
    for before, after in zip(kept, kept[1:], strict=False):
        loose += int((before.any(1) ^ after.any(0)).sum())
    assert loose <= 1


def test_the_first_forward_walk_takes_likely_weights():
    net = mlp(20, 20, 20, 20)
    with torch.no_grad():
        for index in (0, 2, 4):
            net[index].weight.copy_(1e-9 * torch.ones(20, 20) + torch.eye(20).roll(index, 0))
    kept = highest(phew(net, coverage=0.04, input_shape=(20,)), 60)
    for index in (0, 2, 4):
        assert torch.equal(kept[f"{index}.weight"], torch.eye(20).roll(index, 0).bool())


def test_visits_are_as_likely_as_the_weights_are_large(monkeypatch):
    monkeypatch.setattr(sys.modules["jacprobe.pruning.scores.phew"], "_WALKS", 8)  # at a time, to be fast
    net = nn.Linear(1, 4, bias=False)
    net.weight.data = torch.tensor([[8.0], [-4.0], [2.0], [1.0]])
    first = torch.zeros(4)
    for seed in range(400):
        order = phew(net, seed=seed, input_shape=(1,))["weight"].flatten()
        first[order.argmax()] += 1
    shares = torch.tensor([8, 4, 2, 1]) / 15
    error = (shares * (1 - shares) / 400).sqrt()
    assert ((first / 400 - shares).abs() < 4 * error).all()


def test_no_walk_takes_a_weight_of_zero_and_what_is_not_visited_goes_by_its_size():
    net = mlp(12, 16, 5)
    with torch.no_grad():
        net[0].weight[:, ::2] = 0
    scores = phew(net, coverage=0.3, input_shape=(12,))
    assert (scores["0.weight"][:, ::2] == -1).all()
    weight, score = net[2].weight.detach().abs().flatten(), scores["2.weight"].flatten()
    left = score < 0
    assert torch.equal(weight[left].argsort(), score[left].argsort())
    visited = sum(int((score > 0).sum()) for score in scores.values())
    assert visited >= 0.3 * (12 * 16 + 16 * 5)


@pytest.mark.parametrize("name", ["lenet-5", "vgg16-bn", "mlp-7-tanh"])
def test_convolutions_and_flattening_are_walked_through(name):
    net = build(name, input_shape=(1, 12, 12), **({"width": 4} if name == "vgg16-bn" else {}))
    kept = list(highest(phew(net, coverage=0.2), 60).values())
    units = [(mask.flatten(2).any(2) if mask.ndim > 2 else mask) for mask in kept]
    loose = 0
    for before, after in zip(units, units[1:], strict=False):
        fan = after.shape[1] // before.shape[0]
        loose += int((before.any(1) ^ after.any(0).reshape(-1, fan).any(1)).sum())
    assert loose <= 1


def test_layers_that_are_not_scored_are_walked_through_and_biases_come_last():
    net = mlp(10, 10, 10)
    scores = phew(net, ["2.weight", "2.bias"], input_shape=(10,))
    assert list(scores) == ["2.weight", "2.bias"]
    assert (scores["2.weight"] > 0).any() and (scores["2.bias"] == -1).all()


# bad input


def normed():
    return nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 4)), nn.ReLU(), nn.Linear(4, 2))


def attentive():
    class Attentive(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix, self.out = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, 2)

        def forward(self, x):
            return self.out(self.mix(x, x, x)[0])

    return Attentive()


def repeated():
    layer = nn.Linear(4, 4)
    return nn.Sequential(layer, layer)


@pytest.mark.parametrize(("net", "shape", "got"), [
    (build("resnet-20", input_shape=(1, 8, 8)), None, "'.+' on a branch or run twice"),
    (repeated(), (4,), "'0' on a branch or run twice"),
    (nn.Sequential(nn.Conv2d(4, 4, 3, groups=2), nn.Flatten(), nn.Linear(16, 2)), (4, 4, 4), "'0' with 2 groups"),
    (nn.Sequential(nn.ConvTranspose1d(4, 4, 3)), (4, 4), "'0', a ConvTranspose1d"),
    (normed(), (4,), r"'0\.weight\.original0' besides"),
    (attentive(), (3, 4), "'mix.in_proj_weight' besides"),
], ids=["residual", "repeated", "grouped", "transposed", "weight norm", "attention"])
def test_only_chains_can_be_walked(net, shape, got):
    with pytest.raises(ModelError, match=rf"`model` must be a chain of ungrouped linear .*; got {got}\. Choose"):
        phew(net, input_shape=shape)


def test_units_must_match():
    class Halving(nn.Module):
        def forward(self, x):
            return x[:, :3]

    net = nn.Sequential(nn.Linear(4, 4), Halving(), nn.Linear(3, 2))
    with pytest.raises(ModelError, match=r"got 4 outputs before the 3 inputs of '2\.weight'\. Choose another"):
        phew(net, input_shape=(4,))


def test_a_disconnected_network_has_no_walks():
    net = mlp(4, 4, 2)
    nn.init.zeros_(net[2].weight)
    with pytest.raises(ModelError, match="must have a path from input to output for 'phew'; no walk came through"):
        phew(net, input_shape=(4,))


@pytest.mark.parametrize("coverage", [0, -1, 0.95, "all"])
def test_the_coverage_must_be_a_share(coverage):
    with pytest.raises(ArgumentError, match=r"`coverage` must lie in \(0, 0\.9\]; got .*Walks for more take too long"):
        phew(mlp(4, 4), coverage=coverage, input_shape=(4,))
