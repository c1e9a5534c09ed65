"""The layer figure, read from its artists."""

import matplotlib
import numpy as np
import pytest
from layer_artists import (
    DENSE,
    PRUNED,
    flat_lines,
    medians,
    names,
    spectrum,
    spread,
    strip_bars,
    unknown,
    violins,
    words,
)
from matplotlib.figure import Figure

from jacprobe.errors import ArgumentError, DtypeError, NonFiniteError
from jacprobe.plotting import draw_layers, layers_data, plot_layers
from jacprobe.results import SpectrumSet


def test_layers_stand_in_forward_order_with_end_to_end_apart():
    ax = draw_layers(DENSE)
    assert names(ax) == ["fc1", "fc2", "end\nto\nend"]
    assert ax.get_xticks().tolist() == [0, 1, 2.5]
    assert [line.get_xdata()[0] for line in ax.lines if len(set(line.get_xdata())) == 1] == [1.75]  # the rule between
    assert len(violins(ax)) == 3


def test_end_to_end_is_left_out_on_demand():
    assert draw_layers(DENSE, include_end_to_end=False).get_xticks().tolist() == [0, 1]
    assert plot_layers(DENSE, end_to_end=False).axes[0].get_xticks().tolist() == [0, 1]


def test_a_violin_ends_at_the_smallest_and_the_largest_value():
    heights = violins(draw_layers(SpectrumSet((spread("fc1", low=0.2, high=3.0),))))[0].get_paths()[0].vertices[:, 1]
    assert np.allclose([heights.min(), heights.max()], [0.2, 3.0])


def test_structural_zeros_are_outside_the_violin_and_its_median():
    ax = draw_layers(SpectrumSet((spectrum("fc1", [[4.0, 2.0, 1.0, 0.0, 0.0]], zeros=2),)))
    assert violins(ax)[0].get_paths()[0].vertices[:, 1].min() >= 0.99
    assert medians(ax) == [[0.0, 2.0]]


def test_zero_bars_equal_the_share_of_structural_zeros():
    first, second = PRUNED
    shares = [s.num_zeros / s.values.numel() for s in (first, second)]
    assert shares == [0, 0.25]
    assert strip_bars(draw_layers(PRUNED), "zeros") == [(0, 0.0), (1, 0.25)]


def test_zero_percentages_are_written_above_the_bars():
    (strip,) = draw_layers(PRUNED).child_axes
    assert [tick.get_text() for tick in strip.get_xticklabels()] == ["0", "25"]
    assert strip.get_xlabel() == "structural zeros, %"


def test_values_under_the_floor_are_apart_from_zeros_and_from_the_violin():
    ax = draw_layers(SpectrumSet((spectrum("fc1", [[2.0, 1.0, 1e-9, 0.0]], zeros=1, floor=1e-8),)))
    assert strip_bars(ax, "zeros") == [(0, 0.25)]
    assert strip_bars(ax, "under floor") == [(0, 0.25)]
    assert "under the floor" in ax.child_axes[0].get_xlabel()
    assert medians(ax) == [[0.0, 1.5]]


def test_no_strip_where_nothing_is_zero():
    assert draw_layers(DENSE).child_axes == []


@pytest.mark.parametrize("log", [True, False], ids=["logarithmic", "linear"])
def test_the_band_is_one_plus_minus_epsilon_and_one_has_a_line(log):
    ax = draw_layers(DENSE, epsilon=0.25, log=log)
    (band,) = [p for p in ax.patches if p.get_label() == "1 ± 0.25"]
    assert np.allclose([band.get_y(), band.get_y() + band.get_height()], [0.75, 1.25])
    assert [1, 1] in [list(line.get_ydata()) for line in ax.lines]
    assert ax.get_yscale() == ("log" if log else "linear")


def test_the_band_is_that_of_the_set_by_default():
    ax = draw_layers(SpectrumSet(DENSE.spectra, epsilon=0.3))
    assert any(patch.get_label() == "1 ± 0.3" for patch in ax.patches)


@pytest.mark.parametrize("log", [True, False], ids=["logarithmic", "linear"])
def test_a_band_that_reaches_zero_can_be_drawn(log):
    figure = plot_layers(DENSE, epsilon=1.5, log=log)
    figure.draw_without_rendering()


@pytest.mark.parametrize(
    "rows", [[[1.0] * 10] * 3, [[1.0 + 1e-12, 1.0, 1.0 - 1e-12]], [[1.0]]], ids=["all ones", "ones up to noise", "one"]
)
@pytest.mark.parametrize("log", [True, False], ids=["logarithmic", "linear"])
def test_a_distribution_without_width_is_a_visible_line(rows, log):
    ax = draw_layers(SpectrumSet((spectrum("fc1", rows),)), log=log)
    ((left, right, height),) = flat_lines(ax)
    assert right - left > 0.5
    assert height == pytest.approx(1)
    low, high = ax.get_ylim()
    assert low < 1 < high
    ax.figure.draw_without_rendering()


