"""Histograms, densities, scree curves, distribution functions and inputs of single segments, read from artists."""

import math
import sys

import made_up
import numpy as np
import pytest
from matplotlib.figure import Figure
from spectrum_artists import (
    CASES,
    CONV,
    DRAW,
    EDGES,
    FC1,
    FC2,
    GONE,
    MOMENTS,
    ONE,
    PLOT,
    RNG,
    TOP,
    ZERO,
    gauge,
    labels,
    line,
    steps,
    uniform_law,
)

from jacprobe.plotting import (
    draw_ecdf,
    draw_inputs,
    draw_scree,
    draw_spectrum,
    ecdf_data,
    inputs_data,
    plot_ecdf,
    plot_inputs,
    plot_scree,
    plot_spectrum,
    scree_data,
    spectrum_curve,
    spectrum_data,
)
from jacprobe.results import SpectrumSet
from jacprobe.theory.spectrallaw import SpectralLaw


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
    assert {"1 ± 0.1", "dense", r" _\$x\$", "estimated, 99 % band\nk = 3, n_v = 2, seed = 7", "bounded"} <= set(texts)
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


def test_bars_are_the_shares_of_numpy_and_their_area_leaves_out_zeros():
    table = spectrum_data(FC1, num_bins=10, log=False).query("part == 'bin'")
    counts, edges = np.histogram(FC1.values.numpy(), 10)
    assert np.allclose(table["share"], counts / 120)
    assert np.allclose([*table["low"], table["high"].iloc[-1]], edges)
    heights, drawn, _ = steps(draw_spectrum(FC1, num_bins=10, log=False), "measured")
    assert np.allclose(heights * np.diff(drawn), counts / 120)
    heights, drawn, _ = steps(draw_spectrum(FC2, log=True), "measured")
    assert (heights * np.diff(np.log10(drawn))).sum() == pytest.approx(0.7)  # of 10: 2 zeros, 1 under the floor


@pytest.mark.parametrize("name", DRAW)
def test_zeros_have_their_own_bar_with_the_percentage_apart_from_values_under_the_floor(name):
    bars, texts = gauge(ax := DRAW[name](FC2))
    assert bars == {"zeros": [0.2], "under floor": [pytest.approx(0.1)]}
    assert texts == ["20"]
    assert "under the floor" in labels(ax)
    assert DRAW[name](FC1).child_axes == []
    assert gauge(DRAW[name](ZERO))[1] == ["100"]
    assert [text.get_text() for text in DRAW[name](ZERO).texts] == ["all zero"]


def test_the_density_integrates_to_the_share_above_the_floor_on_both_axes():
    for spectrum, share in ((FC1, 1.0), (FC2, 0.7), (CONV, 0.75)):
        for log in (True, False):
            table = spectrum_curve(spectrum, log=log)
            x = np.log10(table["x"]) if log else table["x"]
            assert np.trapezoid(table["density"], x) == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize("log", [True, False], ids=["logarithmic", "linear"])
def test_the_band_of_an_estimate_holds_the_density_of_the_true_spectrum(log):
    # 200 values known one by one; two probes see them by random Dirichlet weights in 20 nodes of Gauss quadrature
    values = np.linspace(0.05, 2, 200)
    nodes, weights = [], []
    for _ in range(2):
        chosen = RNG.dirichlet(np.full(200, 0.5))
        basis = np.linalg.qr(np.vander(values**2 / 4, 20, increasing=True) * np.sqrt(chosen)[:, None])[0]
        found, vectors = np.linalg.eigh(basis.T @ (values[:, None] ** 2 * basis))
        nodes.append(np.sqrt(found)[::-1].copy())
        weights.append((vectors.T @ (basis.T @ np.sqrt(chosen)))[::-1] ** 2)
    estimate = made_up.estimated("fc", np.array([nodes]), np.array([weights]) * 200.0000001)
    table = spectrum_curve(estimate, log=log)
    x, known = (np.log10(table["x"]), np.log10(values)) if log else (table["x"], values)
    grid = spectrum_data(estimate, log=log).query("part == 'bin'")
    width = np.diff(np.log10(grid["low"]) if log else grid["low"])[0]

    def kernel(d):
        return np.exp(-0.5 * (d / width) ** 2) / (width * math.sqrt(2 * math.pi))

    truth = kernel(x.to_numpy()[:, None] - known).mean(1)
    if not log:
        truth += kernel(x.to_numpy()[:, None] + known).mean(1)
    assert (table["least"] <= truth + 1e-6).all()
    assert (table["most"] >= truth - 1e-6).all()
    assert (table["most"] - table["least"]).max() < 5 * truth.max()
    edges = [*grid["low"], grid["high"].iloc[-1]]
    shares = np.histogram(values, edges)[0] / 200
    assert (grid["least"] <= shares).all()
    assert (grid["most"] >= shares).all()


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


