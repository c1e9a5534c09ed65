"""jacprobe's own mask file: safetensors, a bool tensor per plain parameter name, origin as metadata.

The metadata of safetensors are texts. Those named below are of the file; every other one is an entry of the provenance,
a text as it is and anything else, or a text that could be taken for something else, as JSON.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, BinaryIO

import safetensors.torch
import torch

from jacprobe import __version__
from jacprobe.errors import ArgumentError, CheckpointError
from jacprobe.interchange.contents import Content
from jacprobe.interchange.maskdicts import plain_masks
from jacprobe.masks import Masks
from jacprobe.masks.digest import shape_digest

TITLE = "jacprobe masks"
VERSION = "1"
_OWN = ("format", "format_version", "written_by", "digest", "shapes_sha256", "num_prunable", "num_kept", "names",
        "provenance_sha256")


def is_canonical(content: Content) -> bool:
    """Whether a file is one of jacprobe's, or holds bool tensors alone, as one without metadata would."""
    if content.container != "safetensors":
        return False
    return content.metadata.get("format") == TITLE or all(t.dtype == torch.bool for t in content.value.values())


def read_canonical(content: Content) -> Masks:
    path, metadata = content.path, content.metadata
    if content.container != "safetensors":
        raise CheckpointError(f"`{path}` must be a safetensors file; it is a {content.container} file. Leave `format`"
                              " (`--from`) out to detect it.")
    for name, tensor in content.value.items():
        if tensor.dtype != torch.bool:
            raise CheckpointError(f"`{path}` must hold bool tensors; {name!r} is {tensor.dtype}. Write it again.")
    if metadata.get("format") != TITLE:
        return plain_masks(content, content.value)
    if metadata.get("format_version") != VERSION:
        raise CheckpointError(f"`{path}` must be of format version {VERSION}; got {metadata.get('format_version')!r}."
                              " Update jacprobe.")
    names = _decoded(metadata.get("names", ""))  # safetensors sorts them; a table wants the order of the network
    ordered = names if isinstance(names, list) and sorted(map(str, names)) == sorted(content.value) else content.value
    provenance = {key: _decoded(text) for key, text in metadata.items() if key not in _OWN}
    masks = Masks({name: content.value[name] for name in ordered}, provenance)
    if metadata.get("provenance_sha256") != _facts_digest(provenance):  # safetensors has no checksums
        raise CheckpointError(f"`{path}` must have the provenance that it was written with; it was changed. Write or"
                              " copy it again.")
    if metadata.get("digest") != masks.digest:
        raise CheckpointError(f"`{path}` must have the digest {metadata.get('digest')!r} that it states; its masks have"
                              f" {masks.digest!r}. It is damaged; write or copy it again.")
    return masks


def write_canonical(masks: Masks, file: BinaryIO) -> None:
    provenance = masks.provenance
    clash = [key for key in provenance if key in _OWN]
    if clash:
        raise ArgumentError(f"`masks` must not have {clash[0]!r} in their provenance, which is a fact of the file."
                            " Rename it.")
    own = (TITLE, VERSION, f"jacprobe {__version__}, torch {torch.__version__}", masks.digest, shape_digest(masks),
           str(masks.num_prunable), str(masks.num_kept), json.dumps(list(masks)), _facts_digest(provenance))
    metadata = dict(zip(_OWN, own, strict=True)) | {key: _encoded(value) for key, value in provenance.items()}
    file.write(_in_order(safetensors.torch.save(dict(masks), metadata)))


def _in_order(data: bytes) -> bytes:
    """Return a safetensors file with its metadata sorted: the library leaves them in a random order."""
    end = 8 + int.from_bytes(data[:8], "little")
    header: dict[str, Any] = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the tensors start at a multiple of 8
    return len(text).to_bytes(8, "little") + text + data[end:]


def _facts_digest(provenance: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(dict(provenance), sort_keys=True).encode()).hexdigest()


def _encoded(value: object) -> str:
    text = json.dumps(value)
    if not isinstance(value, str):
        return text
    return text if _decoded(value) != value else value


def _decoded(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
