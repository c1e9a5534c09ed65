"""The layer figure, read from its artists."""

import pickle
import subprocess
import sys
import warnings

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import pyplot
from matplotlib.cbook import is_math_text
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from matplotlib.figure import Figure

from jacprobe.errors import ArgumentError, DtypeError
from jacprobe.plotting import draw_layers, layers_data, plot_layers
from jacprobe.results import Spectrum, SpectrumSet


def spectrum(name, rows, *, zeros=0, kind="layer", floor=1e-15):
    values = torch.tensor(rows, dtype=torch.float64)
    zeros = torch.full((len(values),), zeros)
    dim = values.shape[1]
    return Spectrum(name, kind, "a", "b", dim, dim, len(values), values=values, zeros=zeros, floor=floor, label="exact")


def unknown(name):
    return Spectrum(name, "layer", None, None, None, None, 1, reason="module is never called")


def spread(name, *, low=0.1, high=2.0, num=20, **kwargs):
    return spectrum(name, [np.geomspace(high, low, num).tolist()], **kwargs)


def violins(ax):
    return [c for c in ax.collections if isinstance(c, PolyCollection)]


def words(ax):
    return [text.get_text() for text in ax.texts]


def names(ax):
    return [tick.get_text() for tick in ax.get_xticklabels()]


def flat_lines(ax):
    """Return x extent and height of the lines that stand for distributions without width."""
    segments = [s for c in ax.collections if isinstance(c, LineCollection) for s in c.get_segments()]
    return [(s[0, 0], s[1, 0], s[0, 1]) for s in segments if s[0, 0] != s[1, 0]]


def medians(ax):
    white = [c for c in ax.collections if isinstance(c, PathCollection) and len(c.get_offsets())
             and c.get_facecolor()[0, :3].tolist() == [1, 1, 1]]
    return white[0].get_offsets().data.tolist()


def strip_bars(ax, label):
    (strip,) = ax.child_axes
    for container in strip.containers:
        if container.get_label() == label:
            return [(bar.get_x() + bar.get_width() / 2, bar.get_height()) for bar in container]
    return []


DENSE = SpectrumSet((spread("fc1"), spread("fc2"), spread("e2e", kind="end_to_end", low=0.01)))
PRUNED = SpectrumSet((spread("fc1", low=0.01), spectrum("fc2", [[0.5, 0.2, 0.1, 0.0], [0.4, 0.3, 0.2, 0.0]], zeros=1)))


def test_layers_stand_in_forward_order_with_end_to_end_apart():
    ax = draw_layers(DENSE)
    assert names(ax) == ["fc1", "fc2", "end\nto\nend"]
    assert ax.get_xticks().tolist() == [0, 1, 2.5]
    assert [line.get_xdata()[0] for line in ax.lines if len(set(line.get_xdata())) == 1] == [1.75]  # the rule between
    assert len(violins(ax)) == 3


def test_end_to_end_is_left_out_on_demand():
    assert draw_layers(DENSE, include_end_to_end=False).get_xticks().tolist() == [0, 1]
    assert plot_layers(DENSE, end_to_end=False).axes[0].get_xticks().tolist() == [0, 1]


def test_a_violin_ends_at_the_smallest_and_the_largest_value():
    heights = violins(draw_layers(SpectrumSet((spread("fc1", low=0.2, high=3.0),))))[0].get_paths()[0].vertices[:, 1]
    assert np.allclose([heights.min(), heights.max()], [0.2, 3.0])


def test_structural_zeros_are_outside_the_violin_and_its_median():
    ax = draw_layers(SpectrumSet((spectrum("fc1", [[4.0, 2.0, 1.0, 0.0, 0.0]], zeros=2),)))
    assert violins(ax)[0].get_paths()[0].vertices[:, 1].min() >= 0.99
    assert medians(ax) == [[0.0, 2.0]]


def test_zero_bars_equal_the_share_of_structural_zeros():
    first, second = PRUNED
    shares = [s.num_zeros / s.values.numel() for s in (first, second)]
    assert shares == [0, 0.25]
    assert strip_bars(draw_layers(PRUNED), "zeros") == [(0, 0.0), (1, 0.25)]


