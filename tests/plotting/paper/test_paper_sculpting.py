"""Error against sparsity of sculpted networks, read from the artists."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import same_color

from jacprobe.errors import ArgumentError, DtypeError, NonFiniteError
from jacprobe.plotting.paper import plot_paper_sculpting

NETWORKS = pd.DataFrame([("Reference", 0, 8.046), ("Equivalent 1", 74.8, 7.618), ("Equivalent 1", 93.7, 7.63),
                         ("Equivalent 2", 60.4, 7.776), ("Equivalent 3", 42.0, 7.912)],
                        columns=["group", "sparsity", "error"])


def marks(ax, label):
    (found,) = [line for line in ax.lines if line.get_label() == label]
    return found


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts() if text.get_text()]


def test_groups_have_the_colours_and_markers_of_the_paper():
    ax = plot_paper_sculpting(NETWORKS).axes[0]
    for name, color, marker in (("Reference", "C4", "o"), ("Equivalent 1", "C3", "^"), ("Equivalent 2", "C2", "D"),
                                ("Equivalent 3", "C0", "s")):
        assert same_color(marks(ax, name).get_color(), color) and marks(ax, name).get_marker() == marker
        assert marks(ax, name).get_linestyle() == "None"
    assert marks(ax, "Equivalent 1").get_xydata().ravel() == pytest.approx([74.8, 7.618, 93.7, 7.63])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("sparsity, %", "error, %")
    assert ax.get_xticks().tolist() == [0, 20, 40, 60, 80, 100]


def test_published_networks_are_hollow_beside_the_measured_ones():
    figure = plot_paper_sculpting(NETWORKS.assign(error=NETWORKS["error"] + 1), NETWORKS)
    ours, theirs = (marks(figure.axes[0], label) for label in ("Equivalent 2", "_published Equivalent 2"))
    assert same_color(ours.get_color(), theirs.get_color()) and theirs.get_markerfacecolor() == "none"
    assert (ours.get_ydata()[0], theirs.get_ydata()[0]) == pytest.approx((8.776, 7.776))
    assert set(legend(figure)) == {*NETWORKS["group"], "measured", "published"}
    low, high = figure.axes[0].get_ylim()
    assert low < 7.618 and high > 9.046


def test_a_line_at_the_reference_shows_who_is_better():
    ax = plot_paper_sculpting(NETWORKS.assign(error=NETWORKS["error"] + 1), NETWORKS).axes[0]
    ours, theirs = marks(ax, "_line of Reference"), marks(ax, "_line of _published Reference")
    assert (ours.get_ydata()[0], theirs.get_ydata()[0]) == pytest.approx((9.046, 8.046))
    assert (ours.get_linestyle(), theirs.get_linestyle()) == ("-", "--")
    base = plot_paper_sculpting(NETWORKS.replace("Reference", "Base")).axes[0]
    assert same_color(marks(base, "Base").get_color(), "C4") and marks(base, "_line of Base").get_ydata()[0] == 8.046
    assert not any("line of" in line.get_label() for line in plot_paper_sculpting(NETWORKS[1:]).axes[0].lines)


@pytest.mark.parametrize("published", [None, NETWORKS[:0], pd.DataFrame()], ids=["none", "no rows", "no columns"])
def test_without_published_networks_the_legend_holds_only_groups(published):
    assert set(legend(plot_paper_sculpting(NETWORKS, published))) == set(NETWORKS["group"])


def test_standard_errors_are_bars_where_they_are_known():
    figure = plot_paper_sculpting(NETWORKS.assign(se=[0.1, 0.2, np.nan, np.nan, np.nan]))
    bars = {c.get_label(): c.lines[2][0].get_segments() for c in figure.axes[0].containers}
    assert bars.keys() == {"_error of Reference", "_error of Equivalent 1"}
    (bar,) = bars["_error of Equivalent 1"]
    assert bar.ravel() == pytest.approx([74.8, 7.418, 74.8, 7.818])
    assert "± s.e." in legend(figure)
    assert "± s.e." not in legend(plot_paper_sculpting(NETWORKS.assign(se=np.nan)))


@pytest.mark.parametrize("error", [np.nan, np.inf], ids=["NaN", "infinite"])
def test_a_network_without_an_error_is_in_the_legend_only(error):
    frame = NETWORKS.assign(error=NETWORKS["error"].where(NETWORKS["group"] != "Reference", error))
    figure = plot_paper_sculpting(frame)
    figure.draw_without_rendering()
    assert legend(figure)[0] == "Reference" and figure.axes[0].get_ylim()[1] < 8.1


def test_other_groups_and_colours_are_possible():
    frame = NETWORKS.assign(group=NETWORKS["group"].replace("Equivalent 3", "mine"))
    ax = plot_paper_sculpting(frame, palette={"mine": "k"}, width=4, height=3).axes[0]
    assert same_color(marks(ax, "mine").get_color(), "k")
    assert ax.figure.get_size_inches().tolist() == [4, 3]


@pytest.mark.parametrize(("frame", "options", "error", "message"), [
    ([], {}, DtypeError, "`measured` must be a DataFrame; got list"),
    (NETWORKS.drop(columns="error"), {}, ArgumentError, "`measured` must have the columns group, sparsity, error"),
    (NETWORKS[:0], {}, ArgumentError, "`measured` must have rows"),
    (NETWORKS.assign(error="a"), {}, DtypeError, "`measured` must hold numbers in 'error'"),
    (NETWORKS.assign(sparsity=np.nan), {}, NonFiniteError, "`measured` must hold finite numbers in 'sparsity'"),
    (NETWORKS.assign(sparsity=748.0), {}, ArgumentError, r"`measured` must hold sparsities in \[0, 100\]; got 748"),
    (NETWORKS.assign(se=-1.0), {}, ArgumentError, "`measured` must hold standard errors of at least 0 in 'se'; got -1"),
    (NETWORKS, {"published": 3}, DtypeError, "`published` must be a DataFrame; got int"),
    (NETWORKS, {"palette": {"Reference": "no"}}, ArgumentError, "`palette` must hold matplotlib colors; got 'no'"),
    (NETWORKS, {"width": 0}, ArgumentError, "`width` must be a finite number above 0; got 0"),
    (NETWORKS, {"height": 0}, ArgumentError, "`height` must be a finite number above 0; got 0"),
])
def test_misuse_is_said_in_one_line(frame, options, error, message):
    with pytest.raises(error, match=message):
        plot_paper_sculpting(frame, **options)
