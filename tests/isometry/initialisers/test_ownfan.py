import pytest
import torch
from torch import nn

import jacprobe as jp
from jacprobe.errors import ArgumentError, DtypeError, ShapeError


def graded_mask(rows, cols):
    """Row i keeps cols / 2^(i % 3) weights."""
    return torch.stack([torch.arange(cols) < cols // 2 ** (row % 3) for row in range(rows)])


def test_the_variance_of_a_unit_follows_its_kept_weights():
    masks = jp.Masks({"weight": graded_mask(300, 400)})
    net = jp.initialize(nn.Linear(400, 300), "sparse-kaiming", masks=masks, seed=1)
    weight = net.weight.detach().double()
    assert not weight[~masks["weight"]].any()
    for part, kept in enumerate((400, 200, 100)):
        drawn = weight[part::3][masks["weight"][part::3]]
        assert abs(drawn.var() * kept / 2 - 1) <= 4 * (2 / len(drawn)) ** 0.5
        assert abs(drawn.mean()) <= 4 * (2 / kept / len(drawn)) ** 0.5


def test_the_result_carries_the_masks_and_needs_no_mask_in_every_layer():
    net = nn.Sequential(nn.Linear(60, 50), nn.Linear(50, 40))
    masks = jp.Masks({"0.weight": graded_mask(50, 60), "0.bias": torch.arange(50) < 30})
    fresh = jp.initialize(net, "sparse-kaiming", masks=masks, gain=1.0)
    assert jp.Masks.of(fresh) == masks
    assert abs(fresh[1].weight.detach().double().var() * 50 - 1) <= 4 * (2 / 2000) ** 0.5
    assert not any(layer.bias.any() for layer in fresh)


def test_a_unit_that_keeps_nothing_is_zero():
    mask = torch.ones(3, 4, dtype=torch.bool)
    mask[1] = False
    weight = jp.initialize(nn.Linear(4, 3), "sparse-kaiming", masks=jp.Masks({"weight": mask})).weight
    assert weight.isfinite().all()
    assert weight.any(1).tolist() == [True, False, True]


@pytest.mark.parametrize(("layer", "channel"), [(nn.Conv2d(8, 30, 3), 0), (nn.ConvTranspose2d(8, 30, 3), 1)],
                         ids=["convolution", "transposed convolution"])
def test_a_unit_of_a_convolution_is_an_output_channel(layer, channel):
    mask = torch.rand(layer.weight.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    mask.movedim(channel, 0)[::2, 1:] = False  # an eighth of the inputs for every other channel
    weight = jp.initialize(layer, "sparse-kaiming", masks=jp.Masks({"weight": mask})).weight.detach().double()
    weight, mask = weight.movedim(channel, 0), mask.movedim(channel, 0)
    energies = weight.flatten(1).square().sum(1)  # 2 for every unit, by its own fan-in
    for part in (0, 1):
        num = int(mask[part::2].sum())
        assert abs(energies[part::2].mean() / 2 - 1) <= 4 * (2 / num) ** 0.5


def test_groups_of_a_transposed_convolution_have_their_own_fan_in():
    mask = torch.ones(4, 3, 2, dtype=torch.bool)
    mask[2:] = False
    mask[2, :, 0] = True  # the second group keeps one weight per output
    masks = jp.Masks({"weight": mask})
    net = jp.initialize(nn.ConvTranspose1d(4, 6, 2, groups=2), "sparse-kaiming", masks=masks, seed=2, gain=1.0)
    scale = torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    expected = torch.cat([scale[:2] / 2, scale[2:]]) * mask  # fan-in 4 and 1
    assert torch.allclose(net.weight.detach().double(), expected, atol=1e-6)


# bad input


def test_masks_must_be_masks_of_the_layers_of_the_model():
    net = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3))
    with pytest.raises(DtypeError, match=r"`masks` must be Masks; got dict\. Make them with jacprobe\.prune\."):
        jp.initialize(net, "sparse-kaiming", masks={"0.weight": torch.ones(3, 4, dtype=torch.bool)})
    with pytest.raises(ShapeError, match=r"'0\.weight'"):
        jp.initialize(net, "sparse-kaiming", masks=jp.Masks({"0.weight": torch.ones(2, 4, dtype=torch.bool)}))
    with pytest.raises(ArgumentError, match=r"`masks` must be of linear and convolutional layers; got '1\.weight'"):
        jp.initialize(net, "sparse-kaiming", masks=jp.Masks({"1.weight": torch.ones(3, dtype=torch.bool)}))
    with pytest.raises(ArgumentError, match="missing a required argument: 'masks'"):
        jp.initialize(net, "sparse-kaiming")