def test_zero_percentages_are_written_above_the_bars():
    (strip,) = draw_layers(PRUNED).child_axes
    assert [tick.get_text() for tick in strip.get_xticklabels()] == ["0", "25"]
    assert strip.get_xlabel() == "structural zeros, %"


def test_values_under_the_floor_are_apart_from_zeros_and_from_the_violin():
    ax = draw_layers(SpectrumSet((spectrum("fc1", [[2.0, 1.0, 1e-9, 0.0]], zeros=1, floor=1e-8),)))
    assert strip_bars(ax, "zeros") == [(0, 0.25)]
    assert strip_bars(ax, "under floor") == [(0, 0.25)]
    assert "under the floor" in ax.child_axes[0].get_xlabel()
    assert medians(ax) == [[0.0, 1.5]]


def test_no_strip_where_nothing_is_zero():
    assert draw_layers(DENSE).child_axes == []


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


@pytest.mark.parametrize("log", [True, False], ids=["logarithmic", "linear"])
def test_the_band_is_one_plus_minus_epsilon_and_one_has_a_line(log):
    ax = draw_layers(DENSE, epsilon=0.25, log=log)
    (band,) = [p for p in ax.patches if p.get_label() == "1 ± 0.25"]
    assert np.allclose([band.get_y(), band.get_y() + band.get_height()], [0.75, 1.25])
    assert [1, 1] in [list(line.get_ydata()) for line in ax.lines]
    assert ax.get_yscale() == ("log" if log else "linear")


def test_the_band_is_that_of_the_set_by_default():
    ax = draw_layers(SpectrumSet(DENSE.spectra, epsilon=0.3))
    assert any(patch.get_label() == "1 ± 0.3" for patch in ax.patches)


@pytest.mark.parametrize("log", [True, False], ids=["logarithmic", "linear"])
def test_a_band_that_reaches_zero_can_be_drawn(log):
    figure = plot_layers(DENSE, epsilon=1.5, log=log)
    figure.draw_without_rendering()


@pytest.mark.parametrize(
    "rows", [[[1.0] * 10] * 3, [[1.0 + 1e-12, 1.0, 1.0 - 1e-12]], [[1.0]]], ids=["all ones", "ones up to noise", "one"]
)
@pytest.mark.parametrize("log", [True, False], ids=["logarithmic", "linear"])
def test_a_distribution_without_width_is_a_visible_line(rows, log):
    ax = draw_layers(SpectrumSet((spectrum("fc1", rows),)), log=log)
    ((left, right, height),) = flat_lines(ax)
    assert right - left > 0.5
    assert height == pytest.approx(1)
    low, high = ax.get_ylim()
    assert low < 1 < high
    ax.figure.draw_without_rendering()


def test_a_layer_of_zeros_says_so_and_has_a_full_bar():
    ax = draw_layers(SpectrumSet((spread("fc1"), spectrum("fc2", [[0.0, 0.0]], zeros=2))))
    assert words(ax) == ["all zero"]
    assert strip_bars(ax, "zeros") == [(0, 0.0), (1, 1.0)]


def test_a_layer_wholly_under_the_floor_says_so():
    ax = draw_layers(SpectrumSet((spectrum("fc1", [[1e-9, 0.0]], zeros=1, floor=1e-8),)))
    assert words(ax) == ["under floor"]


def test_a_layer_without_spectrum_keeps_its_slot():
    ax = draw_layers(SpectrumSet((spread("fc1"), unknown("unused"), spread("fc3"))))
    assert names(ax) == ["fc1", "unused", "fc3"]
    assert words(ax) == ["no spectrum"]
    assert ax.texts[0].get_position()[0] == 1
    assert len(violins(ax)) == 2


def test_no_layer_needs_a_spectrum():
    ax = draw_layers(SpectrumSet((unknown("a"), unknown("b"))))
    assert words(ax) == ["no spectrum"] * 2
    ax.figure.draw_without_rendering()


def test_an_unknown_floor_hides_no_value():
    ax = draw_layers(SpectrumSet((spectrum("fc1", [[2.0, 1.0, 0.0]], zeros=1, floor=float("nan")),)))
    assert medians(ax) == [[0.0, 1.5]]


