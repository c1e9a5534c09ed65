"""Saliencies: how much each weight matters, higher = keep.

Every score is a function ``score(model, names, scoring, **arguments)`` that returns a tensor per name, in the shape of
the parameter and on the CPU. It evaluates the network at the weights that ``scoring.masks`` keep, and weighs what it
finds with all of them, so that the schedule alone decides whether a weight that was removed may come back. The caller's
model is never touched.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from jacprobe.pruning.scores.grasp import grasp
from jacprobe.pruning.scores.ntk_sap import ntk_sap
from jacprobe.pruning.scores.phew import phew
from jacprobe.pruning.scores.sensitivity import fisher, prospr, snip
from jacprobe.pruning.scores.synflow import synflow
from jacprobe.pruning.scores.weights import lamp, magnitude, random

ScoreFn = Callable[..., dict[str, Tensor]]

SCORES: dict[str, ScoreFn] = {
    "random": random,
    "magnitude": magnitude,
    "lamp": lamp,
    "snip": snip,
    "grasp": grasp,
    "synflow": synflow,
    "fisher": fisher,
    "ntk-sap": ntk_sap,
    "prospr": prospr,
    "phew": phew,
}

__all__ = ["SCORES", "ScoreFn", "fisher", "grasp", "lamp", "magnitude", "ntk_sap", "phew", "prospr", "random", "snip",
           "synflow"]
