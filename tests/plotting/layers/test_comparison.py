"""Several models over one another, read from the artists."""

import pytest
import torch
from layer_artists import DENSE, inset, ridges, spread, unknown
from made_up import bounded, estimated, exact

from jacprobe.errors import ArgumentError
from jacprobe.plotting import comparison_data, draw_comparison, plot_comparison
from jacprobe.results import SpectrumSet


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
