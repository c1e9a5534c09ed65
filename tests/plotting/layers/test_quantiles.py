"""Heat maps of quantiles, read from the artists."""

import numpy as np
import pytest
from layer_artists import DENSE, PRUNED, inset, spectrum
from made_up import estimated, exact, one_of_each
from matplotlib.collections import QuadMesh

from jacprobe.errors import ArgumentError, DtypeError
from jacprobe.plotting import draw_quantiles, plot_quantiles, quantiles_data
from jacprobe.results import SpectrumSet


def cells(ax):
    return [c.get_array().filled(np.nan)[:, 0] for c in ax.collections if isinstance(c, QuadMesh)]


def bars(ax, label):
    return [(p.get_x() + p.get_width() / 2, p.get_y(), p.get_height()) for c in ax.containers if c.get_label() == label
            for p in c]


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
    with pytest.raises(ArgumentError, match="`num_quantiles` must be a whole number of at least 1; got 0"):
        draw_quantiles(DENSE, num_quantiles=0)
    with pytest.raises(DtypeError, match="Use `plot_quantiles` for several"):
        draw_quantiles({"a": DENSE})
    with pytest.raises(ArgumentError, match="must hold at most 10 sets; got 11"):
        plot_quantiles({str(i): DENSE for i in range(11)})


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
