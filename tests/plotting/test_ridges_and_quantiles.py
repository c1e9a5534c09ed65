"""Ridgelines, comparisons and heat maps of quantiles, read from the artists."""

import numpy as np
import pytest
import torch
from layer_artists import DENSE, PRUNED, spectrum, spread, unknown
from made_up import bounded, estimated, exact, one_of_each, only_moments
from matplotlib.collections import PolyCollection, QuadMesh
from matplotlib.patches import Rectangle

from jacprobe.errors import ArgumentError, DtypeError
from jacprobe.plotting import (
    comparison_data,
    draw_comparison,
    draw_quantiles,
    draw_ridges,
    plot_comparison,
    plot_quantiles,
    plot_ridges,
    quantiles_data,
    ridges_data,
)
from jacprobe.results import SpectrumSet


def ridges(ax):
    """Return (left, right, top, base) of every ridge."""
    found = [c.get_paths()[0].vertices for c in ax.collections if isinstance(c, PolyCollection) and len(c.get_paths())]
    return [(v[:, 0].min(), v[:, 0].max(), v[:, 1].min(), v[:, 1].max()) for v in found]


def inset(ax, label):
    (found,) = [child for child in ax.child_axes if child.get_label() == label]
    return found


def cells(ax):
    return [c.get_array().filled(np.nan)[:, 0] for c in ax.collections if isinstance(c, QuadMesh)]


def bars(ax, label):
    return [(p.get_x() + p.get_width() / 2, p.get_y(), p.get_height()) for c in ax.containers if c.get_label() == label
            for p in c]


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


def test_a_column_of_the_heat_map_holds_the_quantiles_in_powers_of_ten():
    values = np.geomspace(100, 0.01, 40)
    ax = draw_quantiles(SpectrumSet((exact("a", rows=[values.tolist()]),)), num_quantiles=20)
    (column,) = cells(ax)
    expected = np.log10(np.quantile(values, (np.arange(20) + 0.5) / 20, method="inverted_cdf"))
    np.testing.assert_allclose(column, expected, atol=1e-12)
    assert inset(ax, "colorbar").get_ylabel() == "singular value"
    assert draw_quantiles(DENSE, colorbar=False).child_axes == []


def test_zeros_fill_the_foot_of_a_column_by_their_share_however_few():
    result = SpectrumSet((spectrum("a", [[4.0, *[1.0] * 97, 1e-9, 0.0]], zeros=1, floor=1e-8),))
    ax = draw_quantiles(result, num_quantiles=10)
    assert bars(ax, "_zeros a") == [(0, 0, 0.01)]
    assert bars(ax, "_under_floor a") == [(0, 0.01, 0.01)]
    assert ax.get_legend_handles_labels()[1] == ["structural zeros", "under the floor"]
    states = quantiles_data(result, num_quantiles=100)["state"].tolist()
    assert states[:3] == ["zero", "under floor", "value"]


def test_layers_without_values_say_so_and_estimates_are_hatched():
    ax = draw_quantiles(one_of_each())
    assert [text.get_text() for text in ax.texts] == ["bounds only", "bounds only", "moments only", "no spectrum"]
    hatched = [c.get_label() for c in ax.containers if c.patches[0].get_hatch()]
    assert hatched == ["_estimated conv1", "_estimated conv2"]
    assert "estimated (k 3, n_v 1–10, seed 3–7)" in ax.get_legend_handles_labels()[1]


def test_quantiles_of_an_estimate_are_those_of_its_nodes():
    table = quantiles_data(SpectrumSet((estimated(nodes=[[[2.0, 1.0, 0.5]]], counts=[[[1, 2, 1]]]),)), num_quantiles=4)
    assert table["value"].tolist() == [0.5, 1, 1, 2]