def test_a_tail_below_the_axis_has_a_triangle_at_its_foot():
    tail = [*np.geomspace(2, 0.5, 99).tolist(), 1e-12]
    ax = draw_layers(SpectrumSet((spectrum("fc1", [tail]), spread("fc2", low=0.5))))
    assert ax.get_ylim()[0] > 0.1
    feet = ax.collections[-1].get_offsets().data.tolist()
    assert feet == [[0.0, 0.025]]


@pytest.mark.parametrize("name", ["block$x$_{1}", r"a\$b$c$", "<b>&amp;</b>", "_hidden", "100%"])
def test_names_are_written_literally(name):
    figure = plot_layers({name: SpectrumSet((spread(name),))})
    figure.draw_without_rendering()
    (tick,) = figure.axes[0].get_xticklabels()
    assert tick.get_text() == name
    assert not tick.get_parse_math()
    legend = figure.legends[0].get_texts()[-1].get_text()
    assert not is_math_text(legend)
    assert legend.replace(r"\$", "$").lstrip() == name  # as matplotlib unescapes what is no formula


def test_sets_stand_side_by_side_in_the_slot_of_their_layer():
    ax = plot_layers({"dense": DENSE, "pruned": PRUNED}).axes[0]
    assert np.allclose(sorted(x for x, _ in medians(ax)), [-0.2, 0.2, 0.8, 1.2, 2.3])
    centers = sorted((v.get_paths()[0].vertices[:, 0].min() + v.get_paths()[0].vertices[:, 0].max()) / 2
                     for v in violins(ax))
    assert np.allclose(centers, [-0.2, 0.2, 0.8, 1.2, 2.3])


def test_violins_have_one_width_wherever_slots_are_missing():
    alone = plot_layers({"a": SpectrumSet((spread("x"), unknown("y"), unknown("z"), spread("w")))}).axes[0]
    extents = [np.ptp(v.get_paths()[0].vertices[:, 0]) for v in violins(alone)]
    assert np.allclose(extents, 0.8 * 0.94)


def test_a_set_that_lacks_a_layer_leaves_its_place_empty():
    other = SpectrumSet((spread("fc1"), spread("extra"), spread("fc2")))
    ax = plot_layers({"dense": DENSE, "other": other}, end_to_end=False).axes[0]
    assert names(ax) == ["fc1", "extra", "fc2"]
    assert np.allclose(sorted(x for x, _ in medians(ax)), [-0.2, 0.2, 1.2, 1.8, 2.2])
    assert words(ax) == []


def test_the_legend_names_sets_and_band():
    figure = plot_layers({"dense": DENSE, "pruned": PRUNED})
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["1 ± 0.1", "dense", "pruned"]


def test_sets_differ_in_color_and_keep_it():
    figure = plot_layers({"dense": DENSE, "pruned": PRUNED})
    faces = {tuple(v.get_facecolor()[0]) for v in violins(figure.axes[0])}
    handles = {tuple(h.get_facecolor()[0]) for h in figure.legends[0].legend_handles[1:]}
    assert len(faces) == 2
    assert faces == handles


def test_the_given_axes_are_drawn_on_and_returned():
    ax = Figure().add_subplot()
    assert draw_layers(DENSE, ax=ax, color="tab:red", label="mine") is ax
    assert ax.get_legend_handles_labels()[1] == ["1 ± 0.1", "mine"]
    assert tuple(violins(ax)[0].get_facecolor()[0]) == matplotlib.colors.to_rgba("tab:red")


def test_violin_keywords_are_forwarded():
    plain, changed = draw_layers(DENSE), draw_layers(DENSE, linewidth=3.5, width=0.4)
    assert violins(changed)[0].get_linewidth()[0] == 3.5
    extent = [np.ptp(violins(ax)[0].get_paths()[0].vertices[:, 0]) for ax in (plain, changed)]
    assert extent[1] == pytest.approx(extent[0] / 2)


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


