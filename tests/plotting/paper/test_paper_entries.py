"""Numbers of a table as points, read from the artists."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection

from jacprobe.errors import ArgumentError, DtypeError
from jacprobe.plotting.paper import plot_paper_entries

TABLE = pd.DataFrame([("1e-3: cond", 9.4, 0.5, 8.54), ("1: cond", 5.8e11, np.nan, 3.34e11),
                      ("10: cond", np.inf, 0.0, np.nan), ("1e-3: error, %", 2.7, 0.1, 2.67),
                      ("1: error, %", 90.2, 0.0, 90.2), ("10: error, %", np.nan, np.nan, 90.2)],
                     columns=["entry", "measured", "error", "published"])


def points(ax, label):
    (found,) = [line for line in ax.lines if line.get_label() == label]
    return found.get_xdata()


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts() if text.get_text()]


def test_quantities_are_panels_and_rows_stand_from_top_to_bottom():
    cond, error = plot_paper_entries(TABLE).axes
    assert [cond.get_title(), error.get_title()] == ["cond", "error, %"]
    assert [t.get_text() for t in cond.get_yticklabels()] == ["1e-3", "1", "10"] and cond.yaxis_inverted()
    assert points(cond, "measured") == pytest.approx([9.4, 5.8e11, np.nan], nan_ok=True)
    assert points(error, "_published") == pytest.approx([2.67, 90.2, 90.2])
    assert (cond.get_xscale(), error.get_xscale()) == ("log", "linear")


def test_names_of_rows_stand_once_beside_equal_ones():
    left, right = plot_paper_entries(TABLE).axes
    assert left.yaxis.get_tick_params()["labelleft"] and not right.yaxis.get_tick_params()["labelleft"]
    below = plot_paper_entries(TABLE, columns=1).axes[1]
    assert below.yaxis.get_tick_params()["labelleft"]


def test_what_is_infinite_stands_at_the_edge_and_what_is_unknown_nowhere():
    cond = plot_paper_entries(TABLE).axes[0]
    assert len(points(cond, "_infinite measured")) == 1 and len(points(cond, "_infinite published")) == 0
    (line,) = [line for line in cond.lines if line.get_label() == "_infinite measured"]
    assert line.get_ydata().tolist() == [2] and line.get_marker() == ">"


def test_standard_errors_are_bars_where_they_are_known():
    figure = plot_paper_entries(TABLE)
    (bars,) = [c for c in figure.axes[1].collections if isinstance(c, LineCollection)]
    assert bars.get_segments()[0].ravel() == pytest.approx([2.6, 0, 2.8, 0])
    assert set(legend(figure)) == {"measured", "published", "± s.e.", "infinite"}
    assert set(legend(plot_paper_entries(TABLE[3:].drop(columns="error")))) == {"measured", "published"}


def test_entries_without_a_quantity_or_without_any_number_are_drawn():
    table = TABLE.assign(entry=list("abcdef"), measured=np.nan)
    figure = plot_paper_entries(table)
    figure.draw_without_rendering()
    assert [ax.get_title() for ax in figure.axes] == [""]
    plot_paper_entries(table.assign(published=np.nan)).draw_without_rendering()


def test_nothing_is_cut_off_at_the_width_of_one_column():
    long = pd.DataFrame([(f"ResNet110 VS-{k}: {q}", 1.0 + k, 0.1, 1.1 + k) for q in ("orthogonality score", "error, %")
                         for k in range(25)], columns=TABLE.columns)
    figure = plot_paper_entries(long, width=84 / 25.4)
    figure.draw_without_rendering()
    boxes = [figure.legends[0].get_window_extent(), *(ax.get_tightbbox() for ax in figure.axes)]
    assert all(b.x0 >= -1 and b.y0 >= -1 and b.x1 <= figure.bbox.x1 + 1 and b.y1 <= figure.bbox.y1 + 1 for b in boxes)
    assert plot_paper_entries(TABLE, width=4, height=3).get_size_inches().tolist() == [4, 3]


@pytest.mark.parametrize(("table", "options", "error", "message"), [
    (3, {}, DtypeError, "`table` must be a DataFrame; got int"),
    (TABLE.drop(columns="published"), {}, ArgumentError, "`table` must have the columns entry, measured, published"),
    (TABLE[:0], {}, ArgumentError, "`table` must have rows"),
    (TABLE.assign(measured="a"), {}, DtypeError, "`table` must hold numbers in 'measured'"),
    (TABLE.assign(error=-1.0), {}, ArgumentError, "`table` must hold standard errors of at least 0 in 'error'; got -1"),
    (TABLE, {"columns": 0}, ArgumentError, "`columns` must be a whole number of at least 1; got 0"),
    (TABLE, {"width": -1}, ArgumentError, "`width` must be a finite number above 0; got -1"),
    (TABLE, {"height": 0}, ArgumentError, "`height` must be a finite number above 0; got 0"),
])
def test_misuse_is_said_in_one_line(table, options, error, message):
    with pytest.raises(error, match=message):
        plot_paper_entries(table, **options)
