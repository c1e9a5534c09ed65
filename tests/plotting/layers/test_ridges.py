"""Ridgelines, read from the artists."""

import numpy as np
import pytest
from layer_artists import DENSE, PRUNED, inset, ridges, spectrum, unknown
from made_up import bounded, estimated, exact, only_moments
from matplotlib.collections import PolyCollection
from matplotlib.patches import Rectangle

from jacprobe.errors import ArgumentError, DtypeError
from jacprobe.plotting import draw_ridges, plot_ridges, ridges_data
from jacprobe.results import SpectrumSet


def test_a_ridge_spans_its_values_and_stands_in_its_row():
    ax = draw_ridges(DENSE)
    first, second, last = ridges(ax)
    assert first == pytest.approx((0.1, 2.0, 0.4 - 1.25, 0.4))
    assert (second[3], last[3]) == pytest.approx((1.4, 2.9))
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["fc1", "fc2", "end to end"]
    assert len(ridges(draw_ridges(DENSE, include_end_to_end=False))) == 2
    assert ax.get_ylim()[0] > ax.get_ylim()[1]


def test_the_curve_is_the_density_of_the_logarithms():
    values = np.exp(np.random.default_rng(0).normal(0, 0.5, 1000))
    curve = ridges_data(SpectrumSet((exact("a", rows=[np.sort(values)[::-1].tolist()]),)))
    expected = np.exp(-0.5 * (np.log(curve["x"]) / 0.5) ** 2)
    assert np.abs(curve["density"] - expected).max() < 0.15
    assert curve["density"].max() == 1


def test_zeros_under_the_floor_bounds_and_words_are_apart_from_the_ridges():
    ax = draw_ridges(SpectrumSet((spectrum("a", [[4.0, 2.0, 1e-9, 0.0]], zeros=1, floor=1e-8), bounded("b"),
                                  unknown("c"), only_moments("d"), exact("e", rows=[[1.0] * 3]))))
    strip = inset(ax, "zeros")
    widths = {c.get_label(): [bar.get_width() for bar in c] for c in strip.containers}
    assert (widths["zeros"][0], widths["under floor"][0]) == (0.25, 0.25)
    assert ridges(ax)[0][0] == 2.0
    assert [text.get_text() for text in ax.texts] == ["no spectrum", "moments only"]
    frames = [p for p in ax.patches if type(p) is Rectangle and p.get_label() != "1 ± 0.1"]
    assert [(p.get_x(), p.get_x() + p.get_width(), p.get_fill()) for p in frames][1] == (1.5, 2.0, True)
    assert "bounded" in ax.get_legend_handles_labels()[1]
    assert draw_ridges(DENSE).child_axes == []


def test_an_estimated_ridge_is_hatched_and_names_its_probes():
    ax = draw_ridges(SpectrumSet((estimated("a"), exact("b"))))
    hatches = [c.get_hatch() for c in ax.collections if isinstance(c, PolyCollection)]
    assert hatches == ["//////", None]
    assert "estimated (k 3, n_v 1, seed 7)" in ax.get_legend_handles_labels()[1]


def test_sets_have_columns_on_one_axis():
    figure = plot_ridges({"dense": DENSE, "pruned": PRUNED})
    assert [ax.get_title() for ax in figure.axes] == ["dense", "pruned"]
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim()
    with pytest.raises(DtypeError, match="Use `plot_ridges` for several"):
        draw_ridges({"a": DENSE})
    with pytest.raises(ArgumentError, match="`epsilon` must be one for all sets; they have 0.1, 0.2"):
        plot_ridges({"a": DENSE, "b": SpectrumSet(PRUNED.spectra, 0.2)})


def test_a_color_that_is_none_is_called_by_its_name():
    with pytest.raises(ArgumentError, match="`color` must be a matplotlib color; got 'no colour'"):
        draw_ridges(DENSE, color="no colour")
