import base64
import io

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.image import imread

from jacprobe.errors import DtypeError
from jacprobe.plotting.embedding import embedded, embedded_mask


def decoded(uri, kind):
    head, _, text = uri.partition(",")
    assert head == f"data:{kind};base64"
    return base64.b64decode(text)


def named():
    figure = Figure(figsize=(2, 1))
    figure.add_subplot().set_title("layer")
    return figure


def test_text_is_drawn_and_the_background_left_out():
    picture = decoded(embedded(named()), "image/svg+xml")
    assert b"<text" not in picture
    assert b"fill: #ffffff" not in picture
    assert embedded(named()) == embedded(named())


def test_what_is_large_as_vectors_becomes_a_raster():
    figure = named()
    figure.axes[0].scatter(np.arange(5000), np.arange(5000) % 7)
    pixels = imread(io.BytesIO(decoded(embedded(figure), "image/png")))
    assert pixels.shape == (192, 384, 4)
    assert pixels[0, 0, 3] == 0
    decoded(embedded(figure, vector=True), "image/svg+xml")


def test_a_small_mask_has_a_pixel_per_cell():
    mask = torch.rand(5, 7, generator=torch.Generator().manual_seed(0)) > 0.5
    pixels = imread(io.BytesIO(decoded(embedded_mask(mask), "image/png")))
    assert np.array_equal(pixels[..., 0], mask.float().numpy())
    assert imread(io.BytesIO(decoded(embedded_mask(mask.repeat(1, 50)), "image/png"))).shape == (144, 144, 4)
    with pytest.raises(DtypeError, match="`mask` must be a bool tensor"):
        embedded_mask(mask.float())
