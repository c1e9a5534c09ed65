"""Scree curves and distribution functions, read from artists."""

import made_up
import numpy as np
import pytest
from spectrum_artists import CONV, FC1, FC2, line

from jacprobe.plotting import draw_ecdf, draw_scree, ecdf_data, scree_data


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
