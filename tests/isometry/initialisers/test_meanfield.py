import pytest
import torch
from oracles import seeded_normal
from torch import nn

import jacprobe as jp
from jacprobe.errors import ArgumentError, DtypeError, ModelError, UnknownNameError
from jacprobe.isometry.initialisers.modelactivation import activation_of


def net_with(*activations, width=200):
    blocks = [[nn.Linear(width, width), phi] for phi in activations]
    return nn.Sequential(*[module for block in blocks for module in block])


def variance_of(values):
    """Variance about 0, and four standard errors of it relative to its value."""
    values = values.detach().double().flatten()
    return float(values.square().mean()), 4 * (2 / len(values)) ** 0.5


@pytest.mark.parametrize("layer", [nn.Linear(300, 200), nn.Conv2d(20, 40, 3), nn.Conv2d(20, 80, 3, groups=2),
                                   nn.ConvTranspose2d(40, 20, 3)], ids=lambda layer: type(layer).__name__)
def test_mean_field_variances_are_those_asked_for(layer):
    fan_in = {nn.Linear: 300, nn.Conv2d: 180, nn.ConvTranspose2d: 360}[type(layer)] // getattr(layer, "groups", 1)
    fresh = jp.initialize(layer, "mean-field", sigma_w2=1.5, sigma_b2=0.3, seed=3)
    variance, error = variance_of(fresh.weight)
    assert abs(variance * fan_in / 1.5 - 1) <= error
    variance, error = variance_of(fresh.bias)
    assert abs(variance / 0.3 - 1) <= error


def test_without_bias_variance_biases_are_zero():
    assert not jp.initialize(nn.Linear(3, 3), "mean-field", sigma_w2=1.0).bias.any()


CRITICAL = [  # activation, arguments, sigma_w2, sigma_b2: reference values, or closed forms
    (nn.Tanh(), {"sigma_b2": 0.05}, 1.76095464, 0.05),
    (nn.Tanh(), {"q": 0.5}, 1.68797512, 0.0380412),
    (nn.ReLU(), {}, 2.0, 0.0),
    (nn.LeakyReLU(0.5), {}, 2 / 1.25, 0.0),
    (nn.Hardtanh(), {"sigma_b2": 0.05}, 1.16554469, 0.05),
    (nn.Tanh(), {}, 1.0, 0.0),
    (nn.ReLU(inplace=True), {"activation": "linear"}, 1.0, 0.0),
]


@pytest.mark.parametrize(("phi", "arguments", "sigma_w2", "sigma_b2"), CRITICAL,
                         ids=lambda value: repr(value) if isinstance(value, (nn.Module, dict)) else "")
def test_the_critical_point_is_that_of_the_model_s_activation(phi, arguments, sigma_w2, sigma_b2):
    critical = jp.initialize(net_with(phi, phi), "critical", seed=2, **arguments)
    same = jp.initialize(net_with(phi, phi), "mean-field", seed=2, sigma_w2=sigma_w2, sigma_b2=sigma_b2)
    for index in (0, 2):
        assert torch.allclose(critical[index].weight, same[index].weight, rtol=1e-6)
        assert torch.allclose(critical[index].bias, same[index].bias, rtol=1e-5)


def test_a_critical_net_keeps_lengths_and_the_mean_squared_singular_value_of_a_layer_is_one():
    net = jp.initialize(net_with(*[nn.Tanh()] * 5, width=400), "critical", q=0.5, seed=1).double()
    inputs = seeded_normal(8, 400, dtype=torch.float64) * ((0.5 - 0.0380412) / 1.68797512) ** 0.5  # q starts at 0.5
    lengths = [float(net[: 2 * depth + 1](inputs).detach().square().mean()) for depth in range(5)]
    assert lengths == pytest.approx([0.5] * 5, rel=0.15)
    result = jp.spectra(net, inputs[:2], kind="layers")
    for name in list(result.layers)[1:]:
        assert float(result[name].values.square().mean()) == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("weights", ["orthogonal", "conv-orthogonal", "delta-orthogonal"])
