import math

import pytest
import torch

from jacprobe.models.activations import ACTIVATIONS, make_activation

# closed forms in plain Python, from the definitions
FORMULAS = {
    "linear": lambda x: x,
    "tanh": math.tanh,
    "relu": lambda x: max(x, 0.0),
    "lrelu": lambda x: x if x > 0 else 0.2 * x,
    "selu": lambda x: 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * math.expm1(x)),
    "elu": lambda x: x if x > 0 else math.expm1(x),
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
    "silu": lambda x: x / (1 + math.exp(-x)),
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "softplus": lambda x: math.log1p(math.exp(x)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_is_the_function_of_its_name(name):
    points = [-3.0, -0.7, 0.0, 0.2, 4.0]
    values = make_activation(name)(torch.tensor(points, dtype=torch.float64))
    assert values.tolist() == pytest.approx([FORMULAS[name](x) for x in points], rel=1e-12, abs=1e-15)


def test_every_call_gives_a_new_module():
    assert make_activation("relu") is not make_activation("relu")
