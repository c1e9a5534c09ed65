"""Curves in the paper's style, read from the artists."""

import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import same_color

import jacprobe as jp
from jacprobe.errors import ArgumentError, DtypeError, NonFiniteError, UnknownNameError
from jacprobe.plotting.paper import plot_paper_curves

SPARSITIES = np.arange(0, 100, 10)


def table(*curves, panels=("linear", "tanh"), x=SPARSITIES, scale=1.0, **columns):
    rows = [pd.DataFrame({"panel": panel, "curve": curve, "x": x, "value": scale * (1 - x / 100) / (i + 1), **columns})
            for panel in panels for i, curve in enumerate(curves)]
    return pd.concat(rows, ignore_index=True)


def line(ax, label):
    (found,) = [line for line in ax.lines if line.get_label() == label]
    return found


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts() if text.get_text()]


TWO = table("LDI-Rand", "LDI-CS")


def test_measured_curves_are_solid_and_published_ones_dashed_and_hollow_in_the_same_colour():
    ax = plot_paper_curves(TWO, table("LDI-CS", scale=0.9)).axes[1]
    ours, theirs = line(ax, "LDI-CS"), line(ax, "_published LDI-CS")
    assert (ours.get_linestyle(), theirs.get_linestyle()) == ("-", "--")
    assert same_color(ours.get_color(), theirs.get_color())
    assert theirs.get_markerfacecolor() == "none" and not same_color(ours.get_markerfacecolor(), "none")
    assert ours.get_ydata() == pytest.approx((1 - SPARSITIES / 100) / 2)
    assert theirs.get_ydata() == pytest.approx(0.9 * (1 - SPARSITIES / 100))
    assert theirs.get_markersize() > ours.get_markersize()  # a ring around a dot where they agree


def test_curves_have_the_colours_and_markers_of_the_paper_in_any_company():
    wanted = {"LDI-Rand": ("C0", "o"), "LDI-Rand-AI": ("C1", "^"), "VS-CS": ("C2", "x"), "LDI-CS": ("C3", "p"),
              "LDI-CS-AI": ("C4", "d"), "LDI-Mag": ("C5", "s"), "LDI-Dense": ("C6", "v")}
    ax = plot_paper_curves(table(*wanted)).axes[0]
    for name, (color, marker) in wanted.items():
        assert same_color(line(ax, name).get_color(), color) and line(ax, name).get_marker() == marker
    alone = plot_paper_curves(table("mine", "LDI-Mag")).axes[0]
    assert same_color(line(alone, "LDI-Mag").get_color(), "C5")
    ours = [line.get_color() for line in plot_paper_curves(table(*wanted, "mine", "yours")).axes[0].lines]
    assert len(set(ours)) == 9


def test_a_palette_replaces_the_colours_of_its_curves():
    ax = plot_paper_curves(TWO, palette={"LDI-CS": "C2", "absent": "k"}).axes[0]
    assert same_color(line(ax, "LDI-CS").get_color(), "C2") and same_color(line(ax, "LDI-Rand").get_color(), "C0")


def test_the_legend_stands_once_below_in_the_order_of_the_paper():
    figure = plot_paper_curves(table("mine", "LDI-CS", "LDI-Rand", se=0.1), table("LDI-Dense"), columns=1, width=9)
    assert len(figure.legends) == 1 and not any(ax.get_legend() for ax in figure.axes)
    assert set(legend(figure)) == {"LDI-Rand", "LDI-CS", "LDI-Dense", "mine", "measured", "published", "± s.e."}
    assert legend(figure)[:4] == ["LDI-Rand", "LDI-CS", "LDI-Dense", "mine"]
    figure.draw_without_rendering()
    below = figure.legends[0].get_window_extent()
    assert below.y1 <= min(ax.get_tightbbox().y0 for ax in figure.axes) + 1
    assert below.x0 >= 0 and below.x1 <= figure.bbox.width


