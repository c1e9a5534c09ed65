"""Masks by sparsity and layer and strips of scores, read from the artists."""

import base64
import io
import re

import numpy as np
import pytest
import torch
from matplotlib.colors import same_color, to_rgb
from PIL import Image

from jacprobe.errors import ArgumentError, DtypeError, NonFiniteError, ShapeError
from jacprobe.plotting.paper import plot_paper_masks

RANDOM = np.random.default_rng(0)
SPARSITIES, LAYERS = (10, 50, 90), (2, 3)
MASKS = {(s, layer): RANDOM.random((6, 6)) >= s / 100 for s in SPARSITIES for layer in LAYERS}
SCORES = {layer: RANDOM.random((20, 20)) * 4e-5 for layer in LAYERS}
BOTH = {"linear": MASKS, "tanh": MASKS}, {"linear": SCORES, "tanh": SCORES}


def placed(ax):
    """Return the pictures of a panel by the row and column where they stand."""
    found = {}
    for image in ax.images:
        left, right, bottom, top = image.get_extent()
        assert bottom > top and 0.9 < right - left < 1
        found[int(top), int(left)] = image
    return found


def points(ax):
    return {c.get_label().removeprefix("_"): np.asarray(c.get_offsets()) for c in ax.collections}


def test_masks_stand_by_sparsity_and_layer_whatever_their_order():
    shuffled = dict(sorted(MASKS.items(), key=lambda item: (-item[0][0], item[0][1])))
    ax = plot_paper_masks({"tanh": shuffled}).axes[0]
    found = placed(ax)
    for (sparsity, layer), mask in MASKS.items():
        image = found[SPARSITIES.index(sparsity), LAYERS.index(layer)]
        assert np.array_equal(np.asarray(image.get_array(), dtype=bool), mask)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["10", "50", "90"]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["2", "3"]
    assert ax.yaxis_inverted() and (ax.get_xlabel(), ax.get_ylabel()) == ("layer", "sparsity, %")


def test_black_is_pruned_and_white_is_kept_also_where_a_mask_is_all_one():
    for mask, shade in ((np.zeros((2, 2), bool), 0), (np.ones((2, 2), bool), 1)):
        (image,) = plot_paper_masks({"a": {(50, 1): mask}}).axes[0].images
        assert image.cmap(image.norm(image.get_array()))[0, 0, :3].tolist() == [shade] * 3
    (legend,) = plot_paper_masks({"a": MASKS}).legends
    assert [t.get_text() for t in legend.get_texts()] == ["pruned", "kept"]
    black, white = legend.get_patches()
    assert same_color(black.get_facecolor(), "k") and same_color(white.get_facecolor(), "w")


def test_panels_are_the_masks_of_all_networks_and_then_their_scores():
    figure = plot_paper_masks(*BOTH)
    assert [ax.get_title() for ax in figure.axes] == ["linear", "tanh", "linear", "tanh"]
    assert [len(ax.images) for ax in figure.axes] == [6, 6, 0, 0]
    assert figure.axes[0].get_gridspec().get_geometry() == (1, 4)
    assert plot_paper_masks(*BOTH, width=84 / 25.4).axes[0].get_gridspec().get_geometry() == (2, 2)
    assert plot_paper_masks(*BOTH, columns=1, width=3, height=9).get_size_inches().tolist() == [3, 9]


def test_tensors_kernels_and_gaps_in_the_grid_are_drawn():
    masks = {(50, "conv"): torch.ones(4, 2, 3, 3, dtype=torch.bool), (90, "fc"): torch.zeros(7, dtype=torch.bool)}
    scores = {"conv": torch.rand(4, 2, 3, 3, requires_grad=True) * 1e-5}
    figure = plot_paper_masks({"net": masks}, {"net": scores})
    assert {place: image.get_array().shape for place, image in placed(figure.axes[0]).items()} == {(0, 0): (4, 18),
                                                                                                   (1, 1): (1, 7)}
    assert sorted(points(figure.axes[1])["conv"][:, 1]) == pytest.approx(sorted(scores["conv"].flatten().tolist()))


def test_scores_are_strips_beside_their_layer_from_dark_purple_to_pink():
    ax = plot_paper_masks(*BOTH).axes[3]
    found = points(ax)
    for slot, layer in enumerate(LAYERS):
        assert np.abs(found[str(layer)][:, 0] - slot).max() < 0.3
        assert sorted(found[str(layer)][:, 1]) == pytest.approx(np.sort(SCORES[layer].ravel()), abs=0)
    dark, light = (to_rgb(c.get_facecolor()[0]) for c in ax.collections)
    assert sum(dark) < sum(light) and light[0] > light[1] and dark[2] > dark[1]


def test_many_scores_are_thinned_out_by_the_seed():
    scores = {"a": {1: np.linspace(0, 1e-5, 5000)}}
    first, again, other = (points(plot_paper_masks({"a": MASKS}, scores, seed=seed).axes[1])["1"] for seed in (0, 0, 1))
    assert len(first) == 950 and np.array_equal(first, again) and not np.array_equal(first, other)
    assert len(points(plot_paper_masks({"a": MASKS}, scores, points=7).axes[1])["1"]) == 7


