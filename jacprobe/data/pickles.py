"""Read the arrays in a pickle without running anything from it."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np

from jacprobe.errors import DataError

_DAMAGE = (
    pickle.UnpicklingError,
    EOFError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    OverflowError,
    MemoryError,
)


def read_pickled_arrays(content: bytes, path: Path) -> dict[str, object]:
    """Return the dictionary pickled in `content`, its arrays of bytes as NumPy arrays, its keys as text.

    Each name that the pickle asks for is either one that NumPy writes for an array, and is given a stand-in that
    only stores what it gets, or it is refused before anything happens. `path` is for messages.

    Raises
    ------
    DataError
        The pickle wants any other name, which the message gives; it is damaged; or it holds no dictionary.
    """
    try:
        value = _InertUnpickler(io.BytesIO(content), path).load()
    except _DAMAGE as error:
        raise DataError(
            f"`{path}` must be an undamaged pickle of byte arrays; got {error!r}. Fetch it again."
        ) from error
    if not isinstance(value, dict):
        raise DataError(f"`{path}` must hold a pickled dict; got {type(value).__name__}. Fetch it again.")
    return {
        key.decode("latin1") if isinstance(key, bytes) else str(key): getattr(item, "array", item)
        for key, item in value.items()
    }


class _InertUnpickler(pickle.Unpickler):
    """An unpickler that knows no callable but the stand-ins."""

    def __init__(self, file: io.BytesIO, path: Path):
        super().__init__(file, encoding="bytes")  # the original files were written by Python 2
        self._path = path
        self._names = _stand_ins()

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in self._names:
            raise DataError(
                f"`{self._path}` must hold nothing but arrays and plain values; it asks for '{module}.{name}', which"
                " could run code. Use the original file, or the binary version of the data set."
            )
        return self._names[module, name]


def _stand_ins() -> dict[tuple[str, str], object]:
    """Return the stand-ins by name; made anew for each file, so that none can alter what the next one gets."""

    class Dtype:
        def __init__(self, code: str | bytes, *_: object):
            self.is_byte = code in ("u1", b"u1", "uint8", b"uint8")

        def __setstate__(self, state: object) -> None:
            """Ignore byte order and alignment, which bytes do not have."""

    class Array:
        def __setstate__(self, state: tuple) -> None:
            _, shape, dtype, is_fortran, content = state
            if not dtype.is_byte:
                raise ValueError("an array of another type than uint8")
            self.array = np.frombuffer(content, np.uint8).reshape(shape, order="F" if is_fortran else "C")

    def reconstruct(*_: object) -> Array:
        return Array()

    def encode(text: str, encoding: str | bytes) -> bytes:
        if encoding not in ("latin1", b"latin1"):
            raise ValueError(f"bytes written as {encoding!r}")
        return text.encode("latin1")

    names = {("numpy", "ndarray"): None, ("numpy", "dtype"): Dtype, ("_codecs", "encode"): encode}
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        names[module, "_reconstruct"] = reconstruct
    return names
