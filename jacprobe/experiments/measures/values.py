"""Statistics of Jacobian singular values, a row per segment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from jacprobe.experiments.networks import Place, make_network, splits
from jacprobe.experiments.recipe import Recipe
from jacprobe.isometry import orthogonality_score
from jacprobe.probe import spectra
from jacprobe.results import Spectrum
from jacprobe.theory import spectrum as expected_spectrum


def measure_spectra(recipe: Recipe, settings: Mapping[str, Any], place: Place) -> pd.DataFrame:
    """Return a row per segment with the statistics of its singular values over all inputs.

    Settings: `segments` ("end_to_end"; as `kind` in `jacprobe.spectra`), `num_images` (all images of the training
    part), `accuracy` ("standard"; as in `jacprobe.spectra`).

    The columns mean, std, min, max and cond are over all values of all inputs, as in the paper; relative_std,
    effective_rank, participation, relative_variance and cond_median do not depend on the scale of the weights. Every
    row carries the orthogonality score of the network.
    """
    net = make_network(recipe, place)
    images = splits(recipe.data, place.data_root).train.images[:settings.get("num_images")]
    found = spectra(net, images, kind=settings.get("segments", "end_to_end"),
                    accuracy=settings.get("accuracy", "standard"), device=place.device, progress=False)
    score = orthogonality_score(net)
    return pd.DataFrame([_row(spectrum, score) for spectrum in found])


def measure_theory(recipe: Recipe, settings: Mapping[str, Any], place: Place) -> pd.DataFrame:
    """Return one row with what theory expects end to end: mean, std, relative_std, relative_variance, min and max.

    Settings: `num_images` (1,000) whose activations give the lengths.
    """
    images = splits(recipe.data, place.data_root).train.images[:settings.get("num_images", 1_000)]
    law = expected_spectrum(make_network(recipe, place).cpu(), inputs=images).end_to_end
    return pd.DataFrame([{"segment": "end_to_end", "mean": law.mean, "std": law.std, "min": law.s_min,
                          "max": law.s_max, "relative_std": law.std / law.mean,
                          "relative_variance": law.relative_variance}])


def _row(spectrum: Spectrum, score: float) -> dict[str, Any]:
    each = spectrum.cond_per_input
    return {
        "segment": spectrum.segment, "kind": spectrum.kind, "out_dim": spectrum.out_dim, "in_dim": spectrum.in_dim,
        "num_inputs": spectrum.num_inputs, "mean": spectrum.mean, "std": spectrum.std, "min": spectrum.min,
        "max": spectrum.max, "cond": spectrum.cond, "cond_median": float("nan") if each is None else
        float(each.median()), "relative_std": spectrum.relative_std, "relative_variance": spectrum.relative_variance,
        "effective_rank": spectrum.effective_rank, "participation": spectrum.participation,
        "zeros": spectrum.num_zeros, "floor": spectrum.floor, "label": spectrum.label, "computed_by": spectrum.method,
        "reason": spectrum.reason, "orthogonality_score": score,
    }
