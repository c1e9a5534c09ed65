"""What initial weights are refused, each in one line."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from jacprobe.errors import ArgumentError, DtypeError, ModelError, NonFiniteError, UnknownNameError
from jacprobe.isometry import initialize
from jacprobe.masks import Masks


def make_net():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(32, 20), nn.Linear(20, 4)
    )


@pytest.mark.parametrize(("method", "got"), [("orthogonl", r"'orthogonl'\. Did you mean 'orthogonal'"), (3, "3"),
                                               (["sg"], r"\['sg'\].*")])
def test_a_method_must_be_known(method, got):
    with pytest.raises(UnknownNameError, match=rf"must be one of orthogonal, sg, vs-l, .*, sao; got {got}.* Or"):
        initialize(make_net(), method)


@pytest.mark.parametrize("gamma", [0, -1.0, float("nan"), float("inf")])
def test_gamma_must_be_a_variance(gamma):
    with pytest.raises(ArgumentError, match=r"`gamma` must be positive and finite; got .+\. It is the variance"):
        initialize(make_net(), "sg", gamma=gamma)


@pytest.mark.parametrize("gain", [float("nan"), float("inf")])
def test_the_gain_must_be_finite(gain):
    with pytest.raises(ArgumentError, match=r"`gain` must be finite; got .+\. 1 keeps the rows or columns orthonormal"):
        initialize(make_net(), "orthogonal", gain=gain)


@pytest.mark.parametrize(("method", "name"), [
    ("orthogonal", "gain"), ("conv-orthogonal", "gain"), ("delta-orthogonal", "gain"), ("sg", "gamma"),
    ("mean-field", "sigma_w2"),
])
@pytest.mark.parametrize("value", ["1", None, True, torch.tensor(1.0)], ids=repr)
def test_what_is_no_number_is_refused(method, name, value):
    with pytest.raises(DtypeError, match=rf"`{name}` must be a number; got "):
        initialize(make_net(), method, **{name: value})


@pytest.mark.parametrize(("dtype", "gamma"), [(torch.float16, 1e12), (torch.float32, 1e90)], ids=str)
def test_weights_that_the_dtype_cannot_hold_are_refused(dtype, gamma):
    with pytest.raises(NonFiniteError, match=rf"finite weights that {dtype} can hold; got values up to .* for '0\.wei"):
        initialize(make_net().to(dtype), "sg", gamma=gamma)


def test_a_callable_that_does_not_fill_the_weight_is_refused():
    for fill in (lambda weight, generator: torch.randn(weight.shape), lambda weight, generator: weight[1:].fill_(0)):
        with pytest.raises(NonFiniteError, match=r"got NaN for '0\.weight'.* must fill all of the weight, in place"):
            initialize(make_net(), fill)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_layers_without_entries_and_complex_ones_are_refused():
    with pytest.raises(ModelError, match=r"must have weights in every layer; 'weight' has the shape \(3, 0\)\. Build"):
        initialize(nn.Linear(0, 3), "vs-l")
    with pytest.raises(DtypeError, match=r"must have real weights; 'weight' is torch\.complex64\. Convert"):
        initialize(nn.Linear(3, 3, dtype=torch.complex64), "orthogonal")


@pytest.mark.parametrize(
    ("method", "arguments", "got"),
    [
        ("sg", {}, "none: .*gamma"),
        ("vs-l", {"gain": 2}, "gain: .*gain"),
        ("orthogonal", {"gamma": 1}, "gamma: .*gamma"),
    ],
    ids=["missing", "of another method", "misnamed"],
)
def test_arguments_must_be_those_of_the_method(method, arguments, got):
    with pytest.raises(ArgumentError, match=rf"`arguments` must be those of the method '{method}'; got {got}"):
        initialize(make_net(), method, **arguments)


@pytest.mark.parametrize("attribute", ["weight", "bias"])
def test_a_masked_parameter_is_refused(attribute):
    net = make_net()
    masks = Masks({f"4.{attribute}": net[4].get_parameter(attribute) > 0})
    with pytest.raises(ModelError, match=rf"the {attribute} of '4' is masked or computed from others\. Init"):
        initialize(masks.apply(net), "orthogonal")


def test_a_weight_norm_is_refused():
    net = nn.Sequential(parametrizations.weight_norm(nn.Linear(2, 2)))
    with pytest.raises(ModelError, match="the weight of '0' is masked or computed from others"):
        initialize(net, "orthogonal")


def test_the_model_must_be_a_module_with_shapes():
    with pytest.raises(DtypeError, match=r"`model` must be a torch\.nn\.Module; got list"):
        initialize([nn.Linear(2, 2)], "orthogonal")
    with pytest.raises(ModelError, match=r"`model` must be initialised; 'weight' has no shape yet"):
        initialize(nn.LazyLinear(3), "orthogonal")
