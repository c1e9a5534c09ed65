"""Digests of masks, the same in every process and for every order of the names."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
from torch import Tensor


def mask_digest(masks: Mapping[str, Tensor]) -> str:
    """Return the sha256 of names, shapes and kept bits, as hexadecimal digits."""
    found = hashlib.sha256()
    for name in sorted(masks):
        found.update(_header(name, masks[name]))
        found.update(np.packbits(masks[name].numpy()).tobytes())
    return found.hexdigest()


def shape_digest(masks: Mapping[str, Tensor]) -> str:
    """Return the sha256 of names and shapes alone: equal for all masks of one model and prunable set."""
    found = hashlib.sha256()
    for name in sorted(masks):
        found.update(_header(name, masks[name]))
    return found.hexdigest()


def _header(name: str, mask: Tensor) -> bytes:
    encoded = name.encode("utf-8", errors="surrogatepass")
    return b"%d:%s%s;" % (len(encoded), encoded, str(tuple(mask.shape)).encode())  # the length: no two run together