def test_the_axis_of_scores_ends_at_the_ceiling_and_says_how_much_lies_above():
    scores = {"a": {1: np.array([1e-5, 2e-5, 3e-5, 4e-5])}}
    ax = plot_paper_masks({"a": MASKS}, scores).axes[1]
    assert ax.get_ylim()[1] == pytest.approx(3e-5) and ax.get_xlabel() == "layer\n25 % lie above"
    assert ax.get_ylabel() == "connection sensitivity (×10⁻⁵)"
    ax.figure.draw_without_rendering()
    assert ax.get_yticklabels()[-1].get_text() == "3"
    free = plot_paper_masks({"a": MASKS}, scores, ceiling=None).axes[1]
    assert free.get_ylim()[1] >= 4e-5 and free.get_xlabel() == "layer"
    plot_paper_masks({"a": MASKS}, {"a": {1: np.zeros(3)}}, ceiling=None).draw_without_rendering()


@pytest.mark.parametrize("width", [84 / 25.4, 174 / 25.4], ids=["one column", "two columns"])
def test_panels_are_square_and_nothing_is_cut_off(width):
    figure = plot_paper_masks(*BOTH, width=width)
    figure.draw_without_rendering()
    boxes = [figure.legends[0].get_window_extent(), *(ax.get_tightbbox() for ax in figure.axes)]
    assert all(b.x0 >= -1 and b.y0 >= -1 and b.x1 <= figure.bbox.x1 + 1 and b.y1 <= figure.bbox.y1 + 1 for b in boxes)
    for ax in figure.axes:
        box = ax.get_window_extent()
        assert box.height == pytest.approx(box.width, rel=0.03)


@pytest.mark.parametrize("kind", ["pdf", "svg"])
def test_vector_files_hold_every_cell_of_a_mask(tmp_path, kind):
    figure = plot_paper_masks({"a": {(50, 1): RANDOM.random((40, 60)) > 0.5}}, width=0.5)
    figure.savefig(tmp_path / f"mask.{kind}")
    text = (tmp_path / f"mask.{kind}").read_bytes()
    if kind == "pdf":
        assert b"/Width 60" in text and b"/Height 40" in text
    else:
        picture = base64.b64decode(re.search(rb"data:image/png;base64,([^\"]+)", text)[1])
        assert Image.open(io.BytesIO(picture)).size == (60, 40)
    assert figure.axes[0].images[0].get_interpolation() != "none"  # small pictures on a screen keep their grey


@pytest.mark.parametrize(("masks", "scores", "options", "error", "message"), [
    ({}, None, {}, ArgumentError, "`masks` must hold at least one network; got none"),
    ({"a": {}}, None, {}, ArgumentError, "`masks` must hold at least one mask of each network; got none"),
    ({"a": {"fc": np.ones(2, bool)}}, None, {}, ArgumentError,
     r"`masks` must have keys \(sparsity in %, layer\); got 'fc'"),
    ({"a": {(101, 1): np.ones(2, bool)}}, None, {}, ArgumentError, r"got \(101, 1\). Write \(90, 'fc2'\)"),
    ({"a": {(50, 1): np.ones(2)}}, None, {}, DtypeError, "`masks` must hold bool arrays, True = kept; got float64"),
    ({"a": {(50, 1): np.ones((0, 2), bool)}}, None, {}, ShapeError, r"masks with entries; got shape \(0, 2\)"),
    ({"a": MASKS}, {"a": {}}, {}, ArgumentError, "`scores` must hold at least one layer of each network; got none"),
    ({"a": MASKS}, {"a": {1: ["x"]}}, {}, DtypeError, "`scores` must hold real numbers; got <U1"),
    ({"a": MASKS}, {"a": {1: []}}, {}, ShapeError, r"`scores` must hold scores for each layer; got shape \(0,\)"),
    ({"a": MASKS}, {"a": {1: [1, np.nan]}}, {}, NonFiniteError, "`scores` must hold finite numbers of at least 0; got "
                                                                "nan"),
    ({"a": MASKS}, {"a": {1: [1, -2.0]}}, {}, NonFiniteError, "got -2. Take absolute values"),
    ({"a": MASKS}, None, {"ceiling": 0}, ArgumentError, "`ceiling` must be a finite number above 0; got 0"),
    ({"a": MASKS}, {"a": SCORES}, {"points": 0}, ArgumentError, "`points` must be a whole number of at least 1; got 0"),
    ({"a": MASKS}, None, {"columns": 1.5}, ArgumentError, "`columns` must be a whole number of at least 1; got 1.5"),
    ({"a": MASKS}, None, {"height": 0}, ArgumentError, "`height` must be a finite number above 0; got 0"),
])
def test_misuse_is_said_in_one_line(masks, scores, options, error, message):
    with pytest.raises(error, match=message):
        plot_paper_masks(masks, scores, **options)
