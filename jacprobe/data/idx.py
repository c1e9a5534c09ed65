"""IDX files, the format of MNIST: a magic number, big-endian sizes, then unsigned bytes."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from jacprobe.errors import DataError

_GZIP_MAGIC = b"\x1f\x8b"
_UNSIGNED_BYTE = 0x08


def read_idx(path: Path, *, num_dims: int) -> np.ndarray:
    """Return the array of unsigned bytes in the IDX file `path`, read-only; gzip is told by content, not by name.

    Raises
    ------
    DataError
        The file cannot be read or decompressed, is no IDX file of bytes with `num_dims` dimensions, or is shorter or
        longer than its header says.
    """
    content = _content(path)
    start = 4 + 4 * num_dims
    if content[:2] != b"\x00\x00" or len(content) < 4:
        raise DataError(f"`{path}` must begin with an IDX magic number; got {content[:4]!r}. Fetch it again.")
    if content[2] != _UNSIGNED_BYTE:
        raise DataError(
            f"`{path}` must hold unsigned bytes, IDX type 0x08; got type 0x{content[2]:02x}. Fetch it again."
        )
    if content[3] != num_dims:
        raise DataError(f"`{path}` must have {num_dims} dimensions; got {content[3]}. Are images and labels swapped?")
    if len(content) < start:
        raise DataError(f"`{path}` must have a header of {start} bytes; got {len(content)} in all. Fetch it again.")
    shape = struct.unpack(f">{num_dims}I", content[4:start])
    expected = start + math.prod(shape)
    if len(content) != expected:
        fault = "it is truncated" if len(content) < expected else "there are trailing bytes"
        raise DataError(
            f"`{path}` must be {expected} bytes long for its shape {shape}; got {len(content)}: {fault}."
            " Fetch it again."
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"`{path}` must be readable; got {error.strerror or error}. Check its permissions.") from error
    if not content.startswith(_GZIP_MAGIC):
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise DataError(f"`{path}` must be an undamaged gzip file; got {error}. Fetch it again.") from error