def test_without_published_numbers_and_errors_the_legend_holds_only_curves():
    for published in (None, TWO[:0], pd.DataFrame()):
        assert legend(plot_paper_curves(TWO, published)) == ["LDI-Rand", "LDI-CS"]
    assert legend(plot_paper_curves(TWO.assign(se=np.nan))) == ["LDI-Rand", "LDI-CS"]


def test_the_band_is_one_standard_error_wide_and_stops_where_none_is_known():
    frame = table("LDI-CS", panels=["tanh"], se=0.1)
    frame.loc[[3, 5], "se"] = np.nan
    ax = plot_paper_curves(frame).axes[0]
    (band,) = [c for c in ax.collections if isinstance(c, PolyCollection)]
    points = np.concatenate([path.vertices for path in band.get_paths()])
    assert points[:, 1].max() == pytest.approx(1.1)
    assert not {30.0, 50.0} & set(points[:, 0])
    (bars,) = [c for c in ax.collections if isinstance(c, LineCollection)]  # of the point between two without
    assert bars.get_segments()[0].ravel() == pytest.approx([40, 0.5, 40, 0.7])


@pytest.mark.parametrize("gap", [np.nan, np.inf, -np.inf], ids=["NaN", "infinite", "minus infinite"])
def test_an_unknown_value_leaves_a_gap_and_the_axis_alone(gap):
    frame = table("LDI-CS", panels=["tanh"], x=np.arange(100), se=0.0)
    frame.loc[[10, 12], "value"] = gap
    ax = plot_paper_curves(frame).axes[0]
    y = line(ax, "LDI-CS").get_ydata()
    assert np.flatnonzero(np.isnan(y)).tolist() == [10, 12]
    assert 11 in line(ax, "LDI-CS").get_markevery()  # no line reaches it
    assert ax.get_ylim()[1] < 1.2


def test_a_curve_without_any_known_value_keeps_its_place_in_the_legend():
    frame = TWO.assign(value=TWO["value"].where(TWO["curve"] != "LDI-CS"))
    figure = plot_paper_curves(frame)
    assert legend(figure) == ["LDI-Rand", "LDI-CS"]
    figure.draw_without_rendering()
    plot_paper_curves(frame[frame["curve"] == "LDI-CS"]).draw_without_rendering()


def test_panels_and_curves_may_be_missing_from_either_table():
    figure = plot_paper_curves(table("LDI-CS", panels=["linear"]), table("LDI-Mag", panels=["linear", "tanh"]))
    linear, tanh = figure.axes
    assert [line.get_label() for line in linear.lines] == ["LDI-CS", "_published LDI-Mag"]
    assert [line.get_label() for line in tanh.lines] == ["_published LDI-Mag"]


def test_panels_come_as_ordered_with_their_own_words_and_limits():
    figure = plot_paper_curves(TWO, panels=["tanh", "linear"], titles={"tanh": "(a) tanh"}, xlabel="sparsity, %",
                               ylabels={"tanh": "mean JSV", "linear": "loss"}, limits={"tanh": (0, 3)})
    assert [ax.get_title() for ax in figure.axes] == ["(a) tanh", "linear"]
    assert [ax.get_ylabel() for ax in figure.axes] == ["mean JSV", "loss"]
    assert figure.axes[0].get_ylim() == (0, 3) and figure.axes[1].get_ylim()[1] < 1.2
    assert [ax.get_title() for ax in plot_paper_curves(TWO, panels="tanh").axes] == ["tanh"]


def test_curves_of_panels_left_out_are_not_in_the_legend():
    both = pd.concat([table("LDI-CS", panels=["a"]), table("LDI-Mag", panels=["b"], se=0.1)])
    figure = plot_paper_curves(both, table("LDI-Rand", panels=["b"]), panels=["a"])
    assert legend(figure) == ["LDI-CS"]


def test_equal_names_of_axes_stand_once_at_the_edges_of_the_grid():
    panels = list("abcde")
    figure = plot_paper_curves(table("LDI-CS", panels=panels), xlabel="sparsity, %", ylabels="JSV", columns=2)
    assert [ax.get_ylabel() for ax in figure.axes] == ["JSV", "", "JSV", "", "JSV"]
    assert [ax.get_xlabel() for ax in figure.axes] == ["", "", "", "sparsity, %", "sparsity, %"]
    mixed = plot_paper_curves(table("LDI-CS", panels=panels[:2]), xlabel={"a": "sparsity", "b": "iteration"}, columns=1)
    assert [ax.get_xlabel() for ax in mixed.axes] == ["sparsity", "iteration"]


