import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from jacprobe.errors import ArgumentError, ModelError, NonFiniteError, UnknownNameError
from jacprobe.pruning.context import Scoring
from jacprobe.pruning.scores import SCORES


def make_net(activation=nn.Tanh):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), activation(), nn.Linear(5, 4), activation(), nn.Linear(4, 3)).double()


def make_data(num=11):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(num, 6, generator=generator, dtype=torch.float64), torch.arange(num) % 3


NAMES = ["0.weight", "2.weight", "4.weight"]


def score(method, net=None, names=NAMES, data=None, batch_norm="paper", **arguments):
    data = make_data() if data is None else data
    return SCORES[method](net or make_net(), names, Scoring(data=data, batch_norm=batch_norm, progress=False),
                          **arguments)


def sample_gradients(net, inputs, labels):
    """By name (num_inputs, ...), one backward pass at a time."""
    rows = []
    for sample, label in zip(inputs, labels, strict=True):
        net.zero_grad()
        functional.cross_entropy(net(sample[None]), label[None]).backward()
        rows.append({name: parameter.grad.numpy().copy() for name, parameter in net.named_parameters()})
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def assert_shares(found, expected):
    total = sum(np.abs(value).sum() for value in expected.values())
    for name in found:
        assert np.allclose(found[name].numpy(), expected[name] / total, rtol=1e-11, atol=1e-16), name


def expected_of(reduce, net=None):
    net = net or make_net()
    gradients = sample_gradients(net, *make_data())
    weights = {name: net.get_parameter(name).detach().numpy() for name in NAMES}
    return {name: reduce(weights[name], gradients[name]) for name in NAMES}


ACCUMULATIONS = {
    "sum": lambda w, g: np.abs(w * g.sum(0)),
    "mean": lambda w, g: np.abs(w * g.mean(0)),
    "absolute": lambda w, g: np.abs(w) * np.abs(g).sum(0),
}


@pytest.mark.parametrize("accumulate", ACCUMULATIONS)
def test_snip_accumulates_as_it_says(accumulate):
    assert_shares(score("snip", accumulate=accumulate), expected_of(ACCUMULATIONS[accumulate]))


def test_fisher_scores_are_weights_and_gradients_of_samples_squared():
    assert_shares(score("fisher"), expected_of(lambda w, g: w**2 * (g**2).sum(0)))


def test_gradients_of_samples_are_the_same_one_by_one(monkeypatch):
    expected = score("fisher"), score("snip", accumulate="absolute")
    monkeypatch.setattr("jacprobe.pruning.gradients._vectorised", lambda *given: None)
    for one, other in zip((score("fisher"), score("snip", accumulate="absolute")), expected, strict=True):
        assert all(torch.allclose(one[name], other[name], rtol=1e-12, atol=0) for name in one)


class Branching(nn.Linear):
    """A forward pass that looks at its values, which vmap cannot."""

    def forward(self, x):
        return super().forward(x) if x.abs().max() < 1e3 else x


def test_a_model_that_branches_has_gradients_of_samples():
    torch.manual_seed(0)
    net = Branching(6, 3).double()
    gradients = sample_gradients(net, *make_data())["weight"]
    found = score("fisher", net, ["weight"])
    assert_shares(found, {"weight": net.weight.detach().numpy() ** 2 * (gradients**2).sum(0)})


def test_gradients_are_outer_products_with_jacobians():
    """Proposition 1: dL/dW_l = (eps J D_l)' x_{l-1}' for every layer, of one sample."""
    net, (inputs, labels) = make_net(), make_data(1)
    x = [inputs[0]]
    for module in net:
        x.append(module(x[-1]).detach())
    eps = x[-1].softmax(0) - functional.one_hot(labels[0], 3)  # dL/dx_K of the cross-entropy
    expected, row = {}, eps
    for index in (4, 2, 0):
        expected[f"{index}.weight"] = np.abs((net[index].weight * torch.outer(row, x[index])).detach().numpy())
        if index:
            row = (row @ net[index].weight) * (1 - x[index] ** 2)  # tanh' = 1 - tanh^2
    assert_shares(score("snip", net, data=make_data(1)), expected)


def test_gradients_of_linear_networks_are_products_of_weights():
    """Proposition 1, linear case: with J^{l,K} and J^{0,l-1} products of weight matrices, and no biases."""
    net, (inputs, labels) = make_net(nn.Identity), make_data(1)
    for index in (0, 2, 4):
        nn.init.zeros_(net[index].bias)
    W = [net[index].weight.detach() for index in (0, 2, 4)]
    eps = (W[2] @ W[1] @ W[0] @ inputs[0]).softmax(0) - functional.one_hot(labels[0], 3)
    left, right = [eps @ W[2] @ W[1], eps @ W[2], eps], [inputs[0], W[0] @ inputs[0], W[1] @ W[0] @ inputs[0]]
    expected = {name: np.abs((w * torch.outer(a, b)).numpy()) for name, w, a, b in zip(NAMES, W, left, right,
                                                                                     strict=True)}
    assert_shares(score("snip", net, data=make_data(1)), expected)


# prospect pruning


def test_prospect_pruning_without_steps_is_snip():
    found, expected = score("prospr", num_steps=0), score("snip")
    assert all(torch.allclose(found[name], expected[name], rtol=1e-12, atol=0) for name in found)


