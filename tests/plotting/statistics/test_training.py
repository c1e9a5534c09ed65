"""Training curves, read from the artists."""

import numpy as np
import pandas as pd
import pytest
from curve_artists import line, marks

from jacprobe.errors import ArgumentError, DtypeError, NonFiniteError, UnknownNameError
from jacprobe.plotting import draw_training, plot_training, training_data

FRAME = pd.DataFrame({"step": [1, 0, 0, 1, 0], "loss": [1.0, 2.0, 4.0, 0.5, 3.0], "run": list("aabbc")})


def test_training_curves_are_sorted_by_step_and_averaged():
    ax = draw_training(FRAME, hue="run")
    assert line(ax, "a") == [[0, 2], [1, 1]]
    assert line(ax, "c") == [[0, 3]]
    table = training_data(FRAME)
    assert table["value"].tolist() == [3.0, 0.75]
    assert table["band_high"].tolist() == pytest.approx([4.0, 0.75 + np.std([1, 0.5], ddof=1)])
    assert [ax.get_ylabel() for ax in plot_training(FRAME.assign(error=1.0), y=["loss", "error"]).axes] == ["loss",
                                                                                                        "error"]


def test_long_curves_have_no_markers_and_zero_loss_stands_at_the_foot():
    long = pd.DataFrame({"step": range(1000), "loss": np.linspace(1, 0, 1000)})
    ax = draw_training(long, log=True, linewidth=2.5)
    (drawn,) = [found for found in ax.lines if len(found.get_xdata()) == 1000]
    assert (drawn.get_marker(), drawn.get_linewidth()) == ("None", 2.5)
    assert [x for x, _ in marks(ax, "_0 or under the floor")] == [999]


@pytest.mark.parametrize(("arguments", "error", "message"), [
    ({"frame": 3}, DtypeError, "`frame` must be a DataFrame; got int"),
    ({"y": "lose"}, UnknownNameError, "`y` must be one of step, loss, run; got 'lose'. Did you mean 'loss'"),
    ({"hue": "model"}, UnknownNameError, "`hue` must be one of"),
    ({"frame": FRAME.assign(loss=np.inf)}, NonFiniteError, "`frame` must hold finite numbers in 'loss'; got inf"),
    ({"y": []}, ArgumentError, "`y` must name at least one; got none. Name 'loss'"),
    ({"frame": FRAME.assign(loss=-1.0), "log": True}, ArgumentError, "`log` must be False where values are negative"),
])
def test_misuse_of_training_curves_is_said(arguments, error, message):
    with pytest.raises(error, match=message):
        plot_training(**{"frame": FRAME, **arguments})
