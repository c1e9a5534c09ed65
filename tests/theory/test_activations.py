import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from jacprobe.errors import ArgumentError, DtypeError, NonFiniteError, UnknownNameError
from jacprobe.models.activations import ACTIVATIONS as MODEL_ACTIVATIONS
from jacprobe.models.activations import make_activation
from jacprobe.theory import ACTIVATIONS, activation


@pytest.mark.parametrize("name", MODEL_ACTIVATIONS)
def test_a_name_means_the_same_function_as_in_the_models(name):
    x = torch.linspace(-7, 7, 141, dtype=torch.float64)
    assert torch.allclose(activation(name).function(x), make_activation(name)(x), rtol=0, atol=1e-12)
    assert activation(make_activation(name)).second_moment(1.3) == pytest.approx(activation(name).second_moment(1.3))


@pytest.mark.parametrize(("spelling", "name"), [
    ("ReLU", "relu"), ("LeakyReLU", "leaky-relu"), ("leaky_relu", "leaky-relu"), ("hardtanh", "hard-tanh"),
    ("hard_tanh", "hard-tanh"), ("Identity", "linear"), ("swish", "silu"), ("SiLU", "silu"), ("ReLU6", "relu6"),
    ("hardswish", "hard-swish"),
])
def test_other_spellings_are_understood(spelling, name):
    assert activation(spelling) is ACTIVATIONS[name]


@pytest.mark.parametrize(("spec", "name"), [
    (torch.tanh, "tanh"), (F.relu, "relu"), (F.selu, "selu"), (F.gelu, "gelu"), (F.silu, "silu"), (nn.ReLU(), "relu"),
    (nn.GELU(), "gelu"), (nn.GELU("tanh"), "gelu-tanh"), (nn.Identity(), "linear"), (nn.Tanh(), "tanh"),
    (F.hardtanh, "hard-tanh"), (torch.sigmoid, "sigmoid"),
])
def test_functions_and_modules_that_have_a_name_are_recognised(spec, name):
    assert activation(spec) is ACTIVATIONS[name]


def test_an_activation_passes_through():
    assert activation(ACTIVATIONS["erf"]) is ACTIVATIONS["erf"]


@pytest.mark.parametrize(("function", "name"), [
    (lambda x: torch.tanh(x), "tanh"), (lambda x: torch.clamp(x, -1, 1), "hard-tanh"),
    (lambda x: torch.where(x > 0, x, 0.2 * x), "lrelu"), (lambda x: x * torch.special.ndtr(x), "gelu"),
    (lambda x: 1.0507009873554805 * torch.where(x > 0, x, 1.6732632423543772 * torch.expm1(x.clamp(max=0))), "selu"),
    (lambda x: torch.erf(x), "erf"),
], ids=["tanh", "hard tanh", "leaky relu", "gelu", "selu", "erf"])
def test_a_callable_has_the_moments_of_the_function_it_computes(function, name):
    phi, known = activation(function), ACTIVATIONS[name]
    for q in (0.01, 1.0, 1000.0):
        assert phi.second_moment(q) == pytest.approx(known.second_moment(q), rel=1e-9)
        assert phi.slope_moment(q) == pytest.approx(known.slope_moment(q), rel=1e-9)
        assert phi.slope_moment(q, 2) == pytest.approx(known.slope_moment(q, 2), rel=1e-9)
    assert phi.slope_covariance(1.0, 2.0, 0.4) == pytest.approx(known.slope_covariance(1.0, 2.0, 0.4), rel=1e-9)


@pytest.mark.parametrize(("spec", "kinks"), [pytest.param(*case, id=name) for name, case in {
    "hard tanh": (nn.Hardtanh(-0.3, 7.0), (-0.3, 7.0)),
    "a learned slope": (nn.PReLU(init=0.1), (0.0,)),
    "leaky relu": (nn.LeakyReLU(0.3), (0.0,)),
    "two kinks far apart": (lambda x: torch.relu(x - 1 / 3) + torch.relu(x + 20.0), (-20.0, 1 / 3)),
    "a square": (lambda x: x**2, ()),
    "softplus": (nn.Softplus(), ()),
    "elu in place": (nn.ELU(0.5, inplace=True), (0.0,)),
    "cosh": (torch.cosh, ()),
    "nothing": (lambda x: 0 * x, ()),
    "a kink of the second derivative": (lambda x: torch.where(x > 0, x, torch.expm1(x)), ()),
    "two in a row": (nn.Sequential(nn.Tanh(), nn.ReLU()), (0.0,)),
}.items()])
def test_kinks_are_found_where_the_slope_jumps_and_nowhere_else(spec, kinks):
    assert activation(spec).kinks == pytest.approx(kinks, rel=1e-13)


def test_a_module_is_left_as_it_is():
    module = nn.PReLU()
    activation(module)
    assert module.weight.dtype == torch.float32 and module.weight.requires_grad and module.training


def test_a_leaky_relu_of_another_slope_is_in_closed_form():
    assert activation(nn.LeakyReLU(0.3)).second_moment(2.0) == 1.09


@pytest.mark.parametrize(("spec", "error", "message"), [
    ("tahn", UnknownNameError, "`activation` must be one of linear, .*; got 'tahn'. Did you mean 'tanh'. Or pass a"),
    (3, DtypeError, "must be a name, an Activation, a module or a function of a tensor; got 3"),
    (nn.ReLU, DtypeError, "must be a name, an Activation, a module or a function.*got <class"),
    (torch.sign, ArgumentError, "must be continuous; sign jumps at x = 0, so its slope is not a function"),
    (nn.Hardshrink(), ArgumentError, r"must be continuous; Hardshrink\(0.5\) jumps at x = -0.5"),
    (nn.Softmax(0), ArgumentError, r"must act on each element by itself; Softmax\(dim=0\) mixes them"),
    (F.dropout, ArgumentError, "must give the same value twice; dropout does not"),
    (lambda x: x.float(), DtypeError, "must return a float64 tensor .*gives torch.float32 of shape"),
    (lambda x: x.sum(), DtypeError, r"must return a float64 tensor .*of shape \(\) for"),
    (lambda x: 1.0, DtypeError, "must return a float64 tensor .*gives float for"),
    (lambda x: x.detach().tanh(), ArgumentError, "must be differentiable by autograd; <lambda> cuts the derivative"),
    (nn.PReLU(3), DtypeError, "must be a function of one float64 tensor; PReLU.* fails on one: Mismatch"),
    (math.tanh, DtypeError, "must be a function of one float64 tensor; tanh fails on one"),
    (lambda x: torch.log(x), NonFiniteError, "must be finite with a finite slope; got <lambda>"),
], ids=lambda value: None if callable(value) else str(value))
def test_what_is_no_activation_is_refused(spec, error, message):
    with pytest.raises(error, match=message) as caught:
        activation(spec)
    assert "\n" not in str(caught.value)
