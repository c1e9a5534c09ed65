"""Histograms and densities of single segments, and theory over them, read from artists."""

import math

import made_up
import numpy as np
import pytest
from spectrum_artists import CONV, EDGES, FC1, FC2, MOMENTS, RNG, labels, line, steps, uniform_law

from jacprobe.plotting import draw_ecdf, draw_spectrum, plot_ecdf, plot_spectrum, spectrum_curve, spectrum_data
from jacprobe.results import SpectrumSet
from jacprobe.theory.spectrallaw import SpectralLaw


def test_bars_are_the_shares_of_numpy_and_their_area_leaves_out_zeros():
    table = spectrum_data(FC1, num_bins=10, log=False).query("part == 'bin'")
    counts, edges = np.histogram(FC1.values.numpy(), 10)
    assert np.allclose(table["share"], counts / 120)
    assert np.allclose([*table["low"], table["high"].iloc[-1]], edges)
    heights, drawn, _ = steps(draw_spectrum(FC1, num_bins=10, log=False), "measured")
    assert np.allclose(heights * np.diff(drawn), counts / 120)
    heights, drawn, _ = steps(draw_spectrum(FC2, log=True), "measured")
    assert (heights * np.diff(np.log10(drawn))).sum() == pytest.approx(0.7)  # of 10: 2 zeros, 1 under the floor


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


def test_a_tail_below_a_logarithmic_axis_is_marked_and_counted():
    tail = made_up.exact("fc", [[*np.geomspace(2, 0.5, 1999).tolist(), 1e-5]])
    table = spectrum_data(tail, log=True).set_index("part")["share"]
    assert table["below"] == pytest.approx(4 / 2000, abs=1e-3)
    assert table.sum() == pytest.approx(1)
    marks = [c for c in draw_spectrum(tail, log=True).collections if c.get_label() == "_below the axis"]
    assert len(marks) == 1
    lowest = spectrum_data(tail, log=True)["low"].min()
    figure = plot_spectrum(SpectrumSet((tail, made_up.exact("other", [[1.0, 1e-6]]))), log=True)
    (mark,) = [c for c in figure.axes[0].collections if c.get_label() == "_below the axis"]
    assert mark.get_offsets()[0][0] == pytest.approx(lowest)  # also where the axis goes on to the left


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


@pytest.mark.parametrize("log", [True, False], ids=["logarithmic", "linear"])
def test_values_that_hardly_differ_between_inputs_have_the_bins_of_one_input(log):
    once = np.linspace(2, 0.5, 40)
    rows = once + 0.015 * RNG.uniform(-1, 1, (60, 1))  # less than the space between two values
    heights = steps(draw_spectrum(made_up.exact("fc", rows), log=log), "measured")[0]
    assert len(heights) == len(steps(draw_spectrum(made_up.exact("fc", [once.tolist()]), log=log), "measured")[0])
    assert (heights > 0).all()  # not a comb


@pytest.mark.parametrize("log", [True, False], ids=["logarithmic", "linear"])
def test_values_that_nearly_coincide_are_one_bar(log):
    rows = RNG.uniform(0.9, 0.915, (50, 64))
    heights, edges, _ = steps(draw_spectrum(made_up.exact("fc", rows), log=log), "measured")
    ((place,),) = np.nonzero(heights)
    assert edges[place] < 0.9 < 0.915 < edges[place + 1]
    assert len(heights) == 15


def test_a_lowest_value_that_is_near_the_others_is_no_tail():
    rows = np.geomspace(2, 0.5, 2000)[None] * np.linspace(1, 1.01, 5)[:, None]
    ax = draw_spectrum(made_up.exact("fc", rows), log=True)
    assert not [c for c in ax.collections if c.get_label() == "_below the axis"]
    heights, edges, _ = steps(ax, "measured")
    assert (heights * np.diff(np.log10(edges))).sum() == pytest.approx(1)
