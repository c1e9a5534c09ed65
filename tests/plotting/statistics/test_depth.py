"""Statistics against depth, read from the artists."""

import numpy as np
import pytest
from curve_artists import line, marks
from layer_artists import DENSE, PRUNED, spread, unknown
from made_up import bounded, estimated, exact, one_of_each
from matplotlib.collections import LineCollection

from jacprobe.errors import ArgumentError, UnknownNameError
from jacprobe.plotting import depth_data, draw_depth, plot_depth
from jacprobe.results import SpectrumSet


def bars(ax, label):
    """Return (x, low, high) of the upright bars of one label."""
    found = [c for c in ax.collections if isinstance(c, LineCollection) and c.get_label() == label]
    return [(float(s[0, 0]), float(s[0, 1]), float(s[1, 1])) for c in found for s in c.get_segments()]


VALUES = SpectrumSet((exact("fc1", rows=[[3.0, 2.0, 1.0]]), exact("fc2", rows=[[1.0, 0.5, 0.25]])))


def test_means_are_joined_and_their_spread_is_that_of_the_values():
    ax = draw_depth({"net": VALUES}, log=False)
    assert line(ax, "net") == [[0, 2], [1, pytest.approx(7 / 12)]]
    std = np.std([3, 2, 1])
    assert bars(ax, "_± std")[0] == pytest.approx((0, 2 - std, 2 + std))
    assert bars(ax, "_min to max") == [(0, 1, 3), (1, 0.25, 1)]
    assert bars(draw_depth(VALUES, spread=False), "_± std") == []
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["fc1", "fc2"]


def test_any_statistic_of_the_summary_can_be_drawn():
    for statistic in ("min", "max", "cond", "ldi", "median", "stable_rank"):
        ax = draw_depth({"net": VALUES}, statistic=statistic)
        assert [y for _, y in line(ax, "net")] == VALUES.summary()[statistic].tolist()
    assert draw_depth(VALUES, statistic="ldi").get_yscale() == "linear"
    assert draw_depth(VALUES, statistic="cond").get_yscale() == "linear"  # from 3 to 4
    wide = SpectrumSet((*VALUES, exact("fc3", rows=[[1.0, 0.01]])))
    assert draw_depth(wide, statistic="cond").get_yscale() == "log"
    assert draw_depth(wide, statistic="ldi").get_yscale() == "linear"


def test_what_is_infinite_zero_or_unknown_has_a_mark_at_the_edge_and_no_point_on_the_line():
    result = SpectrumSet((spread("a"), exact("b", rows=[[2.0, 0.0]], zeros=1), unknown("c")))
    ax = draw_depth({"net": result}, statistic="cond")
    assert line(ax, "net")[0][1] == pytest.approx(20)
    assert np.isnan(line(ax, "net")[1][1])
    assert [x for x, _ in marks(ax, "_infinite")] == [1]
    assert [x for x, _ in marks(ax, "_not known")] == [2]
    lowest = draw_depth({"net": result}, statistic="min", log=True)
    assert [x for x, _ in marks(lowest, "_0 or under the floor")] == [1]
    assert {"infinite", "not known"} <= set(ax.get_legend_handles_labels()[1])
    assert depth_data(result).iloc[2][["state", "reason"]].tolist() == ["unknown", "module is never called"]


def test_what_is_not_exact_is_hollow_and_has_its_interval():
    result = SpectrumSet((estimated("a"), bounded("b"), exact("c", rows=[[1.0, 1e-9]], floor=1e-6)))
    table = depth_data(result)
    assert table["state"].tolist() == ["estimated", "bounded", "exact"]
    first, second, _ = result
    error = first.standard_error("mean")
    assert table.loc[0, ["low", "high"]].tolist() == pytest.approx([first.mean - error, first.mean + error])
    assert tuple(table.loc[1, ["low", "high"]]) == second.mean_interval
    ax = draw_depth(result)
    assert [x for x, _ in marks(ax, "_doubtful 0")] == [0]
    assert bars(ax, "_range 0")[1] == pytest.approx((1, *second.mean_interval))
    assert depth_data(result, statistic="min")["state"].iloc[2] == "under floor"
    cond = depth_data(result, statistic="cond").iloc[2]
    assert (cond["state"], cond["value"]) == ("at least", pytest.approx(1e6))
    assert "lower bound" in draw_depth(result, statistic="cond").get_legend_handles_labels()[1]


