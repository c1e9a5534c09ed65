"""The correlation of two statistics, read from the artists."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from curve_artists import marks
from layer_artists import DENSE, unknown
from made_up import exact

from jacprobe.errors import ArgumentError, NonFiniteError, UnknownNameError
from jacprobe.plotting import correlation_data, draw_correlation, plot_correlation, rank_correlation
from jacprobe.results import SpectrumSet


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


def test_the_rows_of_a_summary_keep_their_floors():
    result = SpectrumSet((exact("a", rows=[[2.0, 1.0]], floor=1e-6), exact("b", rows=[[1.0 + 2e-8, 1.0]], floor=1e-6),
                          exact("c", rows=[[1.0, 1e-9]], floor=1e-6), exact("d", rows=[[3.0, 1.0]], floor=1e-6)))
    for x, y in (("max", "std"), ("mean", "min"), ("mean", "cond"), ("mean", "relative_variance")):
        ours, theirs = (correlation_data(data, x=x, y=y) for data in (result.summary(), result))
        pd.testing.assert_frame_equal(ours, theirs)
    table = result.summary().assign(loss=[1.0, 2.0, 3.0, 4.0])
    assert correlation_data(table, x="std", y="loss")["x"].tolist()[1] == 0
    assert correlation_data(table.drop(columns="label"), x="std", y="loss")["x"].tolist()[1] == pytest.approx(1e-8)
