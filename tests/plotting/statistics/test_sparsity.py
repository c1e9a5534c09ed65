"""Curves against sparsity, read from the artists."""

import numpy as np
import pandas as pd
import pytest
from curve_artists import line, marks
from layer_artists import DENSE, spectrum, spread, unknown
from made_up import estimated, exact
from matplotlib.collections import LineCollection, PolyCollection

from jacprobe.errors import ArgumentError, DtypeError, NonFiniteError, UnknownNameError
from jacprobe.plotting import draw_sparsity, plot_sparsity, sparsity_data
from jacprobe.results import SpectrumSet


def scaled(factor):
    return SpectrumSet((spread("fc1"), spectrum("e2e", [[2.0 * factor, factor]], kind="end_to_end")))


RUNS = {"snip": {0.9: scaled(0.1), 0.0: scaled(1.0)}, "random": {0.0: scaled(1.0), 0.9: [scaled(0.2), scaled(0.4)]}}


def test_each_method_is_a_line_over_increasing_sparsity_of_the_end_to_end_spectrum():
    ax = draw_sparsity(RUNS, log=False)
    assert line(ax, "snip") == [[0, 1.5], [0.9, pytest.approx(0.15)]]
    assert line(ax, "random") == [[0, 1.5], [0.9, pytest.approx(0.45)]]
    assert line(draw_sparsity(RUNS["snip"], segment="fc1", label="net"), "net")[0][1] == DENSE["fc1"].mean
    ax.figure.draw_without_rendering()
    low, high = ax.get_xlim()
    assert [t.get_text() for t in ax.get_xticklabels() if low <= t.get_position()[0] <= high] == ["0", "20", "40", "60",
                                                                                              "80"]


def test_repeated_runs_are_a_mean_with_a_band_of_their_sample_deviation():
    row = sparsity_data(RUNS).iloc[-1]
    spread_of = np.std([0.3, 0.6], ddof=1)
    assert row[["method", "num_runs"]].tolist() == ["random", 2]
    assert row[["value", "band_low", "band_high"]].tolist() == pytest.approx([0.45, 0.45 - spread_of, 0.45 + spread_of])
    ax = draw_sparsity(RUNS)
    (band,) = [c for c in ax.collections if isinstance(c, PolyCollection) and c.get_label() == "_band 1"]
    assert band.get_paths()[0].vertices[:, 1].max() == pytest.approx(0.45 + spread_of)
    assert "± std of runs" in ax.get_legend_handles_labels()[1]
    assert "± std of runs" not in draw_sparsity(RUNS["snip"]).get_legend_handles_labels()[1]


def test_a_frame_is_drawn_as_the_results_it_was_made_of():
    rows = [{"method": m, "sparsity": s, "mean": result.end_to_end.mean, "label": "exact"}
            for m, runs in RUNS.items() for s, several in runs.items()
            for result in (several if isinstance(several, list) else [several])]
    ours, theirs = sparsity_data(RUNS), sparsity_data(pd.DataFrame(rows))
    columns = ["method", "sparsity", "value", "band_low", "num_runs", "state"]
    pd.testing.assert_frame_equal(ours[columns], theirs[columns])


def test_a_logarithmic_axis_comes_with_a_wide_range_and_zero_is_at_its_foot():
    runs = {0.0: scaled(1.0), 0.5: scaled(1e-2), 1.0: SpectrumSet((exact(rows=[[0.0]], zeros=1, kind="end_to_end"),))}
    ax = draw_sparsity(runs)
    assert ax.get_yscale() == "log"
    assert [x for x, _ in marks(ax, "_0 or under the floor")] == [1.0]
    assert draw_sparsity(runs, log=False).get_yscale() == "linear"
    assert [x for x, _ in marks(draw_sparsity(runs, statistic="cond"), "_not known")] == [1.0]


def test_estimates_against_sparsity_are_hollow_with_a_bar():
    runs = {0.5: SpectrumSet((estimated("e2e", kind="end_to_end"),)), 0.6: SpectrumSet((unknown("fc1"),))}
    ax = draw_sparsity(runs)
    assert "estimated (k 3, n_v 1, seed 7)" in ax.get_legend_handles_labels()[1]
    assert [x for x, _ in marks(ax, "_doubtful 0")] == [0.5]
    assert [c for c in ax.collections if isinstance(c, LineCollection)]
    assert sparsity_data(runs)["reason"].fillna("").tolist() == ["", "module is never called"]


@pytest.mark.parametrize(("data", "error", "message"), [
    (3, DtypeError, "`data` must be a mapping from sparsity to SpectrumSet, or a DataFrame; got int"),
    ({}, ArgumentError, "`data` must hold at least one sparsity; got an empty mapping"),
    ({"snip": {}}, ArgumentError, "`data` must hold at least one sparsity; got only empty"),
    ({90: DENSE}, ArgumentError, r"`sparsity` must lie in \[0, 1\]; got 90"),
    ({0.9: 3}, DtypeError, "`data` must hold SpectrumSets; got int for 0.9"),
    ({0.9: []}, DtypeError, "`data` must hold SpectrumSets; got nothing for 0.9"),
    ({0.9: SpectrumSet((spread("a"), spread("b")))}, UnknownNameError, "`segment` must be one of a, b; got None"),
    (pd.DataFrame({"sparsity": []}), ArgumentError, "`data` must have rows; got an empty DataFrame"),
    (pd.DataFrame({"sparsity": [0.1], "mean": [np.nan]}), NonFiniteError, "`data` must hold no NaN in 'mean'; got nan"),
    (pd.DataFrame({"sparsity": [0.1], "meen": [1]}), UnknownNameError, "`statistic` must be one of .*; got 'mean'"),
    (pd.DataFrame({"sparsity": [0.1], "mean": ["x"]}), DtypeError, "`data` must hold numbers in 'mean'; got"),
    (pd.DataFrame({"sparsity": [0.1, 0.1], "mean": [1, 2], "segment": ["a", "b"]}), ArgumentError,
     "`data` must be about one segment; got 2, such as 'a'"),
])
def test_misuse_of_sparsity_is_said(data, error, message):
    with pytest.raises(error, match=message):
        plot_sparsity(data)


def test_statistics_against_sparsity_are_panels():
    figure = plot_sparsity(RUNS, statistics=("mean", "cond"), width=7)
    assert [ax.get_ylabel() for ax in figure.axes] == ["mean singular value", "condition number"]
    assert figure.axes[0].get_position().y0 == pytest.approx(figure.axes[1].get_position().y0)
    with pytest.raises(ArgumentError, match="`statistics` must name at least one"):
        plot_sparsity(RUNS, statistics=[])
