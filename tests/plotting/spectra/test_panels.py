"""What figures of single segments share: panels, axes, zeros, labels and keywords."""

import sys

import made_up
import numpy as np
import pytest
from matplotlib.figure import Figure
from spectrum_artists import CASES, CONV, DRAW, EDGES, FC1, FC2, GONE, ONE, PLOT, TOP, ZERO, gauge, labels, line, steps

from jacprobe.plotting import (
    draw_ecdf,
    draw_inputs,
    draw_scree,
    draw_spectrum,
    ecdf_data,
    plot_ecdf,
    plot_scree,
    plot_spectrum,
    scree_data,
    spectrum_data,
)
from jacprobe.results import SpectrumSet


@pytest.mark.parametrize("name", DRAW)
@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_spectrum_is_drawn_on_either_axis_and_on_the_given_axes(name, case):
    for log in (True, False):
        ax = Figure(figsize=(3.3, 2.2)).add_subplot()
        assert DRAW[name](CASES[case], ax=ax, log=log) is ax
        values = ax.get_yscale() if name in ("scree", "inputs") else ax.get_xscale()
        assert values == ("log" if log else "linear")
        assert np.isfinite([*ax.get_xlim(), *ax.get_ylim()]).all()
        ax.figure.draw_without_rendering()


@pytest.mark.parametrize("name", PLOT)
def test_a_figure_has_a_panel_per_segment_and_one_legend(name):
    result = SpectrumSet((FC1, FC2, CONV, EDGES, ZERO, GONE, made_up.exact("e", kind="end_to_end")))
    figure = PLOT[name]({"dense": result, "_$x$": SpectrumSet((FC1,))}, width=3.3, title="all of it")
    titles = [ax.get_title(loc="left").split("\n")[0] for ax in figure.axes]
    assert titles == ["fc1", "fc2", "conv", "edges", "zero", "gone", "end to end"]
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"1 ± 0.1", "dense", r" _\$x\$", "estimated, 99 % band (k 3, n_v 2, seed 7)", "bounded"} <= set(texts)
    figure.draw_without_rendering()
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_fifty_layers_fit_a_page_and_some_can_be_chosen():
    layers = SpectrumSet(tuple(made_up.exact(f"stage{i}.conv") for i in range(50)))
    figure = plot_scree(layers)
    assert len(figure.axes) == 50
    assert figure.get_size_inches()[1] < 10.5
    assert len(plot_scree(layers, segments=["stage3.conv"]).axes) == 1


def test_names_that_occur_twice_have_two_panels():
    module = made_up.exact("fc1", kind="module")
    assert [ax.get_title(loc="left") for ax in plot_ecdf(SpectrumSet((FC1, module, FC2, FC2))).axes] == [
        "fc1 (layer)", "fc1 (module)", "fc2", "fc2"]


@pytest.mark.parametrize("name", DRAW)
def test_zeros_have_their_own_bar_with_the_percentage_apart_from_values_under_the_floor(name):
    bars, texts = gauge(ax := DRAW[name](FC2))
    assert bars == {"zeros": [0.2], "under floor": [pytest.approx(0.1)]}
    assert texts == ["20"]
    assert "under the floor" in labels(ax)
    assert DRAW[name](FC1).child_axes == []
    assert gauge(DRAW[name](ZERO))[1] == ["100"]
    assert [text.get_text() for text in DRAW[name](ZERO).texts] == ["all zero"]


def test_bounds_are_drawn_as_a_dashed_band_that_holds_what_they_leave():
    table = spectrum_data(EDGES, num_bins=4, log=False).query("part == 'bin'")  # from 0 to 2
    assert table["share"].isna().all()
    assert table["least"].tolist() == pytest.approx([1 / 3, 1 / 3, 0, 1 / 3])
    assert table["most"].tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 2, 1 / 3])  # ends belong to both bins
    heights, _, baseline = steps(ax := draw_spectrum(EDGES, num_bins=4, log=False), "measured")
    assert np.allclose(heights, table["most"] / 0.5)
    assert np.allclose(baseline, table["least"] / 0.5)
    assert "bounded" in labels(ax)
    assert "bounded (99 %)" in labels(draw_scree(TOP))
    rest = scree_data(TOP)
    assert (rest["least"].tolist(), rest["most"].tolist()) == ([1.5, *[0.0] * 9], [2.0] * 10)
    curve = ecdf_data(EDGES, log=False).set_index("x")
    at = curve.iloc[np.searchsorted(curve.index, 0.95)]
    assert (at["least"], at["most"]) == (pytest.approx(1 / 3), pytest.approx(2 / 3))


def test_estimates_and_bounds_look_otherwise_than_exact_values():
    named = {"a": FC1, "b": CONV, "c": EDGES}
    for draw in (draw_scree, draw_ecdf, DRAW["density"]):
        ax = draw(named)
        assert [line(ax, name).get_linestyle() for name in named] == ["-", ":", "--"]
    hatches = [patch.get_hatch() for patch in draw_spectrum({"a": FC1, "b": CONV}).patches if patch.get_label() in "ab"]
    assert hatches == [None, "//////"]


def test_keywords_are_forwarded_and_colors_taken():
    assert line(draw_scree(FC1, linewidth=3.5, color="red"), "measured").get_linewidth() == 3.5
    assert line(draw_ecdf(FC1, color="red"), "measured").get_color() == "red"
    patch = [p for p in draw_spectrum(FC1, alpha=0.3, label="x").patches if p.get_label() == "x"]
    assert patch[0].get_alpha() == 0.3
    assert [p.get_linewidth() for p in draw_inputs(FC1, linewidth=4).patches if p.get_label() == "measured"] == [4]


def test_the_axis_is_logarithmic_where_values_spread_widely():
    wide = made_up.exact("fc", [np.geomspace(1, 1e-4, 50).tolist()])
    assert draw_spectrum(wide).get_xscale() == "log"
    assert draw_spectrum(FC1).get_xscale() == "linear"
    left, right = plot_spectrum(SpectrumSet((wide, FC1))).axes
    assert left.get_xlim() == right.get_xlim()
    left, right = plot_spectrum(SpectrumSet((wide, FC1)), share=False).axes
    assert left.get_xlim() != right.get_xlim()


def test_the_pale_band_of_exact_values_of_several_inputs_is_in_the_legend():
    for draw, plot in ((draw_scree, plot_scree), (draw_ecdf, plot_ecdf)):
        assert "spread over inputs" in labels(draw(FC1))
        for other in (ONE, CONV, EDGES):
            assert "spread over inputs" not in labels(draw(other))
        texts = [text.get_text() for text in plot(SpectrumSet((FC1, FC2))).legends[0].get_texts()]
        assert texts.count("spread over inputs") == 1


def test_layers_with_bare_numbers_are_named_by_their_kind_and_sizes():
    numbers = SpectrumSet((made_up.exact("0"), made_up.exact("1.2", kind="module"), made_up.missing("4", "layer"),
                           made_up.exact("fc1"), made_up.exact("9", kind="end_to_end")))
    titles = [ax.get_title(loc="left") for ax in plot_scree(numbers).axes]
    assert titles == ["layer 0: 4→3", "module 1.2: 4→3", "layer 4", "fc1", "end to end"]
