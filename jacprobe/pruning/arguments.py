"""Arguments that the analyses of masks share, checked at the boundary."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from jacprobe.errors import DtypeError, NonFiniteError, ShapeError, UnknownNameError
from jacprobe.masks import Masks

CONSTANTS = ("dead", "alive")
UNKNOWN = ("refuse", "connected")


def check_masks(masks: object, model: nn.Module) -> None:
    """Check that `masks` are masks of `model`.

    Raises
    ------
    DtypeError
        They are no ``Masks``.
    UnknownNameError, ShapeError, ArgumentError
        They do not fit.
    """
    if not isinstance(masks, Masks):
        raise DtypeError(f"`masks` must be Masks; got {type(masks).__name__}. Make them with jacprobe.Masks(...).")
    masks.assert_fits(model)


def check_options(constants: str, unknown: str) -> None:
    """Check that both are known.

    Raises
    ------
    UnknownNameError
        One is not.
    """
    if constants not in CONSTANTS:
        raise UnknownNameError("constants", constants, CONSTANTS)
    if unknown not in UNKNOWN:
        raise UnknownNameError("unknown", unknown, UNKNOWN)


def check_scores(scores: object, masks: Masks) -> None:
    """Check that `scores`, where given, hold a tensor for each mask.

    Raises
    ------
    DtypeError, ShapeError, NonFiniteError
        They do not, or one is NaN.
    """
    if scores is None:
        return
    if not isinstance(scores, Mapping):
        raise DtypeError(f"`scores` must be a dict of tensors by name; got {type(scores).__name__}."
                         " Pass what jacprobe.scores returns.")
    for name, mask in masks.items():
        score = scores.get(name)
        if not isinstance(score, Tensor) or score.shape != mask.shape:
            got = tuple(score.shape) if isinstance(score, Tensor) else type(score).__name__
            raise ShapeError(f"`scores` must hold a tensor of shape {tuple(mask.shape)} for {name!r}; got {got}."
                             " Score the parameters of the masks.")
        if score.isnan().any():
            raise NonFiniteError(f"`scores` must not be NaN; those of {name!r} are. Check the data and the weights.")
