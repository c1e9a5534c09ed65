"""The figure of histograms, points and masks: its panels, and that everything fits and can be read."""

import pytest
import torch
from matplotlib import pyplot
from matplotlib.figure import Figure
from score_artists import CUT, MASKS, SCORES, drawn, names, vertical_lines

import jacprobe as jp
from jacprobe.masks import Masks
from jacprobe.plotting import (
    draw_sensitivity,
    draw_sensitivity_scatter,
    plot_sensitivity,
)


def panels(figure):
    found = {"histograms": figure.axes[0], "points": figure.axes[1]}
    return found | {"masks": figure.axes[2]} if len(figure.axes) > 2 else found


def test_the_figure_holds_all_panels_and_leaves_biases_out_of_the_pictures():
    figure = plot_sensitivity(SCORES, MASKS, title="a net")
    parts = panels(figure)
    assert names(parts["histograms"].yaxis) == ["fc1", "fc2", "fc3", "fc1.bias"]
    assert names(parts["points"].xaxis) == ["fc1", "fc2", "fc3"]
    pictures = parts["masks"].child_axes
    assert [ax.get_title() for ax in pictures] == ["fc1", "fc2", "fc3"]
    assert figure.get_suptitle() == "a net"
    for ax, name in zip(pictures, SCORES, strict=False):
        removed = float((~MASKS[name]).double().mean())
        assert 1 - ax.images[0].get_array().mean() == pytest.approx(removed, abs=1e-6)
        assert ax.get_xlabel() == f"{100 * removed:.0f} %"


def test_several_masks_have_a_row_and_a_threshold_each():
    sets = {f"cut {cut}": Masks({n: score >= cut for n, score in SCORES.items()}) for cut in (1e-6, 1e-5)}
    parts = panels(plot_sensitivity(SCORES, sets))
    assert len(parts["masks"].child_axes) == 6
    assert [ax.get_ylabel() for ax in parts["masks"].child_axes if ax.get_ylabel()] == ["cut 1e-06", "cut 1e-05"]
    assert [text.get_text() for text in parts["histograms"].texts[1:]] == ["cut 1e-06", "cut 1e-05"]
    assert len(vertical_lines(parts["histograms"])) == 2


def test_without_masks_there_are_two_panels_and_biases_alone_are_drawn():
    assert len(plot_sensitivity(SCORES).axes) == 2
    figure = plot_sensitivity({"fc1.bias": torch.rand(5, generator=torch.Generator().manual_seed(0))})
    assert names(panels(figure)["points"].xaxis) == ["fc1.bias"]


LARGE = drawn(**{f"stage{i // 20}.{i}.conv_weight": (4, 3, 3, 3) for i in range(40)})


def masked_figure(scores, width):
    masks = Masks({name: score >= CUT for name, score in scores.items()})
    figure = plot_sensitivity(scores, masks, width=width)
    figure.draw_without_rendering()
    return figure


@pytest.fixture(scope="module")
def figure_of_many():
    return masked_figure(LARGE, 3.31)


def assert_fits(figure):
    assert figure.get_figheight() <= 11
    parts, page = panels(figure), figure.bbox
    boxes = [part.get_tightbbox() for part in parts.values()]
    assert all(box.x0 >= page.x0 - 1 and box.x1 <= page.x1 + 1 and box.y0 >= page.y0 - 1 for box in boxes)
    pictures = parts["masks"].child_axes
    images = [ax.get_window_extent() for ax in pictures]
    assert all(box.width == pytest.approx(box.height, rel=0.02) for box in images)
    texts = [text for ax in pictures for text in (ax.title, ax._left_title, ax.xaxis.label) if text.get_text()]
    assert min(text.get_fontsize() for text in texts) >= 4.5
    for apart in (boxes, images, [text.get_window_extent() for text in texts]):
        assert all(not one.overlaps(other) for i, one in enumerate(apart) for other in apart[:i])


@pytest.mark.parametrize("width", [3.31, 7.0])
def test_the_figure_fits_its_page_and_nothing_overlaps(width):
    figure = masked_figure(SCORES, width)
    assert figure.get_figwidth() == width
    assert_fits(figure)


def test_of_many_layers_too_everything_fits_and_can_be_read(figure_of_many):
    assert_fits(figure_of_many)


def test_names_that_do_not_fit_above_their_pictures_stand_above_the_line(figure_of_many):
    pictures = panels(figure_of_many)["masks"].child_axes
    headings = {index: ax.get_title(loc="left") for index, ax in enumerate(pictures) if ax.get_title(loc="left")}
    ends = [*(start - 1 for start in list(headings)[1:]), len(LARGE) - 1]
    short = [name.removesuffix(".weight") for name in LARGE]
    assert len(headings) > 1
    assert list(headings.values()) == [f"{short[a]} to {short[b]}" for a, b in zip(headings, ends, strict=True)]
    assert not any(ax.get_title() for ax in pictures)


def test_the_given_axes_are_drawn_on_and_returned_and_nothing_is_left_with_pyplot():
    ax = Figure().add_subplot()
    assert draw_sensitivity(SCORES, ax=ax, color="tab:red", label="score") is ax
    assert ax.get_xlabel() == "score"
    ax = Figure().add_subplot()
    assert draw_sensitivity_scatter(SCORES, ax=ax) is ax
    before = pyplot.get_fignums()
    jp.plot_sensitivity(SCORES, MASKS)
    assert pyplot.get_fignums() == before


def test_names_are_written_literally():
    figure = plot_sensitivity({"block$x$_{1}.weight": SCORES["fc1.weight"]}, title="$x$")
    figure.draw_without_rendering()
    assert not figure.axes[0].get_yticklabels()[0].get_parse_math()
