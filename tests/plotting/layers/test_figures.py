"""The layer figure as a whole: its names, legend and files, and what it leaves alone."""

import pickle
import subprocess
import sys
import warnings

import matplotlib
import pytest
import torch
from layer_artists import DENSE, PRUNED, spectrum, spread, violins
from matplotlib import pyplot
from matplotlib.cbook import is_math_text

from jacprobe.plotting import draw_layers, plot_layers
from jacprobe.results import SpectrumSet


def test_the_strip_overlaps_neither_axes_nor_tick_labels():
    figure = plot_layers({"dense": DENSE, "pruned": PRUNED}, title="above all of it")
    figure.draw_without_rendering()
    ax = figure.axes[0]
    strip = ax.child_axes[0].get_tightbbox()
    assert strip.y0 >= ax.get_window_extent().y1
    low, high = ax.get_ylim()
    ticks = [tick for tick in ax.get_yticklabels() if low <= tick.get_position()[1] <= high]
    assert len(ticks) >= 2
    assert all(strip.y0 > tick.get_window_extent().y1 for tick in [*ax.get_xticklabels(), *ticks])
    assert figure.get_suptitle() == "above all of it"
    assert figure._suptitle.get_window_extent().y0 >= strip.y1


@pytest.mark.parametrize("name", ["block$x$_{1}", r"a\$b$c$", "<b>&amp;</b>", "_hidden", "100%"])
def test_names_are_written_literally(name):
    figure = plot_layers({name: SpectrumSet((spread(name),))}, title=name)
    figure.draw_without_rendering()
    (tick,) = figure.axes[0].get_xticklabels()
    assert tick.get_text() == name
    assert not tick.get_parse_math()
    assert not figure._suptitle.get_parse_math()
    legend = figure.legends[0].get_texts()[0].get_text()
    assert not is_math_text(legend)
    assert legend.replace(r"\$", "$").lstrip() == name  # as matplotlib unescapes what is no formula


def test_the_legend_names_sets_and_band():
    figure = plot_layers({"dense": DENSE, "pruned": PRUNED})
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["dense", "pruned", "1 ± 0.1"]


def test_sixty_long_names_are_upright_and_apart():
    layers = tuple(spread(f"stage{i // 20}.{i % 20}.very_long_conv_name") for i in range(60))
    figure = plot_layers({"dense": SpectrumSet(layers), "pruned": SpectrumSet(layers)})
    figure.draw_without_rendering()
    ticks = figure.axes[0].get_xticklabels()
    boxes = [tick.get_window_extent() for tick in ticks]
    assert {tick.get_rotation() for tick in ticks} == {90}
    assert all(len(tick.get_text()) <= 22 for tick in ticks)
    assert all(a.x1 <= b.x0 for a, b in zip(boxes, boxes[1:], strict=False))


@pytest.mark.parametrize("width", [3.31, 7.0])
def test_names_of_few_layers_do_not_overlap(width):
    layers = tuple(spread(f"fc{i}") for i in range(1, 8))
    figure = plot_layers({"dense": SpectrumSet((*layers, spread("e", kind="end_to_end"))),
                          "pruned": SpectrumSet(layers)}, width=width)
    figure.draw_without_rendering()
    assert tuple(figure.get_size_inches())[0] == width
    boxes = [tick.get_window_extent() for tick in figure.axes[0].get_xticklabels()]
    assert all(a.x1 < b.x0 for a, b in zip(boxes, boxes[1:], strict=False))


def test_many_sets_have_a_bar_scale_where_numbers_would_not_fit():
    layers = tuple(spectrum(f"l{i}", [[1.0, 0.5, 0.0]], zeros=1) for i in range(60))
    (strip,) = plot_layers({"a": SpectrumSet(layers), "b": SpectrumSet(layers)}).axes[0].child_axes
    assert strip.get_xticks().size == 0
    assert [tick.get_text() for tick in strip.get_yticklabels()] == ["0", "100"]


def test_random_spectra_raise_no_warning():
    generator = torch.Generator().manual_seed(0)
    layers = []
    for index in range(40):
        scale = 10.0 ** (index % 9 - 5)
        values = 1 + scale * torch.rand(1 + index % 3, 1 + index % 7, generator=generator, dtype=torch.float64)
        layers.append(spectrum(f"l{index}", values.sort(descending=True).values.tolist()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for log in (True, False):
            plot_layers(SpectrumSet(tuple(layers)), log=log).draw_without_rendering()


def test_no_setting_and_no_pyplot_figure_is_left_behind():
    matplotlib.get_backend()  # comparing would choose one
    before, open_figures = matplotlib.rcParams.copy(), pyplot.get_fignums()
    plot_layers({"dense": DENSE, "pruned": PRUNED})
    draw_layers(DENSE)
    assert matplotlib.rcParams == before
    assert pyplot.get_fignums() == open_figures


def test_importing_the_package_loads_no_plotting_library():
    code = "import sys, jacprobe.plotting; print({'matplotlib', 'seaborn', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_plotting_chooses_no_backend():
    code = (
        "import torch, matplotlib\nfrom jacprobe.plotting import plot_layers\n"
        "from jacprobe.results import Spectrum, SpectrumSet\n"
        "s = Spectrum('a', 'layer', 'a', 'b', 1, 1, 1, values=torch.ones(1, 1).double(), zeros=torch.zeros(1).long())\n"
        "plot_layers(SpectrumSet((s,)))\nprint(matplotlib.get_backend(auto_select=False))"
    )
    environment = {"PATH": "", "PYTHONPATH": ":".join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "None"


def test_the_figure_shows_itself_as_png_once():
    figure = plot_layers(DENSE)
    assert figure._repr_png_().startswith(b"\x89PNG")
    formatters = pytest.importorskip("IPython.core.formatters")
    bundle, _ = formatters.DisplayFormatter().format(figure)
    assert [key for key in bundle if key.startswith("image/")] == ["image/png"]
    assert pyplot.get_fignums() == []


@pytest.mark.parametrize("suffix", ["pdf", "svg", "png"])
def test_the_figure_is_saved_in_the_usual_formats(tmp_path, suffix):
    path = tmp_path / f"figure.{suffix}"
    plot_layers({"dense": DENSE, "pruned": PRUNED}).savefig(path)
    assert path.stat().st_size > 1000


def test_the_figure_can_be_pickled():
    figure = pickle.loads(pickle.dumps(plot_layers(DENSE)))
    assert len(violins(figure.axes[0])) == 3
