"""The pictures of a page, as data URIs: wide ones, and narrow ones for small screens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from jacprobe.plotting import plot_comparison, plot_layers, plot_sensitivity, plot_spectrum
from jacprobe.plotting.artists.contexts import style
from jacprobe.plotting.embedding import embedded, embedded_mask
from jacprobe.report.section import Section
from jacprobe.results import Comparison, SpectrumSet

if TYPE_CHECKING:
    from torch import Tensor

_WIDE, _NARROW = 10.0, 3.7  # inches, of which a page has 96 pixels each
_MOST_NARROW = 12  # segments that a narrow figure can name
_MOST_PANELS = 24  # of histograms


class Picture(NamedTuple):
    """Data URIs of one figure, what it shows in words, and a caption; `narrow` is "" where it would not be legible."""

    wide: str
    narrow: str
    alt: str
    caption: str


class MaskPicture(NamedTuple):
    """The picture of one mask with its name and its removed share."""

    picture: str
    name: str
    removed: str


def spectra_pictures(section: Section) -> list[Picture]:
    """Return the layers as violins, and the histogram of every segment where they are not too many."""
    result, known = section.result, [s for s in section.result if s.is_known]
    pictures = []
    if known and result.layers:
        means = ", ".join(f"{s.segment} {s.mean:.3g}" for s in known if s.kind == "layer" and s.mean == s.mean)
        pictures.append(_picture(lambda width: plot_layers(result, width=width), len(result.layers),
                                 "Violins of the singular values of each layer." + f" Means: {means}." * bool(means),
                                 "Singular values by layer, of all inputs: a dot at the median, a bar between the"
                                 " quartiles, in the band what counts as isometric."))
    shown = SpectrumSet(tuple(known), result.epsilon)
    if 0 < len(known) <= _MOST_PANELS:
        pictures.append(_picture(lambda width: plot_spectrum(shown, width=width), len(known),
                                 f"Histograms of the singular values of {', '.join(s.segment for s in known)}.",
                                 "How the singular values of each segment are distributed; structural zeros stand"
                                 " apart."))
    return pictures


def comparison_picture(comparison: Comparison) -> Picture | None:
    """Return all models over one another, layer by layer, where each has layers."""
    if not all(result.layers for result in comparison.sets):
        return None
    return _picture(lambda width: plot_comparison(comparison.results, width=width), len(comparison.segments),
                    f"Densities of the singular values of {', '.join(comparison.names)} over one another, a row per"
                    " layer; the table below has their numbers.",
                    f"The models over one another, a row per layer; Δ is the difference of the mean from"
                    f" {comparison.names[0]}.")


def score_picture(scores: Mapping[str, Tensor], label: str) -> Picture:
    """Return the histograms and the points of scores."""
    return _picture(lambda width: plot_sensitivity(scores, width=width, label="score"), len(scores),
                    f"Histograms of the scores of each parameter: {label}. The table below has their numbers.",
                    f"{label[:1].upper()}{label[1:]}: how the scores of each parameter are distributed, on a"
                    " logarithmic axis where none is negative, and single weights drawn at random.")


def mask_pictures(masks: Mapping[str, Tensor]) -> list[MaskPicture]:
    """Return a picture per mask of weights, black where a weight is removed; biases only where nothing else is."""
    weights = [name for name, mask in masks.items() if mask.ndim > 1 and mask.numel()]
    names = weights or [name for name, mask in masks.items() if mask.numel()]
    removed = {name: float((~masks[name]).double().mean()) for name in names}
    return [MaskPicture(embedded_mask(masks[name]), name, f"{100 * removed[name]:.4g} % removed") for name in names]


def _picture(draw: Callable[[float], object], num_names: int, alt: str, caption: str) -> Picture:
    with style("notebook"):
        wide = embedded(draw(_WIDE))
        return Picture(wide, embedded(draw(_NARROW)) if num_names <= _MOST_NARROW else "", alt, caption)