def test_the_theory_overlay_says_its_distance_in_the_legend_and_in_the_data():
    law = uniform_law(0.5, 1.5)
    values = np.sort(FC1.values.numpy().ravel())
    expected = (np.log(values) - math.log(0.5)) / math.log(3)
    apart = np.abs(np.stack([np.arange(1, 121) / 120 - expected, expected - np.arange(120) / 120])).max()
    table = spectrum_data(FC1, theory=law)
    assert table["distance"].iloc[0] == pytest.approx(apart, abs=1e-3)
    assert table["expected"].sum() == pytest.approx(math.log(values[-1] / values[0]) / math.log(3), abs=3e-3)
    for draw in (draw_spectrum, draw_ecdf):
        spread = ["spread over inputs"] if draw is draw_ecdf else []
        assert labels(draw(FC1, theory=law, label="x")) == ["1 ± 0.1", f"x (KS {apart:.2g})", "theory", *spread]
    x, height = line(draw_spectrum(FC1, theory=law, log=True), "theory").get_data()
    inside = (x > 0.6) & (x < 1.3)
    assert np.allclose(height[inside], 1 / math.log10(3), rtol=0.01)  # even per decade
    both = SpectrumSet((FC1, FC2))
    figure = plot_spectrum(both, theory={"fc1": law, "other": law})
    assert [ax.get_title(loc="right") for ax in figure.axes] == [f"KS {apart:.2g}", ""]
    figure = plot_ecdf(FC1, theory=law)
    assert f"measured (KS {apart:.2g})" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_the_distance_of_an_estimate_lies_in_its_interval_and_zeros_of_a_law_are_marked():
    law = SpectralLaw(((0.0, 0.25), (1.0, 0.75)), ())
    row = spectrum_data(CONV, theory=law).iloc[0]
    assert 0 <= row["distance_least"] <= row["distance"] <= row["distance_most"] <= 1
    strip = draw_spectrum(CONV, theory=law).child_axes[0]
    assert [one.get_ydata()[0] for one in strip.lines] == [0.25]
    row = spectrum_data(EDGES, theory=law).iloc[0]
    assert math.isnan(row["distance"])
    assert row["distance_least"] == pytest.approx(1 / 3)  # a third of the values surely is above 1
    assert spectrum_data(MOMENTS, theory=law)["distance_most"].isna().all()


def test_scree_lines_are_medians_and_bands_the_range_over_inputs():
    table, values = scree_data(FC1), FC1.values.numpy()
    assert np.allclose(table["value"], np.median(values, 0))
    assert np.allclose(table[["least", "most"]], np.stack([values.min(0), values.max(0)], 1))
    assert np.allclose(line(draw_scree(FC1), "measured").get_ydata(), table["value"])
    shown = line(draw_scree(FC2, log=True), "measured").get_ydata()
    assert np.isnan(shown[-1])  # a structural zero is on no logarithmic axis
    assert line(draw_scree(FC2, log=False), "measured").get_ydata()[-1] == 0
    band = [patch for patch in draw_scree(FC1, epsilon=0.25).patches if patch.get_label() == "1 ± 0.25"]
    assert np.allclose([band[0].get_y(), band[0].get_height()], [0.75, 0.5])
    estimate = scree_data(CONV)
    assert estimate["value"].tolist()[:2] == [1.4, 1.0]  # with 15/16 and 13/16 of all at or under them
    assert ((estimate["least"] <= estimate["value"]) & (estimate["value"] <= estimate["most"])).all()


def test_the_distribution_function_counts_all_values_and_spans_the_inputs():
    table = ecdf_data(FC2, log=True)
    values = FC2.values.numpy()
    for row in table.itertuples():
        assert row.share == (values <= row.x).mean()
        each = (values <= row.x).mean(1)
        assert (row.least, row.most) == (each.min(), each.max())
    _, y = line(draw_ecdf(FC2, log=True), "measured").get_data()
    assert (y[0], y[-1]) == (pytest.approx(0.3), 1)
    many = made_up.exact("many", [np.linspace(2, 1, 9000).tolist()])
    assert len(ecdf_data(many)) <= 4098


