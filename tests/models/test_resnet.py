import pytest
import torch
from torch import nn
from torch.nn import functional

from jacprobe.models import build
from jacprobe.models.resnet import PostActivationBlock, PreActivationBlock, ZeroPadShortcut


def _modules(net, kind):
    return [module for module in net.modules() if isinstance(module, kind)]


def _num_weights_and_biases(net):
    return sum(p.numel() for module in _modules(net, (nn.Linear, nn.Conv2d)) for p in module.parameters())


def _images(*shape):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("depth", "k", "block_size", "num"),
    [
        (20, 1, 3, 269_034),
        (20, 2, 3, 1_067_530),
        (20, 4, 3, 4_254_282),
        (20, 6, 3, 9_560_714),
        (20, 8, 3, 16_986_826),
        (20, 2, 2, 680_010),
        (20, 4, 2, 2_705_098),
        (20, 6, 2, 6_075_722),
        (20, 1, 5, 463_018),
        (32, 1, 5, 463_018),
        (56, 1, 9, 850_986),
        (110, 1, 18, 1_723_914),
    ],
)
def test_sizes_are_those_of_table_6(depth, k, block_size, num):
    by_arguments = build(f"resnet-{depth}", input_shape=(3, 32, 32), num_classes=10, k=k, block_size=block_size)
    assert _num_weights_and_biases(by_arguments) == num


@pytest.mark.parametrize("depth", [20, 32, 56, 110])
def test_a_resnet_has_as_many_weight_layers_as_its_name_says(depth):
    assert len(_modules(build(f"resnet-{depth}"), (nn.Linear, nn.Conv2d))) == depth


def test_wrn_16_has_sixteen_layers_beside_its_three_projections():
    net = build("wrn-16-2")
    kernels = [c.kernel_size[0] for c in _modules(net, nn.Conv2d)]
    assert (kernels.count(3), kernels.count(1), len(_modules(net, nn.Linear))) == (13, 3, 1)
    assert net.fc.in_features == 128


@pytest.mark.parametrize("k", [1, 2, 6])
def test_wrn_16_has_the_size_of_its_formula(k):
    num = 27 * 16 + 16 + 64 * k * 10 + 10
    for a, b in ((16, 16 * k), (16 * k, 32 * k), (32 * k, 64 * k)):
        num += 9 * a * b + 3 * 9 * b**2 + 4 * b
        num += (a + 1) * b if a != b else 0  # the projection
    assert _num_weights_and_biases(build(f"wrn-16-{k}", input_shape=(3, 32, 32))) == num


def test_modules_have_readable_qualified_names():
    assert {"stage1.0.conv1", "stage3.2.bn2", "stage2.1.act2"} <= dict(build("resnet-20").named_modules()).keys()
    names = ["conv1", "bn1", "act1", "stage1", "stage2", "stage3", "pool", "flatten", "fc"]
    assert list(dict(build("resnet-20").named_children())) == names
    names = ["conv1", "stage1", "stage2", "stage3", "bn", "act", "pool", "flatten", "fc"]
    assert list(dict(build("wrn-16-1").named_children())) == names


def test_every_convolution_has_a_bias_and_every_norm_the_paper_epsilon():
    for name in ("resnet-20", "wrn-16-1"):
        net = build(name)
        assert all(module.bias is not None for module in _modules(net, nn.Conv2d))
        assert {norm.eps for norm in _modules(net, nn.BatchNorm2d)} == {1e-3}


@pytest.mark.parametrize("name", ["resnet-20", "wrn-16-1"])
def test_every_activation_is_the_named_one(name):
    net = build(name, activation="tanh")
    num = {"resnet-20": 19, "wrn-16-1": 13}[name]
    assert len(_modules(net, nn.Tanh)) == num
    assert not _modules(net, nn.ReLU)


def test_only_wrn_enters_large_images_with_stride_two():
    strides = {side: build("wrn-16-1", input_shape=(3, side, 80)).conv1.stride[0] for side in (63, 64)}
    assert strides == {63: 1, 64: 2}
    assert build("resnet-20", input_shape=(3, 64, 64)).conv1.stride == (1, 1)


def test_the_zero_pad_shortcut_averages_and_appends_zeros():
    images = _images(2, 3, 4, 6)
    shortcut = ZeroPadShortcut(5, stride=2)
    means = images.numpy().reshape(2, 3, 2, 2, 3, 2).mean(axis=(3, 5))
    assert torch.allclose(shortcut(images)[:, :3], torch.tensor(means), rtol=0, atol=1e-14)
    assert torch.count_nonzero(shortcut(images)[:, 3:]) == 0
    assert not list(shortcut.parameters())


def test_a_shortcut_that_keeps_the_shape_is_the_identity():
    for block in (PostActivationBlock, PreActivationBlock):
        assert isinstance(block(4, 4, stride=1, activation="relu").shortcut, nn.Identity)


@pytest.mark.parametrize("side", [4, 5], ids=["even side", "odd side"])
@pytest.mark.parametrize(("out_channels", "stride"), [(3, 1), (3, 2), (6, 1), (6, 2)])
def test_a_post_activation_block_is_act_of_residual_plus_shortcut(side, out_channels, stride):
    block = PostActivationBlock(3, out_channels, stride=stride, activation="tanh").double().eval()
    images, scale = _images(2, 3, side, side), 1.001**-0.5
    hidden = functional.conv2d(images, block.conv1.weight, block.conv1.bias, stride, 1)
    residual = functional.conv2d((scale * hidden).tanh(), block.conv2.weight, block.conv2.bias, 1, 1)
    shortcut = functional.avg_pool2d(functional.pad(images, (0, side % stride) * 2, mode="replicate"), stride)
    if side % stride:  # the last row and column average fewer pixels, which the replicated border reproduces
        assert torch.allclose(shortcut[..., -1, -1], images[..., -1, -1])
    shortcut = torch.cat([shortcut, shortcut.new_zeros(2, out_channels - 3, *shortcut.shape[2:])], dim=1)
    assert torch.allclose(block(images), (scale * residual + shortcut).tanh(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("out_channels", "stride"), [(3, 1), (3, 2), (6, 1), (6, 2)])
def test_a_pre_activation_block_projects_the_activated_input(out_channels, stride):
    block = PreActivationBlock(3, out_channels, stride=stride, activation="tanh").double().eval()
    images, scale = _images(2, 3, 5, 5), 1.001**-0.5
    active = (scale * images).tanh()
    hidden = (scale * functional.conv2d(active, block.conv1.weight, block.conv1.bias, stride, 1)).tanh()
    residual = functional.conv2d(hidden, block.conv2.weight, block.conv2.bias, 1, 1)
    shortcut = images
    if (out_channels, stride) != (3, 1):
        shortcut = functional.conv2d(active, block.shortcut.weight, block.shortcut.bias, stride)
    assert torch.allclose(block(images), residual + shortcut, rtol=0, atol=1e-12)


def test_the_sides_halve_twice_and_the_channels_grow():
    net = build("resnet-20", input_shape=(3, 32, 32), k=2, block_size=1)
    shapes, hidden = [], torch.zeros(1, 3, 32, 32)
    for name, child in net.named_children():
        hidden = child(hidden)
        if name.startswith("stage"):
            shapes.append(tuple(hidden.shape[1:]))
    assert shapes == [(32, 32, 32), (64, 16, 16), (128, 8, 8)]
