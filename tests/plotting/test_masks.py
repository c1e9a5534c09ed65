"""Pictures of masks: black is removed, white is kept."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from jacprobe.errors import DtypeError, ShapeError
from jacprobe.plotting import draw_mask, mask_image


def some_mask(*shape, density=0.3):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) < density


def test_black_is_removed_and_white_is_kept():
    (image,) = draw_mask(torch.tensor([[True, False, False]])).images
    red, green, blue, _ = image.cmap(image.norm(image.get_array())).T
    assert np.array_equal(red, green)
    assert np.array_equal(red, blue)
    assert red.ravel().tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("shape", "size"),
    [((10, 20), (10, 20)), ((8, 3, 3, 3), (8, 27)), ((6, 2, 5), (6, 10)), ((7,), (1, 7)), ((), (1, 1))],
    ids=["linear", "convolution", "1-d convolution", "bias", "one number"],
)
def test_rows_are_outputs_and_kernels_are_flattened(shape, size):
    mask = some_mask(*shape)
    image = mask_image(mask)
    assert image.shape == size
    assert np.array_equal(image.ravel() == 1, mask.flatten().numpy())
    left, right, bottom, top = draw_mask(mask).images[0].get_extent()
    assert (right - left, bottom - top) == size[::-1]


@pytest.mark.parametrize("shape", [(3, 300), (300, 3), (20, 20)], ids=["wide", "tall", "square"])
def test_a_stretched_picture_keeps_every_cell_and_the_density(shape):
    mask = some_mask(*shape)
    (image,) = draw_mask(mask, aspect="auto").images
    array = image.get_array()
    assert set(np.unique(array)) == {0, 1}
    assert array.mean() == pytest.approx(mask.double().mean().item(), abs=1e-6)
    assert image.get_extent() == [-0.5, shape[1] - 0.5, shape[0] - 0.5, -0.5]


def test_large_masks_are_drawn_by_the_density_of_their_blocks():
    mask = some_mask(3, 5000)
    image = mask_image(mask)
    assert image.shape == (3, 2048)
    starts = [5000 * i // 2048 for i in range(2049)]
    expected = [mask[:, a:b].double().mean(1).numpy() for a, b in zip(starts, starts[1:], strict=False)]
    assert np.allclose(image.T, expected, atol=1e-6)


def test_the_given_axes_are_drawn_on_and_have_a_frame_and_no_ticks():
    ax = Figure().add_subplot()
    assert draw_mask(some_mask(4, 4), ax=ax) is ax
    assert ax.get_xticks().size == ax.get_yticks().size == 0
    assert all(spine.get_visible() for spine in ax.spines.values())


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        (torch.ones(2, 2), DtypeError, r"`mask` must be a bool tensor; got torch\.float32\. Take one mask"),
        ({"a": 1}, DtypeError, r"`mask` must be a bool tensor; got dict\."),
        (torch.ones(0, 2, dtype=torch.bool), ShapeError, r"`mask` must have entries; its shape is \(0, 2\)"),
    ],
    ids=["numbers", "a mapping", "empty"],
)
def test_misuse_is_refused(mask, error, message):
    with pytest.raises(error, match=message):
        draw_mask(mask)
    with pytest.raises(error, match=message):
        mask_image(mask)


def test_the_axes_must_be_axes():
    with pytest.raises(DtypeError, match=r"`ax` must be a matplotlib Axes; got str"):
        draw_mask(some_mask(2, 2), ax="x")