def test_orthogonal_weights_are_scaled_by_sigma_w(weights):
    net = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1, padding_mode="circular", bias=True), nn.ReLU(), nn.Linear(8, 8))
    fresh = jp.initialize(net.double(), "critical", weights=weights)
    assert torch.linalg.svdvals(fresh[2].weight.detach()).allclose(torch.tensor(2.0).double().sqrt())
    if weights != "orthogonal":
        centre = torch.fft.fft2(fresh[0].weight.detach(), (5, 5)).permute(2, 3, 0, 1)
        assert torch.linalg.svdvals(centre).allclose(torch.tensor(2.0).double().sqrt())


# which activation


def test_activations_that_differ_in_memory_use_only_are_alike():
    assert isinstance(activation_of(net_with(nn.ReLU(), nn.ReLU(inplace=True))), nn.ReLU)


def test_a_model_without_known_activation_needs_one_given():
    net = nn.Sequential(nn.Linear(5, 5), nn.Identity(), nn.LayerNorm(5))
    with pytest.raises(ArgumentError, match=r"`activation` must be given where no module .* got none\. Pass a name"):
        jp.initialize(net, "critical")
    assert jp.initialize(net, "critical", activation="linear")[0].weight.any()


def test_activations_with_unlike_learnt_slopes_are_not_alike():
    with pytest.raises(ArgumentError, match=r"several; found PReLU\(num_parameters=1\) \[0\.0\], PReLU.* \[0\.5\]\."):
        jp.initialize(net_with(nn.PReLU(init=0.0), nn.PReLU(init=0.5)), "critical")
    critical = jp.initialize(net_with(nn.PReLU(init=0.0), nn.PReLU(init=0.0)), "critical", seed=2)
    assert torch.allclose(critical[0].weight, jp.initialize(net_with(nn.ReLU()), "critical", seed=2)[0].weight)


def test_mixed_activations_are_refused_unless_one_is_given():
    net = net_with(nn.Tanh(), nn.LeakyReLU(0.1), nn.LeakyReLU(0.2))
    with pytest.raises(ArgumentError, match=r"several; found Tanh\(\), LeakyReLU\(negative_slope=0\.1\), Leaky"):
        jp.initialize(net, "critical")
    assert jp.initialize(net, "critical", activation=torch.tanh, sigma_b2=0.1)[0].bias.any()


# bad input


@pytest.mark.parametrize("sigma_w2", [0, -1.0, float("nan"), float("inf")])
def test_sigma_w2_must_be_positive(sigma_w2):
    with pytest.raises(ArgumentError, match=r"`sigma_w2` must be positive and finite; got .+\. It is the variance"):
        jp.initialize(nn.Linear(2, 2), "mean-field", sigma_w2=sigma_w2)


@pytest.mark.parametrize("sigma_b2", [-0.1, float("nan"), float("inf")])
def test_sigma_b2_must_be_a_variance(sigma_b2):
    with pytest.raises(ArgumentError, match=r"`sigma_b2` must be at least 0 and finite; got .+\. It is the variance"):
        jp.initialize(nn.Linear(2, 2), "mean-field", sigma_w2=1, sigma_b2=sigma_b2)


def test_a_layer_without_bias_cannot_have_a_bias_variance():
    net = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2, bias=False))
    with pytest.raises(ModelError, match=r"a bias in every layer where `sigma_b2` is 0\.1; '2' has none\. Pass sigma"):
        jp.initialize(net, "critical", sigma_b2=0.1)
    assert jp.initialize(net, "critical")[0].weight.any()


def test_the_weights_must_be_known():
    with pytest.raises(UnknownNameError, match=r"`weights` must be one of gaussian, orthogonal, conv-orthogonal"):
        jp.initialize(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), "critical", weights="sparse")


def test_one_coordinate_sets_the_point():
    with pytest.raises(ArgumentError, match=r"`sigma_b2` or `q` must be given, not both; got 0\.1 and 0\.5"):
        jp.initialize(net_with(nn.Tanh()), "critical", sigma_b2=0.1, q=0.5)


def test_a_critical_point_that_does_not_exist_is_refused():
    with pytest.raises(ArgumentError, match="critical"):
        jp.initialize(net_with(nn.ReLU()), "critical", sigma_b2=0.1)


def test_an_activation_must_be_one():
    with pytest.raises(UnknownNameError, match=r"`activation` must be one of .* got 'tahn'\. Did you mean 'tanh'"):
        jp.initialize(net_with(nn.Tanh()), "critical", activation="tahn")
    with pytest.raises(DtypeError, match=r"`activation` must be a name"):
        jp.initialize(net_with(nn.Tanh()), "critical", activation=3)
