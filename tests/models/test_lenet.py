import pytest
import torch
from torch import nn

from jacprobe.errors import ShapeError
from jacprobe.models import build


def _num_parameters(net):
    return sum(parameter.numel() for parameter in net.parameters())


def test_both_lenets_have_their_published_sizes_on_mnist():
    assert _num_parameters(build("lenet-300-100")) == 266_610
    assert _num_parameters(build("lenet-5")) == 431_080


def test_both_lenets_use_relu_by_default_and_any_activation_on_demand():
    for name, num in (("lenet-300-100", 2), ("lenet-5", 3)):
        assert sum(isinstance(module, nn.ReLU) for module in build(name).modules()) == num
        assert sum(isinstance(module, nn.Tanh) for module in build(name, activation="tanh").modules()) == num


def test_lenet_5_pads_only_images_smaller_than_mnist():
    paddings = {side: build("lenet-5", input_shape=(1, side, 40)).conv1.padding for side in (8, 27, 28, 32)}
    assert paddings == {8: (2, 2), 27: (2, 2), 28: (0, 0), 32: (0, 0)}


@pytest.mark.parametrize("shape", [(1, 4, 4), (2, 5, 6), (1, 27, 31), (3, 29, 33), (1, 4, 50)], ids=str)
def test_lenet_5_fits_sides_from_four_up(shape):
    assert build("lenet-5", input_shape=shape)(torch.zeros(2, *shape)).shape == (2, 10)


def test_lenet_5_refuses_a_side_below_four():
    with pytest.raises(ShapeError, match=r"`input_shape` must have sides >= 4 for lenet-5; got \(1, 3, 28\)\. Enlarge"):
        build("lenet-5", input_shape=(1, 3, 28))


def test_the_average_pooling_lenet_with_linear_activation_is_affine():
    net = build("lenet-5", input_shape=(1, 8, 8), activation="linear", pool="avg").double()
    x, y = torch.randn(2, 1, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(net(x + 2 * y), net(x) + 2 * net(y), rtol=0, atol=1e-12)
    net.pool1 = nn.MaxPool2d(2)
    assert not torch.allclose(net(x + 2 * y), net(x) + 2 * net(y), rtol=0, atol=1e-3)
