"""Training of a recipe's network: its history, and the error of the checkpoint that the protocol selects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import torch

from jacprobe.experiments.networks import Place, make_network, splits
from jacprobe.experiments.recipe import Recipe
from jacprobe.training import Training, train


def measure_training(recipe: Recipe, settings: Mapping[str, Any], place: Place) -> pd.DataFrame:
    """Return the history: iteration, split, loss, error in %; and in every row what the run came to.

    Settings: those of `jacprobe.Training`, and `evaluated` (True): whether validation and test images are evaluated,
    which curves of the batch loss do not need. Convolutional networks on a GPU are trained in mixed precision unless
    `precision` says otherwise.

    `selected` is the iteration of the selected checkpoint, `final_error` its test error in %, `diverged` the iteration
    where the loss was no number, or missing.
    """
    settings = dict(settings)
    evaluated = settings.pop("evaluated", True)
    net = make_network(recipe, place)
    if place.device is not None and place.device.startswith("cuda") and any(
            isinstance(module, torch.nn.Conv2d) for module in net.modules()):
        settings.setdefault("precision", "mixed")
    data = splits(recipe.data, place.data_root)
    checkpoint = None if place.scratch is None else place.scratch / "training.pt"
    if checkpoint is not None:
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
    run = train(net, data.train, training=Training.of_settings(settings),
                validation=data.validation if evaluated else None, test=data.test if evaluated else None,
                device=place.device, checkpoint=checkpoint, progress=False)
    return run.history.assign(selected=run.selected, final_error=run.error, diverged=run.diverged,
                              training_seconds=run.seconds)
