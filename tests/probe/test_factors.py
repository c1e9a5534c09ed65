"""Which factors a segment is made of, and that together they are the Jacobian of the real model."""

import pytest
import torch
import torch.nn.functional as F
from architectures import ARCHITECTURES
from oracles import dense_jacobian, randomized, seeded_normal
from torch import nn

import jacprobe as jp
from jacprobe.linop import Product, Sum
from jacprobe.probe.affine import AffineFactors
from jacprobe.probe.factors import Factorizer, agree
from jacprobe.probe.operators import GraphJacobian
from jacprobe.probe.session import Session

_KEPT_WEIGHTS = ("pruned by torch", "parametrized", "old spectral norm")


def _names(operator):
    if isinstance(operator, Product):
        return " ".join(map(_names, operator.factors))
    if isinstance(operator, Sum):
        return f"({' + '.join(map(_names, operator.terms))})"
    return type(operator).__name__


def _factored(net, inputs, output=None):
    """The product of factors of the whole network, and the same Jacobian by autograd."""
    session = Session(net, inputs, output=output, accuracy="reference", dtype=None, device=None)
    with session.opened():
        traced = session.trace(session.inputs)
        generic = GraphJacobian(traced.site("input"), traced.site("output"), len(inputs))
        factorizer = Factorizer(traced, len(inputs), AffineFactors(session.state, 1e9))
        return factorizer.product(generic.source, generic.target), generic


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_product_of_factors_is_the_jacobian(name):
    factory, shape, output = ARCHITECTURES[name]
    net = factory() if name in _KEPT_WEIGHTS else randomized(factory())
    product, generic = _factored(net, seeded_normal(3, *shape), output)
    if product is None:
        pytest.skip("no structure is known")
    expected = generic.dense()
    columns = seeded_normal(3, product.shape[2], 2, dtype=torch.float64)
    rows = seeded_normal(3, product.shape[1], 2, dtype=torch.float64)
    torch.testing.assert_close(product.matmat(columns), expected @ columns, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(product.rmatmat(rows), expected.mT @ rows, rtol=1e-9, atol=1e-11)


class _Net(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function
        self.conv = nn.Conv2d(2, 4, 3, padding=1)

    def forward(self, x):
        return self.function(self.conv(x)).flatten(1)


OPERATIONS = {
    "max pooling": (lambda x: F.max_pool2d(x, 2), "Selection Convolution"),
    "overlapping max pooling": (lambda x: F.max_pool2d(x, 3, 1, 1), "Selection Convolution"),
    "dilated max pooling": (lambda x: F.max_pool2d(x, 2, 2, dilation=2), "Selection Convolution"),
    "adaptive max pooling": (lambda x: F.adaptive_max_pool2d(x, (2, 3)), "Selection Convolution"),
    "max pooling in one dimension": (lambda x: F.max_pool1d(x.flatten(2), 3), "Selection Convolution"),
    "max pooling of a volume": (lambda x: F.max_pool3d(x.unsqueeze(2), (1, 2, 2)), "Selection Convolution"),
    "average pooling": (lambda x: F.avg_pool2d(x, 2), "LinearMap Convolution"),
    "average pooling with padding": (lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
                                     "LinearMap Convolution"),
    "average pooling in one dimension": (lambda x: F.avg_pool1d(x.flatten(2), 3), "LinearMap Convolution"),
    "average pooling of a volume": (lambda x: F.avg_pool3d(x.unsqueeze(2), (1, 2, 2)), "LinearMap Convolution"),
    "adaptive average pooling": (lambda x: F.adaptive_avg_pool2d(x, (3, 2)), "LinearMap Convolution"),
    "global average": (lambda x: x.mean((2, 3)), "LinearMap Convolution"),
    "global average by negative axes": (lambda x: x.mean((-1, -2), keepdim=True), "LinearMap Convolution"),
    "slices": (lambda x: x[:, ::2, 1:5, ::3], "Selection Convolution"),
    "padding": (lambda x: F.pad(x, (1, 2, 0, 1)), "Diagonal Selection Convolution"),
    "permutation": (lambda x: x.permute(0, 3, 1, 2), "Selection Convolution"),
    "channel shuffle": (lambda x: F.channel_shuffle(x, 2), "Selection Convolution"),
    "pixel shuffle": (lambda x: F.pixel_shuffle(x, 2), "Selection Convolution"),
    "residual sum": (lambda x: x + x.tanh(), "Diagonal Convolution"),
    "difference": (lambda x: x - x.tanh(), "Diagonal Convolution"),
    "scaled sum": (lambda x: torch.add(x, x.sin(), alpha=0.3), "Diagonal Convolution"),
    "difference with a scale": (lambda x: torch.sub(x.cos(), x, alpha=2), "Diagonal Convolution"),
    "sum of the same": (lambda x: (y := x.tanh()) + y, "Diagonal Diagonal Convolution"),
    "sum in place": (lambda x: x.sin().add_(x), "Diagonal Convolution"),
    "sums inside sums": (lambda x: x + ((y := x.tanh()) + y.sin()), "Diagonal Convolution"),
    "sum of branches": (lambda x: x.flip(1) + x.tanh(), "(Selection + Diagonal) Convolution"),
    "difference of branches": (lambda x: x.tanh() - x.flip(1), "(Diagonal + Diagonal Selection) Convolution"),
    "activation, scale, shift": (lambda x: 2 * F.leaky_relu(x) + 1, "Diagonal Convolution"),
    "nothing": (lambda x: x, "Convolution"),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_between_modules_have_their_factors(name):
    function, names = OPERATIONS[name]
    net = randomized(_Net(function))
    inputs = seeded_normal(3, 2, 6, 6)
    product, generic = _factored(net, inputs)
    assert product is not None
    assert names is None or _names(product) == names
    expected = dense_jacobian(net.double().eval(), inputs.double())
    torch.testing.assert_close(product.dense().expand_as(expected), expected, rtol=1e-10, atol=1e-12)
    assert agree(product, generic)


ACTIVATIONS = [nn.ELU(), nn.Hardshrink(), nn.Hardsigmoid(), nn.Hardtanh(), nn.Hardswish(), nn.LeakyReLU(),
               nn.LogSigmoid(), nn.PReLU(), nn.PReLU(7), nn.ReLU(), nn.ReLU6(), nn.RReLU(), nn.SELU(), nn.CELU(),
               nn.GELU(), nn.GELU(approximate="tanh"), nn.Sigmoid(), nn.SiLU(), nn.Mish(), nn.Softplus(),
               nn.Softshrink(), nn.Softsign(), nn.Tanh(), nn.Tanhshrink(), nn.Threshold(0.1, 2.0), nn.Dropout(),
               nn.AlphaDropout(), nn.FeatureAlphaDropout(), nn.BatchNorm1d(7)]


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
def test_every_activation_is_a_diagonal(activation):
    net = randomized(nn.Sequential(nn.Linear(5, 7), activation, nn.Linear(7, 3))).eval()
    inputs = 3 * seeded_normal(4, 5)  # some on each side of every kink
    product, _ = _factored(net, inputs)
    identity = isinstance(activation, nn.modules.dropout._DropoutNd)
    assert _names(product) == ("Matrix Matrix" if identity else "Matrix Diagonal Matrix")
    expected = dense_jacobian(net.double(), inputs.double())
    torch.testing.assert_close(product.dense().expand_as(expected), expected, rtol=1e-9, atol=1e-11)


MIXING = {
    "softmax": nn.Softmax(1),
    "layer norm": nn.LayerNorm(6),
    "cumulative sum": lambda x: x.cumsum(1),
    "products of entries": lambda x: x * x.flip(1),
    "concatenation": lambda x: torch.cat([x, x.tanh()], 1),
    "broadcast sum": lambda x: x + x.tanh().sum(1, keepdim=True),
}


@pytest.mark.parametrize("name", MIXING)
def test_what_mixes_entries_is_left_to_autograd(name):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.function = nn.Linear(5, 6), MIXING[name]

        def forward(self, x):
            return self.function(self.first(x))

    product, generic = _factored(randomized(Net()), seeded_normal(3, 5))
    assert product is None or not agree(product, generic)
    assert jp.spectra(Net(), seeded_normal(3, 5)).end_to_end.method.startswith("autograd")


def test_factors_that_disagree_with_the_model_are_not_used():
    """A backward pass of its own makes the gradient something else than the derivative of the parts."""

    class Doubled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            return grad * torch.arange(1, 1 + grad.shape[1], dtype=grad.dtype).roll(int(grad[0, 0] != 1))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x):
            return Doubled.apply(self.fc(x))

    spectrum = jp.spectra(Net(), seeded_normal(3, 4), kind="end_to_end").end_to_end
    assert spectrum.method.startswith("autograd")


def test_a_module_that_makes_its_own_weight_keeps_its_structure():
    class Standardised(nn.Conv2d):
        def forward(self, x):
            weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
            return F.conv2d(x, weight, self.bias, padding=1)

    net = nn.Sequential(Standardised(2, 3, 3, padding=1), nn.ReLU())
    inputs = seeded_normal(3, 2, 4, 4)
    product, _ = _factored(net, inputs)
    assert _names(product) == "Diagonal Matrix"
    expected = dense_jacobian(net.double(), inputs.double())
    torch.testing.assert_close(product.dense().expand_as(expected), expected, rtol=1e-9, atol=1e-11)


def test_factors_of_weights_are_made_once_for_all_chunks_and_segments(monkeypatch):
    made = []
    original = AffineFactors._factor
    monkeypatch.setattr(AffineFactors, "_factor", lambda self, call: made.append(call.name) or original(self, call))
    net = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 5))
    jp.spectra(net, seeded_normal(40, 5), kind=["layers", "modules", "cumulative", "end_to_end"], memory=50_000)
    assert made == ["0", "2"]
