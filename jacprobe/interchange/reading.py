"""Read mask files of any known format; run nothing from them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from jacprobe.errors import CheckpointError, UnknownNameError
from jacprobe.interchange.contents import Content, MaskFile, read_content
from jacprobe.interchange.formats import FORMATS
from jacprobe.interchange.networks import Network, fitted
from jacprobe.masks import Masks


def read_masks(path: str | os.PathLike, *, format: str | None = None, model: Network | None = None) -> Masks:
    """Read the masks in a file of any format in `jacprobe.interchange.FORMATS`.

    Parameters
    ----------
    path
        The file. It is read as a whole into memory; nothing in it is run, and there is no way to make it run.
    format
        Its format; by default the first that fits what the file holds.
    model
        Module or state dict that the masks must fit. It also tells which weights are tied: a tied weight is listed
        once.

    Returns
    -------
    Masks
        By plain parameter names. The provenance is that of the file or, where the format has none, its format and
        sha256 under "source".

    Raises
    ------
    UnknownNameError
        There is no such format; or a mask names no parameter of `model`.
    UntrustedFileError
        The file could run code.
    CheckpointError
        The file is missing, damaged, or holds no masks in `format`; the message names the key at fault.
    ShapeError, ArgumentError
        The masks do not fit `model`.

    Warns
    -----
    JacprobeWarning
        The file holds no masks, and its exact zeros are taken for removed weights ("dense").
    """
    return read_mask_file(path, format=format, model=model).masks


def read_mask_file(path: str | os.PathLike, *, format: str | None = None, model: Network | None = None) -> MaskFile:
    """Read a mask file as `read_masks` does, with its format, digest and weights."""
    if format is not None and format not in FORMATS:
        raise UnknownNameError("format", format, FORMATS)
    content = read_content(Path(path))
    found = _understood(content, detect(content) if format is None else format)
    return found if model is None else replace(found, masks=fitted(found.masks, model))


def find_masks(path: str | os.PathLike) -> MaskFile | None:
    """Return the masks of a file that holds nothing else; None for a model file, or one that cannot be read."""
    try:
        content = read_content(Path(path))
        name = next((name for name, known in FORMATS.items() if known.recognises(content)), "dense")
    except CheckpointError:
        return None
    return None if FORMATS[name].holds_weights else _understood(content, name)


def detect(content: Content) -> str:
    """Return the name of the first format that fits.

    Raises
    ------
    CheckpointError
        None does.
    """
    for name, known in FORMATS.items():
        if known.recognises(content):
            return name
    dense = bool(content.tensors) or content.module is not None
    raise CheckpointError(
        f"`{content.path}` must hold masks; {'its weights have none and no exact zeros' if dense else _title(content)}."
        f" Known formats are {', '.join(FORMATS)}."
    )


def _title(content: Content) -> str:
    return f"it is a {type(content.value).__name__} that no format has"


def _understood(content: Content, name: str) -> MaskFile:
    found = FORMATS[name].read(content)
    masks, weights = (found, None) if isinstance(found, Masks) else found
    if not masks.provenance:
        masks = Masks(masks, {"source": {"format": name, "sha256": content.sha256}})
    return MaskFile(content.path, content.sha256, content.size, name, masks, weights)
