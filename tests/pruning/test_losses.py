import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from torch import nn
from torch.nn import functional

from jacprobe.errors import ArgumentError, ModelError, UnknownNameError
from jacprobe.pruning.context import Scoring
from jacprobe.pruning.losses import LOSSES, make_loss
from jacprobe.pruning.scores import SCORES


def make_net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double()


def make_data(num=7):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(num, 5, generator=generator, dtype=torch.float64), torch.arange(num) % 3


def jacobians(net, inputs):
    return np.stack([torch.autograd.functional.jacobian(net, sample[None])[0, :, 0].numpy() for sample in inputs])


ORACLES = {
    "labels": lambda f, y, J: -log_softmax(f, 1)[np.arange(len(y)), y],
    "uniform": lambda f, y, J: -log_softmax(f, 1).mean(1),
    "raw": lambda f, y, J: -(f * log_softmax(f, 1)).sum(1),
    "softmax": lambda f, y, J: -(softmax(f, 1) * log_softmax(f, 1)).sum(1),
    "output-norm": lambda f, y, J: (f**2).sum(1) / 2,
    "jacobian-1": lambda f, y, J: np.abs(J).sum((1, 2)),
    "jacobian-2": lambda f, y, J: np.sqrt((J**2).sum((1, 2))),
}


def test_every_loss_has_an_oracle():
    assert ORACLES.keys() | {"random-labels"} == LOSSES.keys()


@pytest.mark.parametrize("name", ORACLES)
def test_losses_are_their_formulas_per_sample(name):
    net, (inputs, labels) = make_net(), make_data()
    found = make_loss(name)(net, inputs.clone(), labels).detach().numpy()
    with torch.no_grad():
        outputs = net(inputs).numpy()
    assert np.allclose(found, ORACLES[name](outputs, labels.numpy(), jacobians(net, inputs)), rtol=1e-12, atol=0)


def test_the_temperature_divides_the_outputs():
    net, (inputs, labels) = make_net(), make_data()
    found = make_loss("labels", temperature=4)(net, inputs.clone(), labels)
    assert torch.allclose(found, functional.cross_entropy(net(inputs) / 4, labels, reduction="none"))


def snip(net=None, data=None, **arguments):
    data = make_data() if data is None else data
    return SCORES["snip"](net or make_net(), ["0.weight", "2.weight"], Scoring(data=data, progress=False), **arguments)


@pytest.mark.parametrize("name", sorted(LOSSES.keys() - {"labels"}))
@pytest.mark.parametrize("form", ["a tensor", "batches of tensors", "labels of None"])
def test_losses_without_labels_need_none(name, form):
    inputs, _ = make_data()
    data = {"a tensor": inputs, "batches of tensors": [inputs[:3], inputs[3:4], inputs[4:]],
            "labels of None": (inputs, None)}[form]
    found, expected = snip(data=data, loss=name), snip(loss=name)
    assert all(torch.allclose(found[key], expected[key], rtol=1e-12, atol=1e-16) for key in found)


@pytest.mark.parametrize("name", ["raw", "softmax", "jacobian-1", "jacobian-2"])
def test_scores_by_predictions_and_jacobian_norms_are_those_of_finite_differences(name):
    """So the gradient passes through the predictions where they stand for labels, too."""
    net, (inputs, _) = make_net(), make_data()
    found = snip(net, loss=name)["2.weight"]
    slopes, step = torch.zeros(3, 4, dtype=torch.float64), 1e-6
    for i, j in [(i, j) for i in range(3) for j in range(4)]:
        values = []
        for sign in (1, -1):
            moved = make_net()
            moved[2].weight.data[i, j] *= 1 + sign * step
            values.append(ORACLES[name](moved(inputs).detach().numpy(), None, jacobians(moved, inputs)).sum())
        slopes[i, j] = abs(values[0] - values[1]) / (2 * step)
    assert torch.allclose(found / found.sum(), slopes / slopes.sum(), rtol=1e-5, atol=1e-8)


def test_uniform_labels_are_probabilities_too():
    inputs, _ = make_data()
    found, expected = snip(loss="uniform"), snip(data=(inputs, torch.full((len(inputs), 3), 1 / 3)))
    assert all(torch.allclose(found[key], expected[key], rtol=1e-6) for key in found)


def test_a_callable_gives_one_loss_per_sample():
    def mine(outputs, labels):
        return functional.cross_entropy(outputs, labels, reduction="none")

    found, expected = snip(loss=mine), snip()
    assert all(torch.allclose(found[key], expected[key], rtol=1e-12, atol=0) for key in found)


def test_random_labels_come_from_the_generator():
    net, (inputs, _) = make_net(), make_data()
    drawn = [SCORES["snip"](net, ["0.weight"], Scoring(data=inputs, progress=False,
                            generator=torch.Generator().manual_seed(seed)), loss="random-labels")["0.weight"]
             for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1]) and not torch.allclose(drawn[0], drawn[2])


# bad input


def test_a_mean_loss_is_refused():
    with pytest.raises(ModelError, match=r"`loss` gave shape \(\), not one number per sample \(use reduction='none'\)"):
        snip(loss=functional.cross_entropy)


@pytest.mark.parametrize("label", [-100, -1, 3])
def test_labels_must_be_classes_that_the_model_has(label):
    inputs, labels = make_data()
    labels = labels.index_fill(0, torch.tensor([2]), label)
    with pytest.raises(ModelError, match=r"`model` must classify `data`; .* IndexError: labels lie in \[.*\], not in"):
        snip(data=(inputs, labels))


def test_the_loss_must_be_known():
    with pytest.raises(UnknownNameError, match=r"`loss` must be one of labels, uniform, .*Did you mean 'uniform'\?"):
        snip(loss="unifrom")
    with pytest.raises(UnknownNameError, match="`loss` must be one of labels.*; got 3.*Or pass a callable"):
        snip(loss=3)


@pytest.mark.parametrize("temperature", [0, -1, float("nan"), float("inf"), "hot", True])
def test_the_temperature_must_be_positive(temperature):
    with pytest.raises(ArgumentError, match=r"`temperature` must be a positive number; got .*Use 1 to leave"):
        snip(temperature=temperature)


def test_the_jacobian_by_token_numbers_does_not_exist():
    net = nn.Sequential(nn.Embedding(4, 3), nn.Flatten(), nn.Linear(6, 2))
    with pytest.raises(ModelError, match=r"`model` must fit `data`; inputs of shape .* RuntimeError: only"):
        SCORES["snip"](net, ["2.weight"], Scoring(data=torch.ones(3, 2).long(), progress=False), loss="jacobian-2")


def test_token_numbers_stay_whole():
    net = nn.Sequential(nn.Embedding(4, 3), nn.Flatten(), nn.Linear(6, 2))
    found = SCORES["snip"](net, ["0.weight"], Scoring(data=(torch.tensor([[0, 2]] * 3), torch.tensor([0, 1, 1])),
                                                      progress=False))["0.weight"]
    assert found[[0, 2]].all() and not found[[1, 3]].any()


def test_the_output_must_have_a_row_per_sample():
    with pytest.raises(ModelError, match=r"`model` must classify `data`; .* the output has shape \(10,\)"):
        SCORES["snip"](nn.Sequential(nn.Linear(5, 5), nn.Flatten(0)), ["0.weight"],
                       Scoring(data=(torch.ones(7, 5), torch.arange(7) % 3), progress=False))
