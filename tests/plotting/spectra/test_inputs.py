"""Single inputs, the worst first, read from artists."""

import made_up
import numpy as np
from spectrum_artists import EDGES, FC1, FC2, ONE, steps

from jacprobe.plotting import draw_inputs, inputs_data, plot_inputs
from jacprobe.results import SpectrumSet


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
