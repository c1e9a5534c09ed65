"""What the figures of layers, sparsity, training and models share: every kind of result, misuse, and looks."""

import subprocess
import sys

import matplotlib
import pandas as pd
import pytest
from layer_artists import spread, unknown
from made_up import bounded, estimated, exact, one_of_each
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import jacprobe as jp
from jacprobe import plotting
from jacprobe.errors import ArgumentError, DtypeError, JacprobeError, NonFiniteError, UnknownNameError
from jacprobe.results import SpectrumSet

CASES = {
    "one layer": SpectrumSet((spread("fc1"),)),
    "fifty layers": SpectrumSet(tuple(spread(f"block.{i}.linear", num=8, low=0.5) for i in range(50))),
    "all zero": SpectrumSet((exact("fc1", rows=[[0.0] * 4], zeros=4),)),
    "one value": SpectrumSet((exact("fc1", rows=[[1.0]]),)),
    "one input": SpectrumSet((exact("fc1", rows=[[2.0, 1.0, 0.5]]), exact("fc2", rows=[[1.0, 0.4, 1e-9]]))),
    "estimated": SpectrumSet((estimated("conv1"), estimated("conv2", zeros=2))),
    "only bounds": SpectrumSet((bounded("conv1"), bounded("conv2", [[1.5, 1.2]], [[1.6, 1.4]], dim=9))),
    "missing layers": SpectrumSet((spread("a"), unknown("b"), unknown("c"))),
    "every label": one_of_each(),
}
DRAWN = {
    "depth": (plotting.draw_depth, plotting.plot_depth, lambda r: r, "results"),
    "quantiles": (plotting.draw_quantiles, plotting.plot_quantiles, lambda r: r, "result"),
    "ridges": (plotting.draw_ridges, plotting.plot_ridges, lambda r: r, "result"),
    "comparison": (plotting.draw_comparison, plotting.plot_comparison, lambda r: {"a": r, "b": r}, "results"),
    "correlation": (plotting.draw_correlation, plotting.plot_correlation, lambda r: {"a": r}, "data"),
}


@pytest.mark.parametrize("plot", DRAWN)
@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_result_can_be_drawn(plot, case):
    _, draw_figure, value, _ = DRAWN[plot]
    figure = draw_figure(value(CASES[case]), width=3.3)
    figure.draw_without_rendering()
    assert type(figure).__mro__[1] is Figure
    assert pyplot.get_fignums() == []


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("statistic", ["mean", "min", "cond", "ldi"])
def test_every_kind_of_result_has_its_place_against_sparsity(case, statistic):
    name = CASES[case].layers[0]
    runs = {"snip": {0.0: CASES["one layer"], 1.0: CASES["one layer"]}, "magnitude": {0.5: CASES[case]}}
    if name != "fc1":
        runs = {"magnitude": {0.5: CASES[case], 0.9: [CASES[case]] * 2}}
    for log in (True, False, None):
        ax = plotting.draw_sparsity(runs, statistic=statistic, segment=name, log=log)
    ax.figure.draw_without_rendering()


@pytest.mark.parametrize("plot", DRAWN)
def test_axes_that_are_given_are_drawn_on_and_returned(plot):
    draw, _, value, name = DRAWN[plot]
    ax = Figure().add_subplot()
    assert draw(value(CASES["one input"]), ax=ax) is ax
    assert ax.figure.axes[0] is ax
    assert isinstance(draw(value(CASES["one input"])), Axes)
    assert pyplot.get_fignums() == []
    with pytest.raises(DtypeError, match="`ax` must be a matplotlib Axes; got int"):
        draw(value(CASES["one input"]), ax=1)
    with pytest.raises(DtypeError, match=f"`{name}` must hold SpectrumSets; got int"):
        draw(value(3))


