import pytest
import torch
from torch import nn

from jacprobe.models import build

# the paper's code, layer by layer: kernel, input and output channels
CONVOLUTIONS = [
    (3, 3, 64), (3, 64, 64), (3, 64, 128), (3, 128, 128), (3, 128, 256), (3, 256, 256), (1, 256, 256),
    (3, 256, 512), (3, 512, 512), (1, 512, 512), (3, 512, 512), (3, 512, 512), (1, 512, 512),
]  # fmt: skip


def _modules(net, kind):
    return [module for module in net.modules() if isinstance(module, kind)]


def test_the_weights_are_those_of_configuration_c_with_512_hidden_units():
    net = build("vgg16", input_shape=(3, 32, 32), num_classes=10)
    convolutions = [(c.kernel_size[0], c.in_channels, c.out_channels) for c in _modules(net, nn.Conv2d)]
    assert convolutions == CONVOLUTIONS
    assert [(fc.in_features, fc.out_features) for fc in _modules(net, nn.Linear)] == [(512, 512), (512, 512), (512, 10)]
    num_conv = sum(k * k * a * b + b for k, a, b in CONVOLUTIONS)
    assert sum(p.numel() for p in net.parameters()) == num_conv + 2 * 513 * 512 + 513 * 10


def test_the_activation_stands_after_every_weight_layer_but_the_last():
    for name, num_norms in (("vgg16", 0), ("vgg16-bn", 15)):
        net = build(name, input_shape=(1, 8, 8), width=2, activation="lrelu")
        assert len(_modules(net, nn.LeakyReLU)) == 15
        assert len(_modules(net, (nn.BatchNorm1d, nn.BatchNorm2d))) == num_norms
        assert list(dict(net.named_children()))[-1] == "fc8"
    assert {norm.eps for norm in _modules(net, (nn.BatchNorm1d, nn.BatchNorm2d))} == {1e-3}


def test_children_have_readable_names_in_forward_order():
    names = list(dict(build("vgg16-bn", input_shape=(3, 32, 32), width=2).named_children()))
    assert names[:7] == ["conv1_1", "bn1_1", "act1_1", "conv1_2", "bn1_2", "act1_2", "pool1"]
    assert names[-8:] == ["flatten", "fc6", "bn6", "act6", "fc7", "bn7", "act7", "fc8"]


@pytest.mark.parametrize(
    ("side", "num_pools", "in_dim"), [(1, 0, 8), (8, 3, 8), (28, 4, 8), (32, 5, 8), (63, 5, 8), (64, 5, 8), (96, 5, 8)]
)
def test_poolings_are_left_out_where_the_image_is_used_up(side, num_pools, in_dim):
    net = build("vgg16", input_shape=(1, side, side), width=1)
    assert len(_modules(net, nn.MaxPool2d)) == num_pools
    assert net.fc6.in_features == in_dim
    assert net(torch.zeros(1, 1, side, side)).shape == (1, 10)


def test_large_images_enter_with_stride_two():
    strides = {side: build("vgg16", input_shape=(3, side, 80), width=1).conv1_1.stride[0] for side in (63, 64)}
    assert strides == {63: 1, 64: 2}
    assert [c.stride[0] for c in _modules(build("vgg16", input_shape=(3, 64, 64), width=1), nn.Conv2d)][1:] == [1] * 12


def test_fresh_batch_norm_scales_by_its_epsilon_alone():
    plain = build("vgg16", input_shape=(1, 8, 8), width=2, activation="linear").double().eval()
    normal = build("vgg16-bn", input_shape=(1, 8, 8), width=2, activation="linear").double().eval()
    images = torch.randn(3, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = plain(images) * 1.001 ** (-15 / 2)  # same seed, same weights; max-pooling commutes with the 15 factors
    assert torch.allclose(normal(images), expected, rtol=1e-10, atol=0)
