"""Scores of the dense network: their distribution in each layer, and a sample of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from jacprobe.errors import ArgumentError
from jacprobe.experiments.measures.layers import chosen_layers
from jacprobe.experiments.networks import Place, connection_scores, dense_network
from jacprobe.experiments.recipe import Recipe
from jacprobe.randomness import make_generator

_QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def measure_scores(recipe: Recipe, settings: Mapping[str, Any], place: Place) -> pd.DataFrame:
    """Return a row per parameter: mean, std, extremes and quantiles of its scores, over the sum of all scores."""
    rows = []
    for name, values in _normalised(recipe, place).items():
        values = values.flatten()
        quantiles = {f"quantile_{round(100 * q):02d}": _quantile(values, q) for q in _QUANTILES}
        rows.append({"parameter": name, "size": values.numel(), "share": float(values.sum()),
                     "mean": float(values.mean()), "std": float(values.std(correction=0)), "min": float(values.min()),
                     "max": float(values.max()), **quantiles})
    return pd.DataFrame(rows)


def measure_sample(recipe: Recipe, settings: Mapping[str, Any], place: Place) -> pd.DataFrame:
    """Return `num_points` (950) scores of each of `layers`, drawn without replacement, over the sum of all scores."""
    scores = _normalised(recipe, place)
    layers = chosen_layers(scores, settings.get("layers"))
    generator = make_generator(recipe.seed, purpose="points")
    rows = []
    for layer in layers:
        values = scores[f"{layer}.weight"].flatten()
        chosen = torch.randperm(values.numel(), generator=generator)[:settings.get("num_points", 950)]
        rows += [(layer, float(value)) for value in values[chosen]]
    return pd.DataFrame(rows, columns=["layer", "score"])


def _normalised(recipe: Recipe, place: Place) -> dict[str, Tensor]:
    if recipe.method is None:
        raise ArgumentError("`method` must be given to see its scores; got None. Name one, such as 'snip'.")
    found = connection_scores(dense_network(recipe.dense(), place), recipe, place)
    total = sum(float(values.double().sum()) for values in found.values())
    return {name: values.double() / total for name, values in found.items()}


def _quantile(values: Tensor, q: float) -> float:
    """Return the order statistic at q; torch's own quantile refuses more than 16 million values."""
    rank = max(1, round(q * values.numel()))
    return float(values.kthvalue(rank).values)
