import pytest
import torch
from torch import nn
from torch.nn import functional

from jacprobe.errors import ArgumentError, ModelError
from jacprobe.pruning.context import Scoring
from jacprobe.pruning.scores import SCORES

NAMES = ["0.weight", "2.weight", "4.weight"]


def make_net(width=5):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(),
                         nn.Linear(width, 3)).double()


def make_data(num=30):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(num, 6, generator=generator, dtype=torch.float64), torch.arange(num) % 3


def grasp(net=None, names=NAMES, data=None, seed=0, **arguments):
    scoring = Scoring(data=make_data() if data is None else data, progress=False,
                      generator=torch.Generator().manual_seed(seed))
    return SCORES["grasp"](net or make_net(), names, scoring, **arguments)


def test_the_score_is_weight_times_hessian_times_gradient():
    net, (inputs, labels) = make_net(), make_data()

    def mean_loss(flat):
        state = dict(zip(NAMES, (part.reshape(net.get_parameter(name).shape) for name, part in zip(
            NAMES, flat.split([net.get_parameter(name).numel() for name in NAMES]), strict=True)), strict=True))
        return functional.cross_entropy(torch.func.functional_call(net, state, (inputs,)) / 7, labels)

    flat = torch.cat([net.get_parameter(name).detach().flatten() for name in NAMES])
    gradient = torch.autograd.functional.jacobian(mean_loss, flat)
    hessian = torch.autograd.functional.hessian(mean_loss, flat)
    expected = flat * (hessian @ gradient)
    found = torch.cat([score.flatten() for score in grasp(per_class=None, temperature=7.0).values()])
    assert torch.allclose(found, expected / expected.abs().sum(), rtol=1e-10, atol=1e-15)
    assert (found < 0).any()


def gradient_norm(net, keep, data, temperature=1.0):
    net.zero_grad()
    weights = {name: (net.get_parameter(name).detach() * keep[name]).requires_grad_() for name in NAMES}
    loss = functional.cross_entropy(torch.func.functional_call(net, weights, (data[0],)) / temperature, data[1])
    gradients = torch.autograd.grad(loss, list(weights.values()))
    return float(sum((g * keep[name]).square().sum() for name, g in zip(NAMES, gradients, strict=True)))


def highest_half(scores):
    flat = torch.cat([score.flatten() for score in scores.values()])
    threshold = flat.sort().values[len(flat) // 2]
    return {name: score >= threshold for name, score in scores.items()}


def test_half_of_a_tanh_network_has_a_larger_gradient_than_a_random_half():
    net, data = make_net(40), make_data(90)
    kept = gradient_norm(net, highest_half(grasp(net, data=data, per_class=None)), data)
    by_chance = [gradient_norm(net, highest_half({name: torch.rand(net.get_parameter(name).shape, generator=g)
                                                  for name in NAMES}), data)
                 for g in map(torch.Generator().manual_seed, range(5))]
    assert kept > 3 * max(by_chance)


def test_the_samples_of_each_class_are_drawn():
    first, again, other = (grasp(per_class=3, seed=seed)["0.weight"] for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.allclose(first, other)
    whole = grasp(per_class=10)["0.weight"]
    assert torch.allclose(whole, grasp(per_class=None)["0.weight"], rtol=1e-9, atol=1e-16)


def test_a_loss_without_labels_takes_all_samples():
    inputs, _ = make_data()
    assert torch.equal(grasp(data=inputs, loss="uniform")["0.weight"],
                       grasp(data=inputs, loss="uniform", per_class=None)["0.weight"])


def test_a_loss_without_labels_takes_a_stream_of_unknown_length():
    class Stream:
        def __iter__(self):
            yield from make_data()[0].split(7)

    found = grasp(data=Stream(), loss="uniform")["0.weight"]
    assert torch.allclose(found, grasp(loss="uniform")["0.weight"], rtol=1e-9, atol=1e-15)


def test_a_shuffling_loader_gives_both_passes_the_same():
    class Shuffling:
        passes = 0

        def __iter__(self):
            self.passes += 1
            order = torch.randperm(30)
            yield tuple(part[order] for part in make_data())

    loader = Shuffling()
    found = grasp(data=loader, per_class=None)
    assert loader.passes == 1
    assert all(torch.allclose(found[name], score, rtol=1e-9, atol=1e-15) for name, score in
               grasp(per_class=None).items())


def test_every_class_must_have_enough_samples():
    with pytest.raises(ArgumentError, match=r"at least 11 samples of every class; got 10 of class 0\. Pass more data"):
        grasp(per_class=11)


@pytest.mark.parametrize("per_class", [0, -1, 1.5, True])
def test_the_number_per_class_must_be_positive(per_class):
    with pytest.raises(ArgumentError, match=r"`per_class` must be a positive whole number or None; got .*Try 10"):
        grasp(per_class=per_class)


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, g):
        if g.requires_grad:
            raise RuntimeError("no second derivative")
        return 2 * g


class OnceDifferentiable(nn.Module):
    def forward(self, x):
        return Once.apply(x)


def test_a_model_without_second_derivatives_is_refused():
    net = nn.Sequential(nn.Linear(6, 5), OnceDifferentiable(), nn.Tanh(), nn.Identity(), nn.Linear(5, 3)).double()
    with pytest.raises(ModelError, match=r"`model` must have derivatives; it raised RuntimeError: .*Replace the oper"):
        grasp(net, ["0.weight", "4.weight"])