def test_the_axis_of_sparsity_runs_to_a_hundred_and_that_of_iterations_to_a_round_number():
    ax = plot_paper_curves(TWO).axes[0]
    assert [-5 < ax.get_xlim()[0] < 0, 100 < ax.get_xlim()[1] < 105] == [True, True]
    assert ax.get_xticks().tolist() == [0, 20, 40, 60, 80, 100]
    ax = plot_paper_curves(table("LDI-CS", x=np.arange(2, 30_000, 500))).axes[0]
    assert ax.get_xticks().tolist() == [0, 10_000, 20_000, 30_000]
    ax.figure.draw_without_rendering()
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0", "10k", "20k", "30k"]


def test_long_curves_have_few_markers_and_short_ones_all():
    long = plot_paper_curves(table("LDI-CS", "LDI-Rand", x=np.arange(500))).axes[0]
    assert [len(line.get_markevery()) for line in long.lines] == [7, 7]
    assert not set(long.lines[0].get_markevery()) & set(long.lines[1].get_markevery())
    assert line(plot_paper_curves(TWO).axes[0], "LDI-CS").get_markevery() == list(range(10))


def test_rows_come_in_any_order_and_one_point_is_enough():
    shuffled = TWO.sample(frac=1, random_state=0)
    assert line(plot_paper_curves(shuffled).axes[0], "LDI-CS").get_xdata().tolist() == SPARSITIES.tolist()
    plot_paper_curves(TWO[:1]).draw_without_rendering()


def test_a_tiny_scale_is_named_beside_the_axis_and_not_above_it():
    ax = plot_paper_curves(table("LDI-CS", scale=2.3e-6), ylabels="min JSV").axes[0]
    ax.figure.draw_without_rendering()
    assert ax.get_ylabel() == "min JSV (×10⁻⁶)" and ax.yaxis.get_offset_text().get_text() == ""
    ticks = [float(t.get_text().replace("\N{MINUS SIGN}", "-")) for t in ax.get_yticklabels()]
    assert ticks == pytest.approx(ax.get_yticks() * 1e6)


def test_the_frame_is_thick_and_black_and_the_axes_linear():
    ax = plot_paper_curves(TWO).axes[0]
    assert all(same_color(s.get_edgecolor(), "black") and s.get_linewidth() > 1 for s in ax.spines.values())
    assert (ax.get_xscale(), ax.get_yscale()) == ("linear", "linear")


def test_columns_width_and_height_are_as_asked():
    figure = plot_paper_curves(TWO, columns=1, width=4, height=5)
    assert figure.get_size_inches().tolist() == [4, 5]
    assert figure.axes[0].get_position().y0 > figure.axes[1].get_position().y1
    figure.draw_without_rendering()
    wide = plot_paper_curves(table("LDI-CS", panels=list("abcdefgh")), width=6.85)
    assert wide.axes[0].get_gridspec().get_geometry() == (2, 4)
    with jp.style("paper"):
        assert plot_paper_curves(TWO).get_figwidth() == pytest.approx(3.3)


def test_nothing_is_cut_off_at_the_width_of_one_column():
    curves = ["LDI-Rand", "LDI-Rand-AI", "VS-CS", "LDI-CS", "LDI-CS-AI", "LDI-Mag", "LDI-Dense"]
    with jp.style("paper"):
        figure = plot_paper_curves(table(*curves, se=0.1), table(*curves), xlabel="sparsity, %", columns=2,
                                   ylabels={"linear": "training accuracy, %", "tanh": "mean JSV"}, width=84 / 25.4)
    figure.draw_without_rendering()
    inside = figure.bbox
    boxes = [figure.legends[0].get_window_extent(), *(ax.get_tightbbox() for ax in figure.axes)]
    assert all(b.x0 >= -1 and b.y0 >= -1 and b.x1 <= inside.x1 + 1 and b.y1 <= inside.y1 + 1 for b in boxes)
    assert not boxes[1].overlaps(boxes[2])