def test_a_layer_of_zeros_says_so_and_has_a_full_bar():
    ax = draw_layers(SpectrumSet((spread("fc1"), spectrum("fc2", [[0.0, 0.0]], zeros=2))))
    assert words(ax) == ["all zero"]
    assert strip_bars(ax, "zeros") == [(0, 0.0), (1, 1.0)]


def test_a_layer_wholly_under_the_floor_says_so():
    ax = draw_layers(SpectrumSet((spectrum("fc1", [[1e-9, 0.0]], zeros=1, floor=1e-8),)))
    assert words(ax) == ["under floor"]


def test_a_layer_without_spectrum_keeps_its_slot():
    ax = draw_layers(SpectrumSet((spread("fc1"), unknown("unused"), spread("fc3"))))
    assert names(ax) == ["fc1", "unused", "fc3"]
    assert words(ax) == ["no spectrum"]
    assert ax.texts[0].get_position()[0] == 1
    assert len(violins(ax)) == 2


def test_no_layer_needs_a_spectrum():
    ax = draw_layers(SpectrumSet((unknown("a"), unknown("b"))))
    assert words(ax) == ["no spectrum"] * 2
    ax.figure.draw_without_rendering()


def test_an_unknown_floor_hides_no_value():
    ax = draw_layers(SpectrumSet((spectrum("fc1", [[2.0, 1.0, 0.0]], zeros=1, floor=float("nan")),)))
    assert medians(ax) == [[0.0, 1.5]]


def test_a_tail_below_the_axis_has_a_triangle_at_its_foot():
    tail = [*np.geomspace(2, 0.5, 99).tolist(), 1e-12]
    ax = draw_layers(SpectrumSet((spectrum("fc1", [tail]), spread("fc2", low=0.5))))
    assert ax.get_ylim()[0] > 0.1
    feet = ax.collections[-1].get_offsets().data.tolist()
    assert feet == [[0.0, 0.025]]


def test_sets_stand_side_by_side_in_the_slot_of_their_layer():
    ax = plot_layers({"dense": DENSE, "pruned": PRUNED}).axes[0]
    assert np.allclose(sorted(x for x, _ in medians(ax)), [-0.2, 0.2, 0.8, 1.2, 2.3])
    centers = sorted((v.get_paths()[0].vertices[:, 0].min() + v.get_paths()[0].vertices[:, 0].max()) / 2
                     for v in violins(ax))
    assert np.allclose(centers, [-0.2, 0.2, 0.8, 1.2, 2.3])


def test_violins_have_one_width_wherever_slots_are_missing():
    alone = plot_layers({"a": SpectrumSet((spread("x"), unknown("y"), unknown("z"), spread("w")))}).axes[0]
    extents = [np.ptp(v.get_paths()[0].vertices[:, 0]) for v in violins(alone)]
    assert np.allclose(extents, 0.8 * 0.94)


def test_a_set_that_lacks_a_layer_leaves_its_place_empty():
    other = SpectrumSet((spread("fc1"), spread("extra"), spread("fc2")))
    ax = plot_layers({"dense": DENSE, "other": other}, end_to_end=False).axes[0]
    assert names(ax) == ["fc1", "extra", "fc2"]
    assert np.allclose(sorted(x for x, _ in medians(ax)), [-0.2, 0.2, 1.2, 1.8, 2.2])
    assert words(ax) == []


def test_sets_differ_in_color_and_keep_it():
    figure = plot_layers({"dense": DENSE, "pruned": PRUNED})
    faces = {tuple(v.get_facecolor()[0]) for v in violins(figure.axes[0])}
    handles = {tuple(h.get_facecolor()[0]) for h in figure.legends[0].legend_handles[:2]}
    assert len(faces) == 2
    assert faces == handles


def test_the_given_axes_are_drawn_on_and_returned():
    ax = Figure().add_subplot()
    assert draw_layers(DENSE, ax=ax, color="tab:red", label="mine") is ax
    assert ax.get_legend_handles_labels()[1] == ["1 ± 0.1", "mine"]
    assert tuple(violins(ax)[0].get_facecolor()[0]) == matplotlib.colors.to_rgba("tab:red")


def test_violin_keywords_are_forwarded():
    plain, changed = draw_layers(DENSE), draw_layers(DENSE, linewidth=3.5, width=0.4)
    assert violins(changed)[0].get_linewidth()[0] == 3.5
    extent = [np.ptp(violins(ax)[0].get_paths()[0].vertices[:, 0]) for ax in (plain, changed)]
    assert extent[1] == pytest.approx(extent[0] / 2)


