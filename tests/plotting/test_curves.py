"""Sparsity and training curves, and the correlation of two statistics, read from the artists."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from layer_artists import DENSE, spectrum, spread, unknown
from made_up import estimated, exact
from matplotlib.collections import LineCollection, PolyCollection

from jacprobe.errors import ArgumentError, DtypeError, NonFiniteError, UnknownNameError
from jacprobe.plotting import (
    correlation_data,
    draw_correlation,
    draw_sparsity,
    draw_training,
    plot_correlation,
    plot_sparsity,
    plot_training,
    rank_correlation,
    sparsity_data,
    training_data,
)
from jacprobe.results import SpectrumSet


def line(ax, label):
    (found,) = [line for line in ax.lines if line.get_label() == label]
    return found.get_xydata().tolist()


def marks(ax, label):
    return [offset.tolist() for c in ax.collections if c.get_label() == label for offset in c.get_offsets().data]


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


FRAME = pd.DataFrame({"step": [1, 0, 0, 1, 0], "loss": [1.0, 2.0, 4.0, 0.5, 3.0], "run": list("aabbc")})


def test_training_curves_are_sorted_by_step_and_averaged():
    ax = draw_training(FRAME, hue="run")
    assert line(ax, "a") == [[0, 2], [1, 1]]
    assert line(ax, "c") == [[0, 3]]
    table = training_data(FRAME)
    assert table["value"].tolist() == [3.0, 0.75]
    assert table["band_high"].tolist() == pytest.approx([4.0, 0.75 + np.std([1, 0.5], ddof=1)])
    assert [ax.get_ylabel() for ax in plot_training(FRAME.assign(error=1.0), y=["loss", "error"]).axes] == ["loss",
                                                                                                        "error"]


def test_long_curves_have_no_markers_and_zero_loss_stands_at_the_foot():
    long = pd.DataFrame({"step": range(1000), "loss": np.linspace(1, 0, 1000)})
    ax = draw_training(long, log=True, linewidth=2.5)
    (drawn,) = [found for found in ax.lines if len(found.get_xdata()) == 1000]
    assert (drawn.get_marker(), drawn.get_linewidth()) == ("None", 2.5)
    assert [x for x, _ in marks(ax, "_0 or under the floor")] == [999]


@pytest.mark.parametrize(("arguments", "error", "message"), [
    ({"frame": 3}, DtypeError, "`frame` must be a DataFrame; got int"),
    ({"y": "lose"}, UnknownNameError, "`y` must be one of step, loss, run; got 'lose'. Did you mean 'loss'"),
    ({"hue": "model"}, UnknownNameError, "`hue` must be one of"),
    ({"frame": FRAME.assign(loss=np.inf)}, NonFiniteError, "`frame` must hold finite numbers in 'loss'; got inf"),
    ({"y": []}, ArgumentError, "`y` must name at least one column"),
    ({"frame": FRAME.assign(loss=-1.0), "log": True}, ArgumentError, "`log` must be False where values are negative"),
])
def test_misuse_of_training_curves_is_said(arguments, error, message):
    with pytest.raises(error, match=message):
        plot_training(**{"frame": FRAME, **arguments})


def test_the_rank_correlation_is_that_of_scipy():
    x, y = np.random.default_rng(0).integers(0, 6, (2, 30))
    assert rank_correlation(x, y) == pytest.approx(scipy.stats.spearmanr(x, y).statistic, abs=1e-12)
    assert np.isnan(rank_correlation([1, 2], [1, 2]))
    assert np.isnan(rank_correlation([1, 1, 1], [1, 2, 3]))


def test_points_are_the_layers_and_what_is_unknown_is_left_out():
    result = SpectrumSet((exact("a", rows=[[3.0, 1.0]]), exact("b", rows=[[2.0, 1.0]]), unknown("c")))
    ax = draw_correlation({"net": result}, x="mean", y="max", s=9, log=False)
    assert marks(ax, "net") == [[2.0, 3.0], [1.5, 2.0]]
    assert [c.get_sizes().tolist() for c in ax.collections if c.get_label() == "net"] == [[9]]
    assert ax.get_title() == "Spearman ρ not defined, n = 2"
    assert [text.get_text() for text in ax.texts] == ["a", "b"]
    assert len(draw_correlation(result, names=False).texts) == 0
    assert correlation_data(result, y="max")["y_rank"].tolist() == [2, 1]


def test_an_infinite_condition_counts_in_the_ranks_and_stands_at_the_edge():
    result = SpectrumSet((exact("a", rows=[[3.0, 1.0]]), exact("b", rows=[[4.0, 1.0]]),
                          exact("c", rows=[[6.0, 0.0]], zeros=1)))
    ax = draw_correlation(result, x="max", y="cond")
    assert ax.get_title() == "Spearman ρ = 1.00, n = 3"
    ((_, height),) = marks(ax, "_beyond")
    assert height == pytest.approx(ax.get_ylim()[0] + 0.975 * np.ptp(ax.get_ylim()))


def test_a_frame_of_models_has_groups_and_misuse_is_said():
    frame = pd.DataFrame({"cond": [1.0, 1e3], "error": [1.0, 2.0], "init": ["a", "b"], "model": ["x", "y"]})
    figure = plot_correlation(frame, x="cond", y=["error"], hue="init")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]
    assert (figure.axes[0].get_xscale(), figure.axes[0].get_yscale()) == ("log", "linear")
    assert [text.get_text() for text in figure.axes[0].texts] == ["x", "y"]
    with pytest.raises(NonFiniteError, match="`data` must hold no NaN in 'error'; got nan in row 0"):
        draw_correlation(frame.assign(error=np.nan), x="cond", y="error")
    with pytest.raises(UnknownNameError, match="`y` must be one of mean, .*; got 'error'"):
        draw_correlation(DENSE, y="error")
    with pytest.raises(ArgumentError, match="`log` must be False where values are negative; got -1 in 'error'"):
        draw_correlation(frame.assign(error=-1.0), x="cond", y="error", log=True)
    with pytest.raises(ArgumentError, match="`y` must name at least one"):
        plot_correlation(frame, x="cond", y=[])


def test_a_spread_that_is_rounding_alone_is_zero_at_the_foot_and_sets_no_axis():
    rows = [[[2.0, 1.0]], [[1.5, 1.0]], [[1.0 + 2e-8, 1.0]], [[1.0 + 4e-8, 1.0]]]
    result = SpectrumSet(tuple(exact(f"fc{i}", rows=row, floor=1e-6) for i, row in enumerate(rows)))
    assert correlation_data(result, x="max", y="std")["y"].tolist() == pytest.approx([0.5, 0.25, 0, 0])
    assert correlation_data(result, x="max", y="std")["y_rank"].tolist() == [4, 3, 1.5, 1.5]
    for statistic in ("relative_std", "relative_variance"):
        assert (correlation_data(result, y=statistic)["y"] == 0).tolist() == [False, False, True, True]
    ax = draw_correlation(result, x="max", y="std", log=True)
    assert ax.get_ylim()[0] > 0.1
    low, high = np.log(ax.get_ylim())
    assert [np.log(y) for _, y in marks(ax, "_beyond")] == pytest.approx([low + 0.025 * (high - low)] * 2)
    assert "estimated" not in ax.get_legend_handles_labels()[1]
    exactly = SpectrumSet(tuple(exact(f"fc{i}", rows=row, floor=1e-12) for i, row in enumerate(rows)))
    assert correlation_data(exactly, y="std")["y"].tolist()[2:] == pytest.approx([1e-8, 2e-8])
    relative = SpectrumSet((exact(rows=[[1e-9, 1e-9 + 1e-17]], floor=np.nan, relative_floor=1e-6),))
    assert correlation_data(relative, x="mean", y="std").loc[0, ["x", "y"]].tolist() == [pytest.approx(1e-9), 0]


def test_only_the_labels_of_a_spectrum_set_make_the_points_of_a_frame_hollow():
    frame = pd.DataFrame({"cond": [1.0, 2.0, 3.0], "error": [1.0, 2.0, 3.0]})
    for words in (["cat", "dog", "exact"], [0, 1, 2], ["exact"] * 3):
        ax = draw_correlation(frame.assign(label=words), x="cond", y="error")
        assert (len(marks(ax, "_points")), marks(ax, "_doubtful")) == (3, [])
        assert ax.get_legend_handles_labels()[1] == []
    ax = draw_correlation(frame.assign(label=["exact", "bounded", "estimated"]), x="cond", y="error")
    assert marks(ax, "_doubtful") == [[2, 2], [3, 3]]
    assert ax.get_legend_handles_labels()[1] == ["bounded", "estimated"]
