"""Write mask files."""

from __future__ import annotations

import os
from pathlib import Path

from jacprobe.atomic import atomic_path, check_output
from jacprobe.errors import ArgumentError, DtypeError, UnknownNameError
from jacprobe.interchange.formats import FORMATS, WRITABLE
from jacprobe.interchange.networks import Network, check_carried, dense_weights, parameter_tensors
from jacprobe.masks import Masks
from jacprobe.masks.fitting import check_fits


def write_masks(
    masks: Masks,
    path: str | os.PathLike,
    *,
    format: str | None = None,
    model: Network | None = None,
    overwrite: bool = False,
) -> Path:
    """Write masks to a file, whole or not at all.

    Parameters
    ----------
    masks
        At least one mask. Their provenance is kept by "safetensors" alone.
    path
        Where to write. Formats that hold weights are written as safetensors where it ends so, else by ``torch.save``.
    format
        A name in `jacprobe.interchange.FORMATS`; by default what the suffix .safetensors or .npz says.
    model
        Module or state dict that the masks must fit. Formats that hold weights need it: the file is the state dict of
        the masked model. A module that carries masks already gives the weights as it keeps them hidden.
    overwrite
        Whether an existing file is replaced.

    Raises
    ------
    DtypeError
        `masks` are no `Masks`, or `model` is neither a module nor a state dict.
    ArgumentError
        There are no masks, a name cannot stand in a file, the suffix tells no format, the format needs `model`, or
        `model` carries other masks.
    ModelError
        A weight in `model` to be written is masked and computed by another parametrisation too.
    UnknownNameError, ShapeError
        There is no such format; or the masks do not fit `model`.
    OutputError
        The file exists or cannot be written.

    Warns
    -----
    JacprobeWarning
        "dense" masks cannot be read back, as a kept weight is zero or a removed one is a bias.
    """
    if not isinstance(masks, Masks):
        raise DtypeError(f"`masks` must be Masks; got {type(masks).__name__}. Make them with jp.Masks(...).")
    if not masks:
        raise ArgumentError("`masks` must hold at least one mask; got none. Prune the model first.")
    _check_names(masks)
    path = check_output(path, overwrite=overwrite)
    name = _format_of(path) if format is None else format
    if name not in WRITABLE:
        raise UnknownNameError("format", name, WRITABLE)
    as_safetensors = path.suffix == ".safetensors"
    known = FORMATS[name]
    if (as_safetensors and not known.holds_weights and name != "safetensors") or (
            path.suffix == ".npz" and name != "npz"):
        raise ArgumentError(f"`path` must not end in {path.suffix}, which {name} files are not; got {str(path)!r}."
                            " Choose another suffix.")
    weights = None if model is None else dense_weights(model)
    if weights is not None:
        check_fits(masks, parameter_tensors(model))
        check_carried(masks, model)
    elif known.holds_weights:
        raise ArgumentError(f"`model` must be given to write {name}, which holds the weights too; got None. Pass the"
                            " network (`--model` at the shell).")
    with atomic_path(path, overwrite=overwrite) as temporary, open(temporary, "wb") as file:
        if known.holds_weights:
            known.write(masks, weights, file, as_safetensors=as_safetensors)
        else:
            known.write(masks, file)
    return path


def _check_names(masks: Masks) -> None:
    for name in masks:
        if not name or name == "__metadata__" or name != name.encode(errors="replace").decode():
            raise ArgumentError(f"`masks` must have names that a file can hold; got {name!r}. Rename that parameter.")


def _format_of(path: Path) -> str:
    for name, known in FORMATS.items():
        if known.suffix == path.suffix and known.suffix:
            return name
    raise ArgumentError(f"`format` must be given where the suffix tells none; got None for {path.name!r}. Choose one of"
                        f" {', '.join(WRITABLE)}.")