def test_a_violin_of_many_values_is_the_density_of_all_of_them():
    many = spectrum("fc1", [np.geomspace(2, 0.1, 50_000).tolist()])
    path = violins(draw_layers(SpectrumSet((many,))))[0].get_paths()[0].vertices
    assert np.allclose([path[:, 1].min(), path[:, 1].max()], [0.1, 2.0])
    middle = path[(path[:, 1] > 0.2) & (path[:, 1] < 1.0) & (path[:, 0] > 0)]
    assert np.ptp(middle[:, 0]) < 0.02  # log-uniform values: the sides of the violin are straight


def test_layers_data_holds_the_numbers_drawn():
    table = layers_data({"dense": DENSE, "pruned": PRUNED})
    assert table["segment"].tolist() == ["fc1", "fc2", "end to end", "fc1", "fc2"]
    row = table.iloc[4]
    assert (row["set"], row["position"], row["zeros"], row["under_floor"]) == ("pruned", 1, 0.25, 0)
    kept = [0.1, 0.2, 0.2, 0.3, 0.4, 0.5]
    assert row[["min", "q25", "median", "q75", "max"]].tolist() == pytest.approx([0.1, 0.2, 0.25, 0.375, 0.5])
    assert row["q05"] == pytest.approx(np.quantile(kept, 0.05))


def test_layers_data_tells_why_there_is_no_spectrum():
    row = layers_data(SpectrumSet((unknown("x"),))).iloc[0]
    assert row["reason"] == "module is never called"
    assert np.isnan(row["median"])


MODULES = SpectrumSet((spread("fc1", kind="module"),))


POSITIVE = "must be a finite number above 0; got"
MISUSE = [
    (lambda: draw_layers(3), DtypeError, r"`result` must hold SpectrumSets; got int\. Probe a model first\."),
    (lambda: draw_layers({"a": DENSE}), DtypeError, r"`result` must be one SpectrumSet; got a mapping\. Use `plot_lay"),
    (lambda: draw_layers(SpectrumSet(())), ArgumentError, r"`result` must hold layers; got an empty set\. Probe with"),
    (lambda: draw_layers(MODULES), ArgumentError, r"`result` must hold layers; got module\. Probe with kind='layers'"),
    (lambda: draw_layers(DENSE, ax="x"), DtypeError, r"`ax` must be a matplotlib Axes; got str\. Leave it out"),
    (lambda: draw_layers(DENSE, color="no"), ArgumentError, r"`color` must be a matplotlib color; got 'no'\. Give"),
    (lambda: draw_layers(DENSE, epsilon=0), ArgumentError, rf"`epsilon` {POSITIVE} 0\. Choose"),
    (lambda: plot_layers(DENSE, epsilon=float("nan")), ArgumentError, rf"`epsilon` {POSITIVE} nan\."),
    (lambda: plot_layers(DENSE, epsilon="0.1"), ArgumentError, rf"`epsilon` {POSITIVE} '0\.1'\."),
    (lambda: plot_layers(DENSE, epsilon=True), ArgumentError, rf"`epsilon` {POSITIVE} True\."),
    (lambda: plot_layers(DENSE, width=0), ArgumentError, rf"`width` {POSITIVE} 0\."),
    (lambda: plot_layers(DENSE, height=-1), ArgumentError, rf"`height` {POSITIVE} -1\."),
    (lambda: plot_layers({}), ArgumentError, r"`results` must hold at least one SpectrumSet; got an empty mapping\. P"),
    (lambda: plot_layers({"a": 1}), DtypeError, r"`results` must hold SpectrumSets; got int for 'a'\. Probe"),
    (lambda: plot_layers({"a": MODULES}), ArgumentError, r"`results` must hold layers; got module for 'a'\. Probe"),
    (lambda: layers_data([DENSE]), DtypeError, r"`results` must hold SpectrumSets; got list\. Probe a model first\."),
    (lambda: plot_layers({str(i): DENSE for i in range(11)}), ArgumentError, r"at most 10 sets; got 11\. Plot fewer"),
    (lambda: plot_layers({"a": DENSE, "b": SpectrumSet(DENSE.spectra, epsilon=0.2)}), ArgumentError,
     r"`epsilon` must be one for all sets; they have 0\.1, 0\.2\. Pass `epsilon`\."),
]


@pytest.mark.parametrize(("call", "error", "message"), MISUSE)
def test_misuse_is_refused_in_one_line(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_values_that_are_no_numbers_are_refused_in_one_line():
    with pytest.raises(NonFiniteError, match="must hold finite singular values; 'fc1' has 1 NaN or infinite"):
        plot_layers(SpectrumSet((spectrum("fc1", [[2.0, float("nan"), 1.0]]),)))
