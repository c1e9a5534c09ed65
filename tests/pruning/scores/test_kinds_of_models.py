"""Connection sensitivity and magnitudes of models in every state."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from jacprobe.errors import ModelError
from jacprobe.masks import Masks
from jacprobe.pruning.context import Scoring
from jacprobe.pruning.scores import SCORES


def snip(net, names, *, data, batch_norm="eval", **arguments):
    return SCORES["snip"](net, names, Scoring(data=data, batch_norm=batch_norm), **arguments)


def magnitude(net, names):
    return SCORES["magnitude"](net, names, Scoring())


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


def assert_close(found, expected, atol):
    assert found.keys() == expected.keys()
    for name in found:
        assert torch.allclose(found[name].double(), expected[name].double(), rtol=0, atol=atol), name


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_scores_need_no_gradient_mode_around_them(context):
    net, data = make_mlp(), make_data()
    expected = snip(net, ["3.weight"], data=data)
    with context():
        data = tuple(part.clone() for part in data)  # inference tensors in one case
        found = snip(net, ["3.weight"], data=data)
    assert_close(found, expected, 1e-15)
    assert_close(snip(net, ["3.weight"], data=data), expected, 1e-15)


def test_frozen_weights_have_scores_too():
    net, data = make_mlp(), make_data()
    expected = snip(net, ["3.weight"], data=data)
    net.requires_grad_(False)
    assert_close(snip(net, ["3.weight"], data=data), expected, 0)


def test_the_model_is_untouched_and_its_stored_statistics_are_used():
    net, data = make_conv(), make_data()
    net.train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    state = torch.get_rng_state()
    found = snip(net, ["0.weight"], data=data)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert all(module.training for module in net.modules())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    assert_close(snip(net.eval(), ["0.weight"], data=data), found, 0)


def prune_by_masks(net, masks):
    return Masks(masks).apply(net)


def prune_by_torch(net, masks):
    for name, mask in masks.items():
        prune.custom_from_mask(net[int(name[0])], name[2:], mask)
    return net


@pytest.mark.parametrize("prune_by", [prune_by_masks, prune_by_torch])
def test_weights_that_are_removed_score_zero_and_the_others_as_in_a_zeroed_model(prune_by):
    names, data = ["1.weight", "3.weight"], make_data()
    masks = {name: torch.rand(make_mlp().get_parameter(name).shape) < 0.5 for name in names}
    zeroed = make_mlp()
    with torch.no_grad():
        for name in names:
            zeroed.get_parameter(name).mul_(masks[name])
    found = snip(prune_by(make_mlp(), masks), names, data=data)
    assert all((found[name][~masks[name]] == 0).all() for name in names)
    assert_close(found, snip(zeroed, names, data=data), 1e-15)
    magnitudes = magnitude(prune_by(make_mlp(), masks), names)
    assert all(torch.equal(magnitudes[name], zeroed.get_parameter(name).abs()) for name in names)


def test_the_weight_of_a_torch_pruned_layer_is_never_stale():
    net = nn.Sequential(nn.Linear(2, 2))
    prune.identity(net[0], "weight")
    with torch.no_grad():
        net[0].weight_orig.fill_(3.0)  # the plain attribute is recomputed only by the next forward pass
    assert torch.equal(magnitude(net, ["0.weight"])["0.weight"], torch.full((2, 2), 3.0))


@pytest.mark.parametrize(
    "score",
    [
        lambda net: magnitude(net, ["0.weight"]),
        lambda net: snip(net, ["0.weight"], data=(torch.ones(2, 3), torch.tensor([0, 1]))),
    ],
    ids=["magnitude", "snip"],
)
def test_a_spectral_norm_keeps_its_power_iteration(score):
    net = nn.Sequential(parametrizations.spectral_norm(nn.Linear(3, 2))).train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    assert score(net)["0.weight"].shape == (2, 3)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def compiled(net):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's compiler warns about itself when it is imported
        return torch.compile(net, backend="eager")


@pytest.mark.parametrize("wrap", [nn.DataParallel, compiled])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_wrapped_models_score_as_plain_ones(wrap):
    names, data = ["1.weight", "3.weight"], make_data()
    assert_close(snip(wrap(make_mlp()), names, data=data), snip(make_mlp(), names, data=data), 1e-15)
    assert_close(magnitude(wrap(make_mlp()), names), magnitude(make_mlp(), names), 0)


def test_a_model_of_several_outputs_does_not_classify():
    class Pair(nn.Linear):
        def forward(self, x):
            return super().forward(x), x

    with pytest.raises(ModelError, match=r"`model` must return one tensor; got tuple\. Wrap it in a module"):
        snip(Pair(2, 2), ["weight"], data=(torch.ones(1, 2), torch.tensor([0])))


def test_after_an_error_the_model_is_as_before():
    net = make_conv().train()
    with pytest.raises(ModelError):
        snip(net, ["0.weight"], data=(torch.ones(2, 3), torch.tensor([0, 1])))
    assert all(module.training for module in net.modules())


class Centred(nn.Linear):
    """The mean over the batch is taken from each sample."""

    def forward(self, x):
        return super().forward(x - x.mean(0))


class Noisy(nn.Linear):
    def forward(self, x):
        return super().forward(x) + torch.randn(len(x), 1)


@pytest.mark.parametrize("layer", [Centred, Noisy])
@pytest.mark.parametrize("method", ["snip", "grasp", "fisher", "prospr"])
def test_samples_must_be_treated_one_by_one(layer, method):
    with pytest.raises(ModelError, match=r"`model` must treat samples one by one, .* Look for a wrong batch dimension"):
        SCORES[method](layer(4, 2), ["weight"], Scoring(data=(torch.randn(20, 4), torch.arange(20) % 2)))


def test_samples_that_mix_are_taken_as_they_are_batched_where_the_caller_says_so():
    net, plain, inputs, labels = Centred(4, 2), nn.Linear(4, 2), torch.randn(20, 4), torch.arange(20) % 2
    plain.load_state_dict(net.state_dict())
    found = snip(net, ["weight"], data=(inputs, labels), batch_norm="train")
    assert_close(found, snip(plain, ["weight"], data=(inputs - inputs.mean(0), labels)), 1e-6)


class Paired(nn.Linear):
    def forward(self, x):
        assert len(x) > 1, "needs two samples"
        return super().forward(x)


@pytest.mark.parametrize("arguments", [{}, {"loss": "uniform"}], ids=str)
def test_whatever_a_forward_raises_is_one_line(arguments):
    with pytest.raises(ModelError, match=r"`model` must .* it raised AssertionError: needs two samples"):
        snip(Paired(4, 2), ["weight"], data=(torch.randn(6, 4), torch.arange(6) % 2), accumulate="absolute",
             **arguments)


@pytest.mark.parametrize("scale", [1e-18, 1e-20, 1e-21])
@pytest.mark.parametrize("method", ["snip", "prospr", "ntk-sap"])
def test_scores_of_tiny_weights_are_finite_and_sum_to_one(method, scale):
    net, (inputs, labels) = make_mlp(torch.float32), make_data(dtype=torch.float32)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(scale)
    found = SCORES[method](net, ["1.weight", "3.weight"], Scoring(data=(inputs, labels)))
    assert all(score.isfinite().all() for score in found.values())
    assert sum(float(score.double().sum()) for score in found.values()) == pytest.approx(1, abs=1e-6)