@pytest.mark.parametrize(("num_steps", "batch_size"), [(1, 4), (2, 11), (5, 4)])
def test_prospect_pruning_takes_its_steps_in_the_order_of_the_data(num_steps, batch_size):
    net, (inputs, labels) = make_net(), make_data()
    start = {name: net.get_parameter(name).detach().numpy().copy() for name in NAMES}
    optimizer = torch.optim.SGD(net.parameters(), lr=0.3)
    batches = list(zip(inputs.split(batch_size), labels.split(batch_size), strict=True))
    for step in range(num_steps):
        optimizer.zero_grad()
        x, y = batches[step % len(batches)]
        functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    gradients = sample_gradients(net, inputs, labels)
    found = score("prospr", num_steps=num_steps, batch_size=batch_size, learning_rate=0.3)
    assert_shares(found, {name: np.abs(start[name] * gradients[name].sum(0)) for name in NAMES})


# batch norm


def normed():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5, eps=1e-3), nn.Tanh(), nn.Linear(5, 3)).double()
    with torch.no_grad():
        for tensor in (net[1].running_mean, net[1].bias):
            tensor.normal_()
        for tensor in (net[1].running_var, net[1].weight):
            tensor.uniform_(0.5, 2)
    return net


def by_hand(norm):
    net, (inputs, labels) = normed(), make_data()
    hidden = norm(net[1], net[0](inputs))
    functional.cross_entropy(net[3](hidden.tanh()), labels, reduction="sum").backward()
    return {name: np.abs((net.get_parameter(name) * net.get_parameter(name).grad).detach().numpy())
            for name in ("0.weight", "3.weight")}


NORMS = {
    "paper": lambda bn, h: h / (1 + 1e-3) ** 0.5,
    "eval": lambda bn, h: (h - bn.running_mean) / (bn.running_var + 1e-3).sqrt() * bn.weight + bn.bias,
    "train": lambda bn, h: (h - h.mean(0)) / (h.var(0, unbiased=False) + 1e-3).sqrt() * bn.weight + bn.bias,
}


@pytest.mark.parametrize("mode", NORMS)
def test_batch_norm_acts_as_the_mode_says(mode):
    assert_shares(score("snip", normed(), ["0.weight", "3.weight"], batch_norm=mode), by_hand(NORMS[mode]))


def test_a_batch_norm_without_statistics_is_the_identity_in_paper_mode_and_refused_in_evaluation_mode():
    net = normed()
    net[1] = nn.BatchNorm1d(5, eps=1e-3, track_running_stats=False).double()
    assert_shares(score("snip", net, ["0.weight", "3.weight"]), by_hand(NORMS["paper"]))
    assert net[1].running_mean is None and not net[1].track_running_stats
    with pytest.raises(ModelError, match=r"must have stored statistics for batch_norm='eval'; '1' has none\. Choose"):
        score("snip", net, ["0.weight"], batch_norm="eval")


def test_batches_stay_as_they_are_where_their_statistics_count():
    inputs, labels = make_data()
    whole, parts = (score("snip", normed(), ["0.weight"], data=data, batch_norm="train")["0.weight"]
                    for data in ((inputs, labels), [(inputs[:5], labels[:5]), (inputs[5:], labels[5:])]))
    assert not torch.allclose(whole, parts, rtol=1e-3)


# bad input


def test_the_mode_of_batch_norm_must_be_known():
    with pytest.raises(UnknownNameError, match="`batch_norm` must be one of paper, eval, train; got 'test'"):
        score("snip", batch_norm="test")


def test_batch_statistics_mix_samples():
    with pytest.raises(ModelError, match=r"`batch_norm` must be 'paper' or 'eval' for gradients of single samples"):
        score("fisher", batch_norm="train")


def test_the_way_to_accumulate_must_be_known():
    with pytest.raises(UnknownNameError, match="`accumulate` must be one of sum, mean, absolute; got 'max'"):
        score("snip", accumulate="max")


class Overflowing(nn.Linear):
    """Of a finite loss whose gradient by the weight is infinite."""

    def forward(self, x):
        return super().forward(x) + (self.weight * 0).abs().sqrt().sum()


@pytest.mark.parametrize("method", ["snip", "fisher"])
def test_scores_that_are_not_finite_name_the_parameter(method):
    net = nn.Sequential(nn.Linear(6, 4), Overflowing(4, 3)).double()
    with pytest.raises(NonFiniteError, match=r"`scores` must be finite; those of '1\.weight' are not\. Check"):
        score(method, net, ["0.weight", "1.weight"])


@pytest.mark.parametrize(("arguments", "match"), [
    ({"num_steps": -1}, r"`num_steps` must be a whole number of at least 0; got -1"),
    ({"batch_size": 0}, r"`batch_size` must be a whole number of at least 1; got 0"),
    ({"learning_rate": 0}, r"`learning_rate` must be a positive number; got 0\. Try 0\.1"),
], ids=str)
def test_the_steps_must_be_sensible(arguments, match):
    with pytest.raises(ArgumentError, match=match):
        score("prospr", **arguments)


def test_names_must_be_parameters():
    with pytest.raises(UnknownNameError, match="`names` must be one of 0.weight"):
        score("snip", names=["9.weight"])
