"""What a recipe leaves of the weights: counts, norms and patterns by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from jacprobe.errors import ArgumentError, UnknownNameError
from jacprobe.experiments.networks import Place, make_network, masks_of
from jacprobe.experiments.recipe import Recipe
from jacprobe.isometry import orthogonality_score
from jacprobe.masks import Masks
from jacprobe.modelstate import owned_parameters, unwrapped


def measure_layers(recipe: Recipe, settings: Mapping[str, Any], place: Place) -> pd.DataFrame:
    """Return a row per weight: size, kept and removed share, orthogonality score, and concentration.

    `score` is ``||W'W - I||_F`` of the layer, `orthogonality_score` that of the network, their mean; `num_prunable`
    counts the prunable set of the whole network, biases included where the recipe says "paper". Of the kept weights,
    `rms` is the root mean square, `small_share` the share below 5 % of it, and `participation` is
    ``(sum w^2)^2 / (kept sum w^4)``: 1 where all have one size, 1 / 3 for Gaussian ones.
    """
    net = make_network(recipe, place)
    masks = Masks.of(net)
    whole = orthogonality_score(net)
    prunable = masks_of(recipe, place).num_prunable if recipe.method is not None else _num_affine(net)
    rows = []
    for name, module in unwrapped(net).named_modules():
        owned = owned_parameters(module).get("weight") if hasattr(module, "weight") else None
        if owned is None or owned.tensor.ndim < 2:
            continue
        weight = module.weight.detach()
        kept = masks.get(f"{name}.weight", torch.ones_like(weight, dtype=torch.bool))
        num_kept = int(kept.sum())
        rows.append({
            "layer": name, "size": weight.numel(), "kept": num_kept, "removed": 1 - num_kept / weight.numel(),
            **_concentration(weight[kept].double()), "score": orthogonality_score(module), "orthogonality_score": whole,
            "num_prunable": prunable,
        })
    return pd.DataFrame(rows)


def measure_patterns(recipe: Recipe, settings: Mapping[str, Any], place: Place) -> pd.DataFrame:
    """Return a row per weight with its mask as packed bits, for pictures; `unpacked` gives the mask.

    Settings: `layers`, names of the layers, all by default.
    """
    if recipe.method is None:
        raise ArgumentError("`method` must be given to see its masks; got None. Name how to prune, such as 'snip'.")
    masks = Masks.of(make_network(recipe, place))
    wanted = chosen_layers(masks, settings.get("layers"))
    return pd.DataFrame([_pattern(layer, masks[f"{layer}.weight"]) for layer in wanted])


def chosen_layers(weights: Mapping[str, torch.Tensor], names: Sequence[str] | None) -> list[str]:
    """Return the layers to look at, all by default, of tensors such as {"fc1.weight": ...}.

    Raises
    ------
    UnknownNameError
        No weight of a layer of that name is among them.
    """
    known = [name.removesuffix(".weight") for name in weights if name.endswith(".weight")]
    for name in names or ():
        if name not in known:
            raise UnknownNameError("layers", name, known)
    return list(names or known)


def _pattern(layer: str, mask: torch.Tensor) -> dict[str, Any]:
    matrix = mask.flatten(1).cpu().numpy()
    return {"layer": layer, "num_rows": matrix.shape[0], "num_columns": matrix.shape[1],
            "bits": np.packbits(matrix).tobytes(), "removed": 1 - float(matrix.mean())}


def unpacked(row: Mapping[str, Any]) -> np.ndarray:
    """Return the mask of a row of `measure_patterns`, bool `(num_rows, num_columns)`, True = kept."""
    count = row["num_rows"] * row["num_columns"]
    bits = np.unpackbits(np.frombuffer(row["bits"], dtype=np.uint8), count=count)
    return bits.astype(bool).reshape(row["num_rows"], row["num_columns"])


def _concentration(kept: torch.Tensor) -> dict[str, float]:
    squares = kept.square()
    if not squares.any():
        return {"rms": 0.0, "small_share": 1.0, "participation": 0.0}
    mean = squares.mean()
    return {"rms": float(mean.sqrt()), "small_share": float((squares < 0.05**2 * mean).double().mean()),
            "participation": float(mean.square() / squares.square().mean())}


def _num_affine(net: torch.nn.Module) -> int:
    return sum(parameter.numel() for name, parameter in net.named_parameters()
               if isinstance(net.get_submodule(name.rpartition(".")[0]), (torch.nn.Linear, torch.nn.Conv2d)))
