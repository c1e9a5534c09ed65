"""The sensitivity figures, read from their artists."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from score_artists import MASKS, SCORES, bar_widths, drawn, names, outlines, strip, vertical_lines

from jacprobe.errors import ArgumentError, DtypeError, NonFiniteError, ShapeError
from jacprobe.masks import Masks
from jacprobe.plotting import (
    draw_sensitivity,
    draw_sensitivity_scatter,
    plot_sensitivity,
    sensitivity_bins,
    sensitivity_data,
    sensitivity_points,
)

# numbers


def test_the_table_is_that_of_numpy():
    table = sensitivity_data(SCORES, masks=MASKS).set_index("parameter")
    total = sum(float(score.double().sum()) for score in SCORES.values())
    for name, score in SCORES.items():
        row, values = table.loc[name], score.double().numpy()
        assert row["shape"] == "x".join(map(str, values.shape))
        assert row["num_weights"] == values.size
        assert row["share"] == pytest.approx(values.sum() / total)
        assert row["zeros"] == (values == 0).sum() / values.size
        assert row["kept"] == int(MASKS[name].sum()) / values.size
        expected = [values.mean(), values.min(), *np.percentile(values, [5, 25, 50, 75, 95]), values.max()]
        columns = ["mean", "min", "q05", "q25", "median", "q75", "q95", "max"]
        assert row[columns].tolist() == pytest.approx(expected, rel=1e-12)
    assert table["share"].sum() == pytest.approx(1)


def test_without_masks_nothing_is_said_to_be_kept():
    assert sensitivity_data(SCORES)["kept"].isna().all()
    assert sensitivity_bins(SCORES)["kept"].isna().all()


def test_every_score_is_in_a_bin_but_zeros_and_a_thousandth():
    bins = sensitivity_bins(SCORES).groupby("parameter")["share"].sum()
    table = sensitivity_data(SCORES).set_index("parameter")
    assert bins["fc1.bias"] == 0
    for name in ("fc1.weight", "fc2.weight", "fc3.weight"):
        assert 1 - table.loc[name, "zeros"] - 0.0011 <= bins[name] <= 1
    whole = sensitivity_bins({"weight": torch.linspace(-1, 1, 7)}, log=False, num_bins=3)
    assert whole["share"].tolist() == pytest.approx([2 / 7, 3 / 7, 2 / 7])


def test_kept_shares_are_those_of_the_masks():
    kept = sensitivity_bins(SCORES, masks=MASKS).groupby("parameter")["kept"].sum()
    for name, mask in MASKS.items():
        assert kept[name] == pytest.approx(int(mask.sum()) / mask.numel())


@pytest.mark.parametrize("value", [1.0, 3e-7, 0.0, -2.0])
def test_scores_that_are_all_equal_have_a_bin(value):
    scores = {"weight": torch.full((4,), value)}
    assert sensitivity_bins(scores)["share"].sum() == (value != 0)
    draw_sensitivity(scores).figure.draw_without_rendering()
    draw_sensitivity_scatter(scores).figure.draw_without_rendering()


def test_points_are_scores_drawn_once_and_the_same_for_a_seed():
    points = sensitivity_points(SCORES, num_points=100, seed=3)
    for position, (name, score) in enumerate(SCORES.items()):
        part = points[points["parameter"] == name]
        assert len(part) == min(100, score.numel())
        assert part["index"].is_unique
        assert np.array_equal(part["score"], score.double().flatten().numpy()[part["index"]])
        assert ((part["position"] - position).abs() <= 0.36).all()
    assert points.equals(sensitivity_points(SCORES, num_points=100, seed=3))
    assert not points.equals(sensitivity_points(SCORES, num_points=100, seed=4))


def test_drawing_points_leaves_the_global_random_states_alone():
    before, state = np.random.get_state()[1].copy(), torch.get_rng_state()
    draw_sensitivity_scatter(SCORES)
    assert np.array_equal(np.random.get_state()[1], before)
    assert torch.equal(torch.get_rng_state(), state)


# histograms


def test_rows_stand_in_order_from_the_top_and_hold_their_bins():
    ax = draw_sensitivity(SCORES)
    assert names(ax.yaxis) == ["fc1", "fc2", "fc3", "fc1.bias"]
    assert ax.get_ylim() == (3.5, -0.5)
    assert ax.get_xscale() == "log"
    bins = sensitivity_bins(SCORES)
    for row, (outline, name) in enumerate(zip(outlines(ax), SCORES, strict=True)):
        values, edges, baseline = outline.get_data()
        part = bins[bins["parameter"] == name]
        assert np.allclose(edges[:-1], part["low"])
        heights = baseline - values
        assert baseline == row + 0.5
        assert np.allclose(heights, part["share"] * (0.86 / max(part["share"].max(), 1e-300)))
        assert heights.max() <= 0.86


def test_zeros_have_a_bar_with_their_percentage_and_a_word():
    ax = draw_sensitivity(SCORES)
    assert bar_widths(ax, "zeros") == [0, 0, 0, 1]
    assert [text.get_text() for text in strip(ax, "zeros").texts] == ["0", "0", "0", "100"]
    assert [text.get_text() for text in ax.texts] == ["all zero"]
    assert [child.get_label() for child in ax.child_axes] == ["zeros"]


def test_masks_split_the_histogram_and_mark_the_threshold():
    ax = draw_sensitivity(SCORES, masks=MASKS)
    lowest = min(float(score[MASKS[name]].min()) for name, score in SCORES.items() if MASKS[name].any())
    assert vertical_lines(ax) == [pytest.approx(lowest)]
    assert bar_widths(ax, "kept") == pytest.approx([MASKS[n].double().mean().item() for n in SCORES])
    for pale, solid in zip(outlines(ax, "share"), outlines(ax, "kept"), strict=True):
        assert pale.get_alpha() < solid.get_alpha() == 1
        part = solid.get_data().values >= pale.get_data().values  # the axis points down
        assert part.all()


def test_a_threshold_of_zero_has_no_place_on_a_logarithmic_axis():
    scores, masks = {"fc": torch.tensor([0.0, 0.0, 1.0, 2.0])}, {"fc": torch.tensor([False, True, True, True])}
    assert vertical_lines(draw_sensitivity(scores, masks=masks)) == []
    assert vertical_lines(draw_sensitivity(scores, masks=masks, log=False)) == [0.0]


def test_masks_of_several_thresholds_have_no_line():
    by_layer = Masks({name: score >= score.median() + (score.max() == 0) for name, score in SCORES.items()})
    assert vertical_lines(draw_sensitivity(SCORES, masks=by_layer)) == []
    everything = Masks({name: torch.ones_like(mask) for name, mask in MASKS.items()})
    assert vertical_lines(draw_sensitivity(SCORES, masks=everything)) == []


def test_a_given_threshold_is_drawn_and_on_the_axis():
    ax = draw_sensitivity(SCORES, threshold=1.0)
    assert vertical_lines(ax) == [1.0]
    assert ax.get_xlim()[1] > 1


def test_scores_below_the_axis_have_a_triangle():
    tail = torch.cat([torch.full((2000,), 1e-3), torch.tensor([1e-30])])
    ax = draw_sensitivity({"a.weight": tail, "b.weight": tail[:-1]})
    assert ax.get_xlim()[0] > 1e-20
    (feet,) = [c for c in ax.collections if c.get_label() == "below the axis"]
    assert feet.get_offsets().data.tolist() == [[0.012, 0.3]]


def test_negative_scores_are_on_a_linear_axis():
    scores = {"weight": torch.linspace(-1, 2, 50)}
    ax = draw_sensitivity(scores)
    assert ax.get_xscale() == "linear"
    assert draw_sensitivity_scatter(scores).get_ylim()[0] == -1


def test_many_rows_keep_their_bars_and_every_few_have_names():
    many = drawn(**{f"layer{i}_weight": (4, 4) for i in range(100)})
    ax = Figure(figsize=(4, 2)).add_subplot()
    draw_sensitivity(many, ax=ax)
    ax.figure.draw_without_rendering()
    assert len(outlines(ax)) == len(bar_widths(ax, "zeros")) == 100
    boxes = [tick.get_window_extent() for tick in ax.get_yticklabels()]
    assert 12 < len(boxes) < 36
    assert all(a.y0 >= b.y1 - 1 for a, b in zip(boxes, boxes[1:], strict=False))


# points


def test_points_stand_in_strips_at_their_score_in_units():
    ax = draw_sensitivity_scatter(SCORES, num_points=50, unit=1e-5, limit=3e-5)
    points = sensitivity_points(SCORES, num_points=50)
    assert ax.get_ylim() == (0, pytest.approx(3))
    assert ax.get_ylabel() == "connection sensitivity, 1e-5"
    assert names(ax.xaxis) == ["fc1", "fc2", "fc3", "fc1.bias"]
    strips = [c for c in ax.collections if c.get_label() != "above the axis"]
    for collection, name in zip(strips, SCORES, strict=True):
        shown = points[(points["parameter"] == name) & (points["score"] <= 3e-5)]
        assert np.allclose(collection.get_offsets().data, shown[["position", "score"]] * [1, 1e5])


def test_strips_with_points_above_the_axis_are_marked():
    scores = {"a.weight": torch.tensor([1.0, 9.0]), "b.weight": torch.tensor([1.0, 2.0])}
    ax = draw_sensitivity_scatter(scores, limit=3)
    assert [c.get_offsets().data.tolist() for c in ax.collections if c.get_label() == "above the axis"] == [[[0, .985]]]


def test_the_axis_shows_most_points_by_default_and_names_its_unit():
    ax = draw_sensitivity_scatter(SCORES)
    scores = torch.cat([score.flatten() for score in SCORES.values()])
    unit = float(ax.get_ylabel().rpartition(" ")[2])
    assert (scores <= ax.get_ylim()[1] * unit).double().mean() > 0.98
    assert 1 <= ax.get_ylim()[1] < 10


# bad input

WRONG = {"a": torch.ones(3)}
MISUSE = {
    "no mapping": (lambda: draw_sensitivity([1]), DtypeError, r"`scores` must map parameter names to tensors; got"),
    "empty": (lambda: sensitivity_data({}), ArgumentError, r"`scores` must hold at least one parameter; got an empty"),
    "no tensor": (lambda: plot_sensitivity({"a": 1}), DtypeError, r"`scores` must hold real tensors; got int for 'a'"),
    "bool": (lambda: sensitivity_bins(MASKS), DtypeError, r"must hold real tensors; got torch\.bool for 'fc1\.weight'"),
    "no numbers": (lambda: sensitivity_data({"a": torch.ones(0, 2)}), ShapeError, r"'a' is empty, of shape \(0, 2\)"),
    "nan": (lambda: draw_sensitivity({"a": torch.tensor([1.0, float("nan")])}), NonFiniteError,
            r"`scores` must be finite; 'a' has 1 NaN or infinite of 2"),
    "masks of others": (lambda: draw_sensitivity(SCORES, masks={"b": torch.ones(1, dtype=torch.bool)}), ShapeError,
                        r"`masks` must have 'fc1\.weight' in the shape \(30, 20\) of its scores; got only b\."),
    "masks of other shape": (lambda: sensitivity_data(WRONG, masks={"a": torch.ones(2, dtype=torch.bool)}), ShapeError,
                             r"`masks` must have 'a' in the shape \(3,\) of its scores; got shape \(2,\)\."),
    "no masks": (lambda: plot_sensitivity(WRONG, 3), DtypeError, r"`masks` must map parameter names to bool tensors"),
    "masks of numbers": (lambda: plot_sensitivity(WRONG, {"a": torch.ones(3)}), DtypeError, "bool tensors; got dict"),
    "empty masks": (lambda: plot_sensitivity(WRONG, {}), ArgumentError, r"`masks` must hold at least one mask; got no"),
    "too many sets": (lambda: plot_sensitivity(SCORES, {str(i): MASKS for i in range(11)}), ArgumentError,
                      r"`masks` must hold at most 10 sets; got 11"),
    "logarithm of negatives": (lambda: draw_sensitivity({"a": -torch.ones(2)}, log=True), ArgumentError,
                               r"`log` must be False where scores are negative; those of 'a' are"),
    "threshold": (lambda: draw_sensitivity(SCORES, threshold=0), ArgumentError,
                  r"`threshold` must be a finite number above 0; got 0\."),
    "linear threshold": (lambda: draw_sensitivity(SCORES, threshold="x", log=False), ArgumentError,
                         r"`threshold` must be a finite number; got 'x'\."),
    "color": (lambda: draw_sensitivity(SCORES, color="no"), ArgumentError, r"`color` must be a matplotlib color; got"),
    "axes": (lambda: draw_sensitivity_scatter(SCORES, ax=3), DtypeError, r"`ax` must be a matplotlib Axes; got int"),
    "bins": (lambda: draw_sensitivity(SCORES, num_bins=0), ArgumentError, r"`num_bins` must be a whole number of at l"),
    "points": (lambda: draw_sensitivity_scatter(SCORES, num_points=1.5), ArgumentError, r"`num_points` must be a w"),
    "seed": (lambda: sensitivity_points(SCORES, seed=-1), ArgumentError, r"`seed` must be a whole number of at leas"),
    "limit": (lambda: draw_sensitivity_scatter(SCORES, limit=0), ArgumentError, r"`limit` must be a finite number abo"),
    "unit": (lambda: draw_sensitivity_scatter(SCORES, unit=-1), ArgumentError, r"`unit` must be a finite number above"),
    "width": (lambda: plot_sensitivity(SCORES, width=0), ArgumentError, r"`width` must be a finite number above 0"),
    "height": (lambda: plot_sensitivity(SCORES, height="a"), ArgumentError, r"`height` must be a finite number abov"),
}


@pytest.mark.parametrize(("call", "error", "message"), MISUSE.values(), ids=MISUSE)
def test_misuse_is_refused_in_one_line(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
