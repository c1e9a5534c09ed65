"""From a recipe to its network; what several cells share is kept for a while."""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from torch import Tensor, nn

from jacprobe.data import Data, load_data
from jacprobe.errors import ArgumentError, JacprobeWarning
from jacprobe.experiments.recipe import EOI, SIGNED, Recipe
from jacprobe.isometry import initialize, isometrize
from jacprobe.masks import Masks
from jacprobe.models import build
from jacprobe.pruning import controls, prune, scores
from jacprobe.pruning.methods import METHODS
from jacprobe.training import split_validation, train

_SHARED = 2  # networks or data sets; neighbouring cells differ in what comes after them


@dataclass(frozen=True)
class Place:
    """Where a cell is computed: no part of its identity.

    Attributes
    ----------
    data_root, device
        As in `jacprobe.load_data` and `jacprobe.spectra`.
    scratch
        Folder for checkpoints of training.
    """

    data_root: str | None = None
    device: str | None = None
    scratch: Path | None = None

    def tensor(self, tensor: Tensor) -> Tensor:
        """Return the tensor on the device."""
        return tensor if self.device is None else tensor.to(self.device)


@dataclass(frozen=True)
class Splits:
    """A data set as the paper's code splits it: nine tenths of the training images, the other tenth, the test."""

    train: Data
    validation: Data
    test: Data


@lru_cache(maxsize=_SHARED)
def splits(name: str, data_root: str | None) -> Splits:
    """Return the data set of that name; the tenth is drawn with seed 0 in every run, as in the paper's code."""
    part, validation = split_validation(load_data(name, root=data_root), share=0.1, seed=0)
    return Splits(Data(*part), Data(*validation), load_data(name, split="test", root=data_root))


def make_network(recipe: Recipe, place: Place) -> nn.Module:
    """Return the network of the recipe, on the device, with its masks."""
    net = dense_network(recipe.dense(), place)
    masks, found = None, net
    if recipe.method == EOI:
        found = _exactly_orthogonal(recipe, place)
        masks = Masks.of(found)
    elif recipe.method is not None:
        masks = masks_of(recipe, place)
        found = masks.apply(net)
    if recipe.control is not None:
        found = controls(net, masks, seed=recipe.seed, only=[recipe.control])[recipe.control].model
        masks = Masks.of(found)
    if recipe.reinit is not None:
        fresh = initialize(_dense(recipe), recipe.reinit, seed=recipe.seed).to(place.device or "cpu")
        found = fresh if masks is None else masks.apply(fresh)
    if recipe.repair is not None:
        with warnings.catch_warnings(action="ignore", category=JacprobeWarning):  # concentration: it is in the rows
            found = isometrize(found, method=recipe.repair, objective=recipe.objective,
                               max_steps=recipe.repair_steps, progress=False).model
    return found


def masks_of(recipe: Recipe, place: Place) -> Masks:
    """Return the masks of the recipe before any control: by scores that cells of other sparsities share."""
    if recipe.method == EOI:
        return Masks.of(_exactly_orthogonal(recipe, place))
    net = dense_network(recipe.dense(), place)
    if recipe.method == SIGNED or METHODS[recipe.method].schedule == "one-shot":
        found = _scores(recipe.scored(), place)
        return prune(net, lambda *_: found, sparsity=recipe.sparsity, prunable=recipe.prunable)
    return prune(net, recipe.method, sparsity=recipe.sparsity, data=_scored_data(recipe, place), seed=recipe.seed,
                 prunable=recipe.prunable, batch_norm=recipe.batch_norm, progress=False, **_score_arguments(recipe))


@lru_cache(maxsize=_SHARED)
def dense_network(recipe: Recipe, place: Place) -> nn.Module:
    """Return the network before pruning: initial weights, or those after pretraining. Nobody may change it."""
    arguments = {} if recipe.gamma is None else {"gamma": recipe.gamma}
    net = initialize(_dense(recipe), recipe.init, seed=recipe.seed, **arguments).to(place.device or "cpu")
    if not recipe.pretraining:
        return net
    run = train(net, splits(recipe.data, place.data_root).train, training=recipe.pretraining_settings(),
                device=place.device, checkpoint=_checkpoint(recipe, place), progress=False)
    if run.diverged is not None:
        raise ArgumentError(f"`pretraining_rate` must let {recipe.network} converge; it diverged at iteration"
                            f" {run.diverged} with {recipe.pretraining_rate}. Lower it.")
    return run.model


@lru_cache(maxsize=_SHARED)
def _scores(recipe: Recipe, place: Place) -> dict[str, Tensor]:
    net = dense_network(recipe.dense(), place)
    return connection_scores(net, recipe, place)


def connection_scores(net: nn.Module, recipe: Recipe, place: Place) -> dict[str, Tensor]:
    """Return the scores by the method of the recipe, by parameter name."""
    if recipe.method == SIGNED:
        names = scores(net, "magnitude", prunable=recipe.prunable)
        return {name: parameter.detach() for name, parameter in net.named_parameters() if name in names}
    needs_data = recipe.method not in ("random", "magnitude", "lamp", "synflow", "phew")
    return scores(net, recipe.method, data=_scored_data(recipe, place) if needs_data else None, seed=recipe.seed,
                  prunable=recipe.prunable, batch_norm=recipe.batch_norm, progress=False, **_score_arguments(recipe))


def _exactly_orthogonal(recipe: Recipe, place: Place) -> nn.Module:
    density = 1 - recipe.sparsity
    return initialize(_dense(recipe), EOI, density=density, seed=recipe.seed).to(place.device or "cpu")


def _dense(recipe: Recipe) -> nn.Module:
    name, arguments = recipe.architecture()
    return build(name, input_shape=recipe.input_shape(), num_classes=10, seed=recipe.seed, **arguments)


def _scored_data(recipe: Recipe, place: Place) -> tuple[Tensor, Tensor]:
    images, labels = splits(recipe.scored_on or recipe.data, place.data_root).train
    return place.tensor(images[:recipe.num_scored]), place.tensor(labels[:recipe.num_scored])


def _score_arguments(recipe: Recipe) -> dict[str, str]:
    return {"loss": recipe.score_loss} if METHODS[recipe.method].score == "snip" else {}


def _checkpoint(recipe: Recipe, place: Place) -> Path | None:
    """Return a file beside the scratch folders of the cells, for all cells that start from this pretraining."""
    if place.scratch is None:
        return None
    place.scratch.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(json.dumps(recipe.settings(), sort_keys=True).encode()).hexdigest()[:20]
    return place.scratch.parent / f"pretraining-{digest}.pt"
