"""The layer figure of spectra that are not exact, read from its artists."""

import numpy as np
import pytest
import torch
from made_up import bounded, estimated, exact, missing, one_of_each, only_moments
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.patches import Rectangle

import jacprobe as jp
from jacprobe.plotting import draw_layers, layers_data, plot_layers
from jacprobe.results import SpectrumSet


def violins(ax):
    return [c for c in ax.collections if isinstance(c, PolyCollection)]


def frames(ax):
    """Return (x center, bottom, top, filled) of the rectangles that stand for bounds."""
    found = [p for p in ax.patches if type(p) is Rectangle and p.get_label() != "1 ± 0.1"]
    return [(p.get_x() + p.get_width() / 2, p.get_y(), p.get_y() + p.get_height(), p.get_fill()) for p in found]


def legend(ax):
    return ax.get_legend_handles_labels()[1]


def sampled(name, values, *, num_probes=4, **fields):
    """A density that has the values of one input as the nodes of every probe."""
    nodes = np.broadcast_to(np.sort(values)[::-1], (1, num_probes, len(values)))
    return estimated(name, nodes.tolist(), np.ones(nodes.shape).tolist(), **fields)


VALUES = np.geomspace(0.1, 2, 200)


def test_an_estimated_violin_is_that_of_its_values_but_hatched_and_named():
    ax = draw_layers(SpectrumSet((exact("a", rows=[VALUES[::-1].tolist()]), sampled("b", VALUES))))
    one, other = violins(ax)
    assert one.get_hatch() is None
    assert other.get_hatch()
    assert legend(ax) == ["1 ± 0.1", "estimated (k 200, n_v 4, seed 7)"]
    heights, widths = [], []
    for violin, center in ((one, 0), (other, 1)):
        x, y = violin.get_paths()[0].vertices.T
        heights.append((y.min(), y.max()))
        widths.append(np.interp(np.geomspace(0.15, 1.5, 20), *np.array(sorted(zip(y[x > center], x[x > center] - center,
                                                                                   strict=True))).T))
    np.testing.assert_allclose(heights[0], heights[1], rtol=0.02)
    np.testing.assert_allclose(widths[0], widths[1], atol=0.03)


def test_exact_spectra_alone_have_no_legend_of_labels():
    ax = draw_layers(SpectrumSet((exact("a", rows=[VALUES[::-1].tolist()]), missing("gone", "layer"))))
    assert legend(ax) == ["1 ± 0.1"]
    assert all(violin.get_hatch() is None for violin in violins(ax))


def test_weights_count_in_an_estimated_violin():
    spectrum = estimated(nodes=[[[2.0, 1.0, 0.5]]], counts=[[[1, 98, 1]]])
    row = layers_data(SpectrumSet((spectrum,))).iloc[0]
    assert row[["min", "q05", "q25", "median", "q75", "max"]].tolist() == [0.5, 1, 1, 1, 1, 2]


def test_zeros_and_nodes_that_are_not_resolved_stand_apart():
    spectrum = estimated(nodes=[[[2.0, 1.0, 1e-9]]], counts=[[[3, 3, 2]]], zeros=2)
    row = layers_data(SpectrumSet((spectrum,))).iloc[0]
    assert (row["zeros"], row["under_floor"]) == pytest.approx((0.2, 0.2))
    assert (row["label"], row["min"], row["median"]) == ("estimated", 1, 1.5)


def test_an_estimated_isometry_is_a_dotted_line():
    ax = draw_layers(SpectrumSet((estimated(nodes=[[[1.0, 0.0]]], counts=[[[8, 0]]]), exact("b", rows=[[1.0] * 8]))))
    assert violins(ax) == []
    lines = [c for c in ax.collections if isinstance(c, LineCollection) and len(c.get_segments()) == 1
             and np.ptp(c.get_segments()[0][:, 0])]
    dashes = {float(line.get_segments()[0][:, 0].mean().round()): line.get_linestyle()[0][1] for line in lines}
    assert dashes[1] is None
    assert dashes[0] is not None


def test_bounds_of_all_values_are_a_frame_filled_where_the_largest_is():
    ax = draw_layers(SpectrumSet((bounded("a", [[1.5, 0.9, 0.2]], [[2.0, 1.0, 0.4]]),)))
    assert frames(ax) == [(0, 0.2, 2.0, False), (0, 1.5, 2.0, True)]
    assert legend(ax) == ["1 ± 0.1", "bounded"]
    assert [text.get_text() for text in ax.texts] == []


def test_the_largest_values_are_filled_and_the_rest_may_be_anywhere_below():
    spectrum = bounded("a", [[1.5, 1.2]], [[1.6, 1.4]], dim=9, values=[[1.5, 1.2]], zeros=torch.tensor([3]))
    ax = draw_layers(SpectrumSet((spectrum,)))
    ((_, low, high, _), (_, top, end, _)) = frames(ax)
    assert low < ax.get_ylim()[0]
    assert (high, top, end) == pytest.approx((1.6, 1.2, 1.6))
    row = layers_data(SpectrumSet((spectrum,))).iloc[0]
    assert row[["low", "top", "high", "zeros"]].tolist() == pytest.approx([0, 1.2, 1.6, 1 / 3])
    assert np.isnan(row["median"])


def test_moments_have_a_word():
    ax = draw_layers(SpectrumSet((exact("a", rows=[VALUES[::-1].tolist()]), only_moments("b"))))
    assert [(text.get_text(), text.get_position()[0]) for text in ax.texts] == [("moments only", 1)]


def test_values_with_a_relative_floor_are_all_drawn():
    row = layers_data(SpectrumSet((exact(rows=((1.0, 1e-9),), relative_floor=1e-8),))).iloc[0]
    assert (row["min"], row["under_floor"]) == (1e-9, 0)


@pytest.mark.parametrize("log", [True, False], ids=["logarithmic", "linear"])
def test_every_label_can_be_drawn_side_by_side(log):
    figure = plot_layers({"one": one_of_each(), "other": one_of_each()}, log=log)
    figure.draw_without_rendering()
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["one", "other", "1 ± 0.1", "estimated (k 3, n_v 1–2, seed 7)", "bounded"]
    assert layers_data(one_of_each())["label"].tolist() == [s.label for s in one_of_each()]


def test_layers_without_a_word_for_a_name_get_one():
    net = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 4))
    ax = jp.plot_layers(jp.spectra(net, torch.randn(3, 6, generator=torch.Generator().manual_seed(0)))).axes[0]
    assert [label.get_text().split() for label in ax.get_xticklabels()] == [
        ["layer", "0"], ["layer", "2"], ["end", "to", "end"]]