def test_inputs_stand_worst_first_and_the_worst_is_named():
    table = inputs_data(FC2)
    values = FC2.values.numpy()
    assert table["input"].tolist() == [1, 0]
    assert np.allclose(table["deviation"], np.sqrt(((values - 1) ** 2).mean(1))[[1, 0]])
    assert np.allclose(table["std"], values.std(1)[[1, 0]])
    assert table["median"].tolist() == [1.0, 1.0]
    assert table["zeros"].tolist() == [0.2, 0.2]
    assert inputs_data(FC2, worst="min")["input"].tolist() == [1, 0]
    assert inputs_data(FC1, worst="ldi")["ldi"].is_monotonic_increasing
    ax = draw_inputs(FC2)
    assert ax.get_title(loc="right") == f"worst: input 1, deviation {table['deviation'][0]:.3g}"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["1", "0"]
    assert steps(ax, "measured")[0].tolist() == [1.0, 1.0]
    assert draw_inputs(EDGES).get_title(loc="right") == ""
    low, high = inputs_data(EDGES)[["low", "high"]].iloc[0]
    assert (low, high) == (0.2, 2.0)
    assert draw_inputs(ONE).get_xlabel() == "1 input"


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


def test_a_tail_below_a_logarithmic_axis_is_marked_and_counted():
    tail = made_up.exact("fc", [[*np.geomspace(2, 0.5, 1999).tolist(), 1e-5]])
    table = spectrum_data(tail, log=True).set_index("part")["share"]
    assert table["below"] == pytest.approx(4 / 2000, abs=1e-3)
    assert table.sum() == pytest.approx(1)
    marks = [c for c in draw_spectrum(tail, log=True).collections if c.get_label() == "_below the axis"]
    assert len(marks) == 1


def test_the_axis_is_logarithmic_where_values_spread_widely():
    wide = made_up.exact("fc", [np.geomspace(1, 1e-4, 50).tolist()])
    assert draw_spectrum(wide).get_xscale() == "log"
    assert draw_spectrum(FC1).get_xscale() == "linear"
    left, right = plot_spectrum(SpectrumSet((wide, FC1))).axes
    assert left.get_xlim() == right.get_xlim()
    left, right = plot_spectrum(SpectrumSet((wide, FC1)), share=False).axes
    assert left.get_xlim() != right.get_xlim()


def test_the_bins_follow_the_different_values_however_often_each_occurs():
    once = np.linspace(2, 0.5, 900)

    def count(rows, **options):
        return len(steps(draw_spectrum(made_up.exact("fc", rows), **options), "measured")[0])

    for log in (True, False):
        assert count([once.tolist()], log=log) == 31
        assert count([once.tolist()] * 5, log=log) == 31
        noise = 1 + 1e-8 * RNG.standard_normal((5, 900))
        assert abs(count(once * noise, log=log) - 31) <= 2
        heights = steps(draw_spectrum(made_up.exact("fc", [np.linspace(2, 0.5, 64).tolist()] * 50), log=log),
                        "measured")[0]
        assert (heights > 0).all()  # and no spikes
        assert count(np.sort(RNG.uniform(0.5, 2, (50, 64)))[:, ::-1].copy(), log=log) == 51
    assert count([np.linspace(2, 0.5, 10).tolist()] * 50) == 7
    for atoms in ([1.0, 1.0], [2.0, 1.0]):
        assert count([atoms] * 9) == 15


def test_the_pale_band_of_exact_values_of_several_inputs_is_in_the_legend():
    for draw, plot in ((draw_scree, plot_scree), (draw_ecdf, plot_ecdf)):
        assert "spread over inputs" in labels(draw(FC1))
        for other in (ONE, CONV, EDGES):
            assert "spread over inputs" not in labels(draw(other))
        texts = [text.get_text() for text in plot(SpectrumSet((FC1, FC2))).legends[0].get_texts()]
        assert texts.count("spread over inputs") == 1


def test_of_several_sets_the_worst_input_is_named_with_its_set_and_measure():
    other = made_up.exact("fc2", [[9.0, 1.0, 0.5, 0.25, 0.0], [1.0, 1.0, 0.5, 0.25, 0.0]], zeros=1)
    first, second = (inputs_data(s)["deviation"][0] for s in (FC2, other))
    text = f"worst deviation\ndense: input 1, {first:.3g}\npruned: input 0, {second:.3g}"
    assert draw_inputs({"dense": FC2, "pruned": other}).get_title(loc="right") == text
    figure = plot_inputs({"dense": SpectrumSet((FC2,)), "pruned": SpectrumSet((other,))}, width=3.3)
    assert figure.axes[0].get_title(loc="left") == f"fc2\n{text}"
    many = {"a": FC2, "b": other, "$c$": FC2, "d": other}
    assert draw_inputs(many, worst="max").get_title(loc="right") == (
        "worst max, 3 of 4 sets\na: input 1, 3\nb: input 0, 9\nd: input 0, 9")
    assert draw_inputs({"a": EDGES, "b": EDGES}).get_title(loc="right") == ""