def test_sets_stand_side_by_side_and_are_matched_by_name():
    ax = draw_depth({"dense": DENSE, "other": SpectrumSet((spread("fc1"), spread("extra"), spread("fc2")))})
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["fc1", "extra", "fc2"]
    assert [x for x, _ in line(ax, "dense")] == [-0.125, 1.875]
    assert [x for x, _ in line(ax, "other")] == [0.125, 1.125, 2.125]


def test_cumulative_spectra_are_drawn_where_asked_for_or_where_there_is_nothing_else():
    both = SpectrumSet((spread("fc1"), spread("fc1", kind="cumulative", high=1.0), spread("fc2", kind="cumulative")))
    assert depth_data(both)["kind"].tolist() == ["layer"]
    assert depth_data(both, kind="cumulative")["segment"].tolist() == ["fc1", "fc2"]
    assert depth_data(both.select("cumulative"))["kind"].tolist() == ["cumulative"] * 2
    with pytest.raises(ArgumentError, match="`results` must hold segments of the kind 'module'; got cumulative, layer"):
        draw_depth(both, kind="module")
    with pytest.raises(ArgumentError, match="`results` must hold segments of one kind; got cumulative for 'a'"):
        draw_depth({"a": both.select("cumulative"), "b": both.select("layer")})
    with pytest.raises(UnknownNameError, match="`kind` must be one of layer"):
        draw_depth(both, kind="layers")


def test_the_figure_has_a_panel_per_statistic_and_names_only_below_the_last():
    figure = plot_depth({"dense": DENSE, "pruned": PRUNED}, statistics=("mean", "max", "cond"))
    assert [ax.get_ylabel() for ax in figure.axes] == ["mean singular value", "largest singular value",
                                                       "condition number"]
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["", ""]
    assert [text.get_text() for text in figure.legends[0].get_texts()][:2] == ["dense", "pruned"]


def test_misuse_is_said():
    with pytest.raises(UnknownNameError, match="`statistic` must be one of mean, .*; got 'meen'. Did you mean 'mean'"):
        draw_depth(VALUES, statistic="meen")
    with pytest.raises(ArgumentError, match="`statistics` must name at least one"):
        plot_depth(VALUES, statistics=())
    with pytest.raises(ArgumentError, match="`log` must be False where values are negative; got -"):
        draw_depth(SpectrumSet((exact(rows=[[0.5, 0.25]]),)), statistic="log_det", log=True)
    with pytest.raises(ArgumentError, match="`epsilon` must be a finite number above 0; got 0"):
        draw_depth(one_of_each(), epsilon=0)


def test_the_line_is_forwarded_to_plot():
    (drawn,) = [a for a in draw_depth({"net": VALUES}, linestyle=":", linewidth=3).lines if a.get_label() == "net"]
    assert (drawn.get_linestyle(), drawn.get_linewidth()) == (":", 3)


def test_the_legend_says_what_the_bars_of_the_spread_are():
    ax = draw_depth({"net": VALUES})
    handles = dict(zip(*ax.get_legend_handles_labels()[::-1], strict=True))
    thick, thin = (handles[text].get_linewidths()[0] for text in ("± std", "min to max"))
    assert thick > 2 * thin
    texts = [text.get_text() for text in plot_depth({"net": VALUES}).legends[0].get_texts()]
    assert (texts.count("± std"), texts.count("min to max")) == (1, 1)
    for other in (draw_depth(VALUES, spread=False), draw_depth(VALUES, statistic="ldi")):
        assert not {"± std", "min to max"} & set(other.get_legend_handles_labels()[1])


def test_one_small_value_squeezes_no_means():
    result = SpectrumSet((exact("a", rows=[[1.0, 0.9, 1e-3]]), exact("b", rows=[[0.9, 0.5, 0.4]])))
    assert draw_depth(result).get_yscale() == "linear"
    ax = draw_depth(result, log=True)
    mean = depth_data(result)["value"].min()
    assert 0.25 * mean / 1.3 < ax.get_ylim()[0] <= 0.25 * mean
    assert [x for x, _ in marks(ax, "_smallest below the axis")] == [0]