def test_white_is_one_and_all_panels_have_the_same_colours():
    figure = plot_quantiles({"dense": DENSE, "pruned": PRUNED}, reach=10)
    norms = {(c.norm.vmin, c.norm.vmax) for ax in figure.axes for c in ax.collections if isinstance(c, QuadMesh)}
    assert norms == {(-1.0, 1.0)}
    assert draw_quantiles(DENSE, cmap="PuOr").collections[0].get_cmap().name == "PuOr"
    for wrong in (1, 0.5):
        with pytest.raises(ArgumentError, match=f"`reach` must be above 1; got {wrong}"):
            draw_quantiles(DENSE, reach=wrong)
    with pytest.raises(ArgumentError, match="`num_quantiles` must be an integer above 0; got 0"):
        draw_quantiles(DENSE, num_quantiles=0)
    with pytest.raises(DtypeError, match="Use `plot_quantiles` for several"):
        draw_quantiles({"a": DENSE})
    with pytest.raises(ArgumentError, match="must hold at most 10 sets; got 11"):
        plot_quantiles({str(i): DENSE for i in range(11)})


def layers(*rows, **fields):
    return SpectrumSet(tuple(exact(f"fc{i}", rows=[row], **fields) for i, row in enumerate(rows)))


THREE = {"dense": layers([1.5, 0.5], [1.25, 0.75]), "pruned": layers([0.5, 0.25], [0.75, 0.0], zeros=torch.tensor([1])),
         "repaired": layers([1.25, 0.75], [1.5, 0.5])}


def test_sets_lie_over_one_another_and_the_columns_tell_the_change_of_their_means():
    ax = draw_comparison(THREE)
    assert [base for _, _, _, base in ridges(ax)] == pytest.approx([0.4, 1.4, 0.4, 0.4, 1.4])
    texts = {name: [text.get_text() for text in inset(ax, f"table {name}").texts] for name in THREE}
    assert texts == {"dense": ["1.00", "1.00"], "pruned": ["−0.62", "−0.62"], "repaired": ["±0.00", "±0.00"]}
    assert [child.get_label() for child in draw_comparison(THREE, table=False).child_axes] == ["zeros"]
    legend = [text.get_text() for text in plot_comparison(THREE).legends[0].get_texts()]
    assert legend == ["dense", "pruned", "repaired", "1 ± 0.1"]


def test_the_numbers_of_a_comparison_are_those_of_the_summaries():
    table = comparison_data(THREE)
    assert table["mean"].tolist() == [mean for result in THREE.values() for mean in result.summary()["mean"]]
    assert table["delta"].isna().tolist() == [True, True, False, False, False, False]
    assert table["delta"].tolist()[2:] == [-0.625, -0.625, 0, 0]


def test_what_is_estimated_bounded_or_missing_is_marked_in_the_columns():
    first = SpectrumSet((estimated("a"), bounded("b"), unknown("c"), exact("d", rows=[[1e-4, 1e-4]])))
    ax = draw_comparison({"x": first, "y": first})
    assert [text.get_text() for text in inset(ax, "table x").texts] == ["~0.92", "0.80–1.14", "–", "1e-4"]
    assert [text.get_text() for text in inset(ax, "table y").texts] == ["~±0.00", "–", "–", "±0.00"]


def test_models_without_a_common_layer_are_refused():
    with pytest.raises(ArgumentError, match="`results` must have layers in common; 'b' has 'x' and so on, and 'a' has"):
        plot_comparison({"a": DENSE, "b": SpectrumSet((spread("x"),))})


def test_a_cell_that_zeros_cover_in_part_has_the_colour_of_its_smallest_value():
    result = SpectrumSet((spectrum("a", [[*np.geomspace(0.1, 0.01, 13), 0.0, 0.0, 0.0]], zeros=3),))  # 3 of 16: 0.1875
    (column,) = cells(draw_quantiles(result, num_quantiles=5))  # the first cell ends at 0.2
    assert column[0] == pytest.approx(-2)
    (column,) = cells(draw_quantiles(result, num_quantiles=16))
    assert np.isnan(column[:3]).all()
    assert column[3] == pytest.approx(-2)
    assert quantiles_data(result, num_quantiles=5)["state"].tolist() == ["zero", *["value"] * 4]
    almost = SpectrumSet((spectrum("a", [[3.0, *[0.0] * 99]], zeros=99),))
    assert cells(draw_quantiles(almost, num_quantiles=10))[0][-1] == pytest.approx(np.log10(3))
