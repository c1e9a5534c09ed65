"""Do masks fit other masks or a model: names and shapes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

from jacprobe.errors import ArgumentError, ShapeError, UnknownNameError

_LISTED = 5


def check_fits(masks: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    """Check that every mask names a tensor and has its shape.

    Raises
    ------
    UnknownNameError
        One mask names no tensor.
    ShapeError
        One mask, or several, differ in shape and no name is unknown.
    ArgumentError
        Several masks do not fit; the message lists their names, and the weights that have no mask.
    """
    extra = [name for name in masks if name not in tensors]
    shapes = [name for name in masks if name in tensors and masks[name].shape != tensors[name].shape]
    if len(extra) == 1 and not shapes:
        raise UnknownNameError("masks", extra[0], tensors, "Masks go by the parameter names of the plain model.")
    if len(shapes) == 1 and not extra:
        (name,) = shapes
        raise ShapeError(
            f"`masks` must match the model's shapes; {name!r} is {tuple(tensors[name].shape)} in the model and"
            f" {tuple(masks[name].shape)} in the masks. Use masks made for this model."
        )
    if extra or shapes:
        missing = [name for name in tensors if name not in masks and tensors[name].ndim >= 2] if extra else []
        raise (ArgumentError if extra else ShapeError)(
            "`masks` must fit the model; "
            + _listed({"not in the model": map(repr, extra), "weights of the model without a mask": map(repr, missing),
                       "shapes differ": _shapes(shapes, masks, tensors, "the model's")})
            + ". Use masks made for this model, by its plain parameter names."
        )


def check_alike(masks: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    """Check that two masks have the same names and shapes.

    Raises
    ------
    ArgumentError
        They have not; the message lists missing, extra and mis-shaped names.
    """
    missing = [repr(name) for name in masks if name not in other]
    extra = [repr(name) for name in other if name not in masks]
    shapes = [name for name in masks if name in other and masks[name].shape != other[name].shape]
    if missing or extra or shapes:
        raise (ArgumentError if missing or extra else ShapeError)(
            "`other` must have the names and shapes of these masks; "
            + _listed({"missing": missing, "extra": extra,
                       "shapes differ": _shapes(shapes, other, masks, "these masks'")})
            + ". Compare masks of one model and one prunable set."
        )


def _shapes(names: list[str], masks: Mapping[str, Tensor], own: Mapping[str, Tensor], whose: str) -> list[str]:
    return [f"{name!r} is {tuple(masks[name].shape)} and {whose} {tuple(own[name].shape)}" for name in names]


def _listed(kinds: Mapping[str, Iterable[str]]) -> str:
    phrases = []
    for kind, entries in kinds.items():
        found = list(entries)
        more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
        phrases += [f"{kind}: {', '.join(found[:_LISTED])}{more}"] if found else []
    return "; ".join(phrases)
