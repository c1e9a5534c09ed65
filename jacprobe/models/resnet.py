"""Residual networks for small images: ResNet with parameter-free shortcuts, and WRN-16."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from jacprobe.models.activations import make_activation
from jacprobe.models.normalisation import make_batch_norm

STEM_CHANNELS = 16


class ZeroPadShortcut(nn.Module):
    """Average-pool by `stride` and append zero channels up to `out_channels`: a shortcut without parameters."""

    def __init__(self, out_channels: int, *, stride: int):
        super().__init__()
        self.out_channels = out_channels
        # ceil_mode: odd sides come out as long as from the strided convolution beside it
        self.pool = nn.AvgPool2d(stride, ceil_mode=True) if stride > 1 else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        pooled = self.pool(images)
        return functional.pad(pooled, (0, 0, 0, 0, 0, self.out_channels - pooled.shape[1]))


class PostActivationBlock(nn.Module):
    """ResNet v1 block: conv, bn, act, conv, bn, add the shortcut, act."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, activation: str):
        super().__init__()
        changes = stride > 1 or in_channels != out_channels
        self.conv1 = _convolution(in_channels, out_channels, stride=stride)
        self.bn1 = make_batch_norm(out_channels)
        self.act1 = make_activation(activation)
        self.conv2 = _convolution(out_channels, out_channels)
        self.bn2 = make_batch_norm(out_channels)
        self.shortcut = ZeroPadShortcut(out_channels, stride=stride) if changes else nn.Identity()
        self.act2 = make_activation(activation)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.act1(self.bn1(self.conv1(images)))
        return self.act2(self.bn2(self.conv2(hidden)) + self.shortcut(images))


class PreActivationBlock(nn.Module):
    """ResNet v2 block: bn, act, conv, bn, act, conv, add; a changed shape is projected after the first act."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, activation: str):
        super().__init__()
        self.changes = stride > 1 or in_channels != out_channels
        self.bn1 = make_batch_norm(in_channels)
        self.act1 = make_activation(activation)
        self.conv1 = _convolution(in_channels, out_channels, stride=stride)
        self.bn2 = make_batch_norm(out_channels)
        self.act2 = make_activation(activation)
        self.conv2 = _convolution(out_channels, out_channels)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride=stride) if self.changes else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        active = self.act1(self.bn1(images))
        hidden = self.act2(self.bn2(self.conv1(active)))
        return self.conv2(hidden) + self.shortcut(active if self.changes else images)


def resnet(
    input_shape: Sequence[int], num_classes: int, *, block_size: int, k: int = 1, activation: str = "relu"
) -> nn.Sequential:
    """Return the post-activation ResNet with three stages of `block_size` blocks, `k` times as wide.

    References
    ----------
    He et al. 2016, section 4.2, with shortcut option A; Lee et al. 2020, section 5 and Table 6.
    """
    layers = OrderedDict(
        conv1=_convolution(input_shape[0], STEM_CHANNELS),
        bn1=make_batch_norm(STEM_CHANNELS),
        act1=make_activation(activation),
    )
    layers |= _stages(PostActivationBlock, block_size=block_size, k=k, activation=activation)
    layers |= _classifier(4 * STEM_CHANNELS * k, num_classes)
    return nn.Sequential(layers)


def wrn_16(input_shape: Sequence[int], num_classes: int, *, k: int, activation: str = "relu") -> nn.Sequential:
    """Return the wide residual network WRN-16-k; images with both sides >= 64 enter with stride 2.

    References
    ----------
    Zagoruyko and Komodakis 2016, Table 1; Lee et al. 2020, section 5 (whose code has k = 6).
    """
    stride = 2 if min(input_shape[1:]) >= 64 else 1
    out_channels = 4 * STEM_CHANNELS * k
    layers = OrderedDict(conv1=_convolution(input_shape[0], STEM_CHANNELS, stride=stride))
    layers |= _stages(PreActivationBlock, block_size=2, k=k, activation=activation)
    layers |= {"bn": make_batch_norm(out_channels), "act": make_activation(activation)}
    layers |= _classifier(out_channels, num_classes)
    return nn.Sequential(layers)


def _stages(block: type[nn.Module], *, block_size: int, k: int, activation: str) -> dict[str, nn.Sequential]:
    """Three stages of widths 16k, 32k, 64k; the second and third halve the sides in their first block."""
    stages, in_channels = {}, STEM_CHANNELS
    for index, stride in enumerate((1, 2, 2)):
        out_channels = STEM_CHANNELS * k * 2**index
        blocks = []
        for step in [stride] + [1] * (block_size - 1):
            blocks.append(block(in_channels, out_channels, stride=step, activation=activation))
            in_channels = out_channels
        stages[f"stage{index + 1}"] = nn.Sequential(*blocks)
    return stages


def _classifier(in_dim: int, num_classes: int) -> dict[str, nn.Module]:
    return {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "fc": nn.Linear(in_dim, num_classes)}


def _convolution(in_channels: int, out_channels: int, *, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1)