def test_names_are_literal():
    figure = plot_paper_curves(table("_a$b$", panels=["p$x$"]))
    assert legend(figure) == [r" _a\$b\$"] and figure.axes[0].get_title() == r"p\$x\$"


def test_pdf_files_hold_truetype_fonts_without_any_style():
    buffer = io.BytesIO()
    plot_paper_curves(TWO, TWO).savefig(buffer, format="pdf")
    assert b"/FontFile2" in buffer.getvalue() and b"/Type3" not in buffer.getvalue()


@pytest.mark.parametrize(("frame", "error", "message"), [
    (3, DtypeError, "`measured` must be a DataFrame; got int"),
    (TWO.drop(columns="x"), ArgumentError, "`measured` must have the columns panel, curve, x, value; got panel"),
    (pd.DataFrame(), ArgumentError, "`measured` must have the columns panel, curve, x, value; got none"),
    (TWO[:0], ArgumentError, "`measured` must have rows; got an empty DataFrame"),
    (TWO.assign(value="a"), DtypeError, "`measured` must hold numbers in 'value'; got "),
    (TWO.assign(x=1j), DtypeError, "`measured` must hold numbers in 'x'; got complex128"),
    (TWO.assign(x=np.nan), NonFiniteError, "`measured` must hold finite numbers in 'x'; got nan"),
    (TWO.assign(se=-1.0), ArgumentError, "`measured` must hold standard errors of at least 0 in 'se'; got -1"),
    (pd.concat([TWO, TWO]), ArgumentError, "`measured` must have one row per panel, curve and x; got several for "
                                           "'linear', 'LDI-Rand' and 0. Average the runs first."),
    (table(*map(str, range(11))), ArgumentError, "`measured` must hold at most 10 curves that are not in the paper; "
                                                 "got 11"),
])
def test_a_table_that_cannot_be_drawn_is_refused(frame, error, message):
    with pytest.raises(error, match=message):
        plot_paper_curves(frame)


@pytest.mark.parametrize(("options", "error", "message"), [
    ({"published": TWO.drop(columns="x")}, ArgumentError, "`published` must have the columns"),
    ({"panels": ["tahn"]}, UnknownNameError, "`panels` must be one of linear, tanh; got 'tahn'. Did you mean 'tanh'"),
    ({"panels": []}, ArgumentError, "`panels` must name at least one panel; got none"),
    ({"titles": {"relu": "a"}}, UnknownNameError, "`titles` must be one of linear, tanh; got 'relu'"),
    ({"ylabels": {"relu": "a"}}, UnknownNameError, "`ylabels` must be one of linear, tanh; got 'relu'"),
    ({"xlabel": {"relu": "a"}}, UnknownNameError, "`xlabel` must be one of linear, tanh; got 'relu'"),
    ({"limits": {"relu": (0, 1)}}, UnknownNameError, "`limits` must be one of linear, tanh; got 'relu'"),
    ({"limits": {"tanh": (1, 0)}}, ArgumentError, "`limits` must hold a lower and a higher finite number by panel"),
    ({"limits": {"tanh": 3}}, ArgumentError, "`limits` must hold a lower and a higher finite number by panel; got 3"),
    ({"palette": {"LDI-CS": "no"}}, ArgumentError, "`palette` must hold matplotlib colors; got 'no' for 'LDI-CS'"),
    ({"columns": 0}, ArgumentError, "`columns` must be a whole number of at least 1; got 0"),
    ({"columns": True}, ArgumentError, "`columns` must be a whole number of at least 1; got True"),
    ({"width": 0}, ArgumentError, "`width` must be a finite number above 0; got 0"),
    ({"height": -1}, ArgumentError, "`height` must be a finite number above 0; got -1"),
])
def test_misuse_is_said_in_one_line(options, error, message):
    with pytest.raises(error, match=message):
        plot_paper_curves(TWO, **options)