@pytest.mark.parametrize("plot", DRAWN)
def test_values_that_are_no_numbers_are_refused_in_one_line(plot):
    draw, draw_figure, value, _ = DRAWN[plot]
    bad = SpectrumSet((exact("fc1", rows=[[2.0, float("nan"), 1.0]]),))
    for function in (draw, draw_figure):
        with pytest.raises(NonFiniteError, match="must hold finite singular values; 'fc1' has 1 NaN") as error:
            function(value(bad))
        assert "\n" not in str(error.value)
        with pytest.raises(JacprobeError, match="must hold"):
            function(value(SpectrumSet(())))
    with pytest.raises(ArgumentError, match="must hold at least one SpectrumSet; got an empty mapping"):
        draw_figure({})
    with pytest.raises(ArgumentError, match="`width` must be a finite number above 0; got -1"):
        draw_figure(value(CASES["one input"]), width=-1)


@pytest.mark.parametrize("plot", ["depth", "ridges", "comparison", "correlation"])
def test_names_are_written_literally_and_the_palette_is_checked(plot):
    draw, draw_figure, value, _ = DRAWN[plot]
    name = "_a$b$<i>"
    figure = draw_figure({name: CASES["one input"]}, title="$x")
    figure.draw_without_rendering()
    texts = [text.get_text().replace(r"\$", "$").strip() for legend in figure.legends for text in legend.get_texts()]
    assert name in texts if plot != "ridges" else figure.axes[0].get_title() == name
    if plot != "ridges":
        with pytest.raises(ArgumentError, match="`palette` must hold . matplotlib colors; got 'no colour'"):
            draw(value(CASES["one input"]), palette=["no colour", "red"])
    with pytest.raises(ArgumentError, match="must hold at most 10 sets; got 11"):
        draw_figure({str(i): CASES["one input"] for i in range(11)})


def test_a_style_holds_inside_its_context_and_nowhere_else():
    before = dict(matplotlib.rcParams)
    with jp.style("paper"):
        figures = [jp.plot_depth(CASES["one layer"]), jp.plot_layers(CASES["one layer"]),
                   jp.plot_ridges(CASES["one layer"]), jp.plot_comparison({"a": CASES["one layer"]})]
        assert matplotlib.rcParams["pdf.fonttype"] == 42
    assert [figure.get_figwidth() for figure in figures] == [3.3] * 4
    assert [ax.yaxis.label.get_fontsize() <= 8 for ax in figures[0].axes] == [True, True]
    assert dict(matplotlib.rcParams) == before
    with jp.style("notebook"):
        assert jp.plot_depth(CASES["one layer"]).get_figwidth() == 7
    assert jp.plot_depth(CASES["one layer"], width=2.5).get_figwidth() == 2.5
    with pytest.raises(UnknownNameError, match="`name` must be one of paper, notebook, slide; got 'papr'. Did you"):
        jp.style("papr")


def test_an_estimate_says_how_it_was_made():
    figure = plotting.plot_depth(CASES["estimated"])
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "estimated (k 3, n_v 1, seed 7)" in texts
    figure = plotting.plot_correlation({"a": CASES["estimated"], "b": CASES["one layer"]})
    assert "estimated (k 3, n_v 1, seed 7)" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_figures_are_as_high_as_their_rows_need_and_axes_share_no_state():
    low, high = (plotting.plot_ridges(CASES[name]).get_figheight() for name in ("one layer", "fifty layers"))
    assert low < 3 < high <= 10.4
    frame = pd.DataFrame({"sparsity": [0.1, 0.2], "mean": [1.0, 2.0]})
    ax = plotting.draw_sparsity(frame)
    count = len(ax.lines)
    plotting.draw_sparsity(frame)
    assert len(ax.lines) == count
    assert ax.get_xlim() == pytest.approx((0.096, 0.204))


def test_style_is_the_context_whatever_was_imported_before():
    code = ("import jacprobe as jp, jacprobe.plotting.artists.contexts, jacprobe.plotting as p;"
            "jp.plot_depth; assert p.style is jp.style and callable(p.style), p.style")
    subprocess.run([sys.executable, "-c", code], check=True)
