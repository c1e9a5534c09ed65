"""The object in a mask file, before and after it is understood."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from jacprobe.checkpoint.loading import (
    DAMAGED,
    load_object,
    load_safetensors,
    looks_like_safetensors,
    named,
    read_file,
    whole,
)
from jacprobe.checkpoint.naming import is_state_dict, strip_prefixes, unwrap
from jacprobe.errors import CheckpointError
from jacprobe.masks import Masks

# What zipfile and NumPy raise on damaged archives besides what torch's reader does.
_DAMAGED_ARCHIVE = (*DAMAGED, OSError, NotImplementedError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, eq=False)
class Content:
    """What a file holds, made without running any of it.

    `container` is "safetensors", "NumPy" or "torch"; `value` the object, for the first two a dict of tensors or arrays
    by name; `metadata` that of safetensors.
    """

    path: Path
    sha256: str
    size: int
    container: str
    value: object
    metadata: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def inner(self) -> object:
        """The state dict or module in the wrappers of a training script, or the value itself."""
        return unwrap(self.value)[0] if self.container == "torch" else self.value

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """Tensors by name, without the prefixes of wrappers; none where the file holds no state dict."""
        if self.container == "NumPy" or not is_state_dict(self.inner):
            return {}
        found = {name: tensor for name, tensor in self.inner.items() if isinstance(tensor, Tensor)}
        return named(self.path, strip_prefixes, found)[0]

    @property
    def module(self) -> nn.Module | None:
        """The pickled module, if it is one."""
        return self.inner if isinstance(self.inner, nn.Module) else None


@dataclass(frozen=True, eq=False)
class MaskFile:
    """A mask file, understood.

    Parameters
    ----------
    path, sha256, size
        The file, the digest of its bytes and their number.
    format
        Its name in ``FORMATS``.
    masks
        By plain parameter names.
    weights
        Tensors of the dense network by plain name, removed weights with the values that the file keeps for them; None
        for a file of masks alone.
    """

    path: Path
    sha256: str
    size: int
    format: str
    masks: Masks
    weights: Mapping[str, Tensor] | None = field(default=None, repr=False)


def read_content(path: Path) -> Content:
    """Read a file of tensors, arrays or torch.nn modules.

    Raises
    ------
    UntrustedFileError
        The file could run code.
    CheckpointError
        The file is missing, empty or damaged.
    """
    data, facts = read_file(path)
    if looks_like_safetensors(data, path):
        tensors, metadata = load_safetensors(data, path)
        return Content(container="safetensors", value=tensors, metadata=metadata, **facts)
    if _is_numpy_archive(data):
        return Content(container="NumPy", value=_arrays(data, path), **facts)
    with whole(path):
        return Content(container="torch", value=load_object(data, path, trust_file=None)[0], **facts)


def _is_numpy_archive(data: bytes) -> bool:
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            return any(name.endswith(".npy") for name in archive.namelist())
    except _DAMAGED_ARCHIVE:  # the reader of torch files says what is wrong
        return False


def _arrays(data: bytes, path: Path) -> dict[str, np.ndarray]:
    with whole(path, _DAMAGED_ARCHIVE), np.load(BytesIO(data), allow_pickle=False) as archive:
        if len(set(archive.files)) < len(archive.files):
            raise CheckpointError(f"`{path}` must name each array once; some names appear twice. Save it again.")
        return {name: archive[name] for name in archive.files}