def test_a_violin_of_many_values_is_the_density_of_all_of_them():
    many = spectrum("fc1", [np.geomspace(2, 0.1, 50_000).tolist()])
    path = violins(draw_layers(SpectrumSet((many,))))[0].get_paths()[0].vertices
    assert np.allclose([path[:, 1].min(), path[:, 1].max()], [0.1, 2.0])
    middle = path[(path[:, 1] > 0.2) & (path[:, 1] < 1.0) & (path[:, 0] > 0)]
    assert np.ptp(middle[:, 0]) < 0.02  # log-uniform values: the sides of the violin are straight


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


def test_layers_data_holds_the_numbers_drawn():
    table = layers_data({"dense": DENSE, "pruned": PRUNED})
    assert table["segment"].tolist() == ["fc1", "fc2", "end to end", "fc1", "fc2"]
    row = table.iloc[4]
    assert (row["set"], row["position"], row["zeros"], row["under_floor"]) == ("pruned", 1, 0.25, 0)
    kept = [0.1, 0.2, 0.2, 0.3, 0.4, 0.5]
    assert row[["min", "q25", "median", "q75", "max"]].tolist() == pytest.approx([0.1, 0.2, 0.25, 0.375, 0.5])
    assert row["q05"] == pytest.approx(np.quantile(kept, 0.05))


def test_layers_data_tells_why_there_is_no_spectrum():
    row = layers_data(SpectrumSet((unknown("x"),))).iloc[0]
    assert row["reason"] == "module is never called"
    assert np.isnan(row["median"])


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


MODULES = SpectrumSet((spread("fc1", kind="module"),))


POSITIVE = "must be a finite number above 0; got"
MISUSE = [
    (lambda: draw_layers(3), DtypeError, r"`result` must hold SpectrumSets; got int\. Probe a model first\."),
    (lambda: draw_layers({"a": DENSE}), DtypeError, r"`result` must be one SpectrumSet; got a mapping\. Use `plot_lay"),
    (lambda: draw_layers(SpectrumSet(())), ArgumentError, r"`result` must hold layers; got an empty set\. Probe with"),
    (lambda: draw_layers(MODULES), ArgumentError, r"`result` must hold layers; got module\. Probe with kind='layers'"),
    (lambda: draw_layers(DENSE, ax="x"), DtypeError, r"`ax` must be a matplotlib Axes; got str\. Leave it out"),
    (lambda: draw_layers(DENSE, color="no"), ArgumentError, r"`color` must be a matplotlib color; got 'no'\. Give"),
    (lambda: draw_layers(DENSE, epsilon=0), ArgumentError, rf"`epsilon` {POSITIVE} 0\. Choose"),
    (lambda: plot_layers(DENSE, epsilon=float("nan")), ArgumentError, rf"`epsilon` {POSITIVE} nan\."),
    (lambda: plot_layers(DENSE, epsilon="0.1"), ArgumentError, rf"`epsilon` {POSITIVE} '0\.1'\."),
    (lambda: plot_layers(DENSE, epsilon=True), ArgumentError, rf"`epsilon` {POSITIVE} True\."),
    (lambda: plot_layers(DENSE, width=0), ArgumentError, rf"`width` {POSITIVE} 0\."),
    (lambda: plot_layers(DENSE, height=-1), ArgumentError, rf"`height` {POSITIVE} -1\."),
    (lambda: plot_layers({}), ArgumentError, r"`results` must hold at least one SpectrumSet; got an empty mapping\. P"),
    (lambda: plot_layers({"a": 1}), DtypeError, r"`results` must hold SpectrumSets; got int for 'a'\. Probe"),
    (lambda: plot_layers({"a": MODULES}), ArgumentError, r"`results` must hold layers; got module for 'a'\. Probe"),
    (lambda: layers_data([DENSE]), DtypeError, r"`results` must hold SpectrumSets; got list\. Probe a model first\."),
    (lambda: plot_layers({str(i): DENSE for i in range(11)}), ArgumentError, r"at most 10 sets; got 11\. Plot fewer"),
    (lambda: plot_layers({"a": DENSE, "b": SpectrumSet(DENSE.spectra, epsilon=0.2)}), ArgumentError,
     r"`epsilon` must be one for all sets; they have 0\.1, 0\.2\. Pass `epsilon`\."),
]


@pytest.mark.parametrize(("call", "error", "message"), MISUSE)
def test_misuse_is_refused_in_one_line(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
