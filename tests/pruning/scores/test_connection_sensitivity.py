"""Connection sensitivity against its definitions."""

import pytest
import torch
from torch import nn

from jacprobe.errors import ModelError
from jacprobe.pruning.context import Scoring
from jacprobe.pruning.scores import SCORES


def snip(net, names, *, data, batch_norm="eval", **arguments):
    return SCORES["snip"](net, names, Scoring(data=data, batch_norm=batch_norm), **arguments)


def make_conv(dtype=torch.float64):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Dropout(), nn.Linear(12, 3))
    with torch.no_grad():
        net[1].running_mean.normal_()
        net[1].running_var.uniform_(0.5, 2)
    return net.to(dtype)


def make_mlp(dtype=torch.float64):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3)).to(dtype)


def make_data(num=23, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(num, 1, 4, 4, generator=generator, dtype=dtype), torch.randint(0, 3, (num,), generator=generator)


def mean_loss(logits, labels):
    """Cross-entropy written out."""
    return (logits.exp().sum(1).log() - logits[torch.arange(len(labels)), labels]).mean()


def normalised(gradients):
    total = sum(gradient.abs().sum() for gradient in gradients.values())
    return {name: gradient.abs() / total for name, gradient in gradients.items()}


def assert_close(found, expected, atol):
    assert found.keys() == expected.keys()
    for name in found:
        assert torch.allclose(found[name].double(), expected[name].double(), rtol=0, atol=atol), name


NETS = {
    "tanh MLP": (make_mlp, ["1.weight", "1.bias", "3.weight"]),
    "batch-normed": (make_conv, ["0.weight", "5.weight"]),
}


@pytest.mark.parametrize(("make", "names"), NETS.values(), ids=NETS)
def test_connection_sensitivity_is_weight_times_gradient(make, names):
    net, (inputs, labels) = make(), make_data()
    found = snip(net, names, data=(inputs, labels))
    net.eval()
    mean_loss(net(inputs), labels).backward()
    parameters = dict(net.named_parameters())
    assert_close(found, normalised({n: parameters[n].detach() * parameters[n].grad for n in names}), 1e-14)


@pytest.mark.parametrize(("make", "names"), NETS.values(), ids=NETS)
def test_connection_sensitivity_is_the_gradient_of_multiplicative_masks(make, names):
    net, (inputs, labels) = make(), make_data()
    found = snip(net, names, data=(inputs, labels))
    net.eval()
    state = {name: tensor.detach() for name, tensor in net.state_dict().items()}
    multipliers = {name: torch.ones_like(state[name], requires_grad=True) for name in names}
    masked = {**state, **{name: state[name] * multipliers[name] for name in names}}
    mean_loss(torch.func.functional_call(net, masked, (inputs,)), labels).backward()
    assert_close(found, normalised({name: multipliers[name].grad for name in names}), 1e-14)


def test_connection_sensitivity_is_the_loss_change_of_finite_differences():
    net, (inputs, labels) = make_mlp(), make_data()
    found = snip(net, ["3.weight"], data=(inputs, labels))["3.weight"]
    weight, step, slopes = net[3].weight, 1e-5, torch.zeros(3, 8, dtype=torch.float64)
    with torch.no_grad():
        for i, j in [(i, j) for i in range(3) for j in range(8)]:
            value = weight[i, j].item()
            losses = []
            for multiplier in (1 + step, 1 - step):
                weight[i, j] = value * multiplier
                losses.append(mean_loss(net(inputs), labels))
            weight[i, j] = value
            slopes[i, j] = (losses[0] - losses[1]) / (2 * step)
    assert_close({"w": found}, normalised({"w": slopes}), 1e-9)


@pytest.mark.parametrize("make", [make_mlp, make_conv], ids=["MLP", "batch-normed"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_scores_are_not_negative_and_sum_to_one(make, dtype):
    net = make(dtype)
    names = [name for name, parameter in net.named_parameters() if parameter.ndim > 1]
    found = snip(net, names, data=make_data(dtype=dtype))
    assert all((score >= 0).all() and score.dtype == dtype for score in found.values())
    total = sum(score.double().sum() for score in found.values()).item()
    assert total == pytest.approx(1, abs=1e-12 if dtype == torch.float64 else 1e-7)


@pytest.mark.parametrize("batch_size", [1, 7, 22, 23])
@pytest.mark.parametrize("make", [make_mlp, make_conv], ids=["MLP", "batch-normed"])
def test_scores_do_not_depend_on_how_samples_are_batched(make, batch_size):
    net, (inputs, labels) = make(), make_data()
    names = [name for name, parameter in net.named_parameters() if parameter.ndim > 1]
    whole = snip(net, names, data=(inputs, labels))
    batches = list(zip(inputs.split(batch_size), labels.split(batch_size), strict=True))
    assert_close(snip(net, names, data=batches), whole, 1e-15)


def test_the_sum_is_signed_before_the_absolute_value():
    net = nn.Linear(2, 2, bias=False)
    nn.init.ones_(net.weight)  # equal rows: both classes have probability 1/2 for every input
    batches = [(torch.tensor([[1.0, 1.0]]), torch.tensor([0])), (torch.tensor([[1.0, 0.0]]), torch.tensor([1]))]
    # gradients (p - y) x: -1/2 (1, 1) and +1/2 (1, 0) in the first row, the opposite in the second
    assert_close(snip(net, ["weight"], data=batches), {"weight": torch.tensor([[0, 0.5], [0, 0.5]])}, 1e-12)


def test_tied_weights_have_the_gradient_of_both_uses():
    net = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Tanh(), nn.Linear(3, 3, bias=False)).double()
    net[2].weight = net[0].weight
    inputs, labels = torch.randn(5, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1])
    found = snip(net, ["0.weight"], data=(inputs, labels))
    mean_loss(net(inputs), labels).backward()
    assert_close(found, normalised({"0.weight": net[0].weight.detach() * net[0].weight.grad}), 1e-14)


def test_a_parameter_that_the_loss_does_not_use_scores_zero():
    net = make_mlp()
    net.spare = nn.Parameter(torch.ones(2, dtype=torch.float64))
    assert not snip(net, ["3.weight", "spare"], data=make_data())["spare"].any()


def raises_on(error, match, data, net=None):
    with pytest.raises(error, match=match):
        snip(net or make_mlp(), ["3.weight"], data=data)


def test_the_loss_must_depend_on_the_weights():
    net = make_mlp()
    nn.init.zeros_(net[3].weight)
    raises_on(ModelError, r"every score is zero\. The network is disconnected", make_data(), net)
