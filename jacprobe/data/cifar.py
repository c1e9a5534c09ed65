"""CIFAR-10: its binary and its Python batches, unpacked or in the archives they are published in."""

from __future__ import annotations

import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from jacprobe.data.pickles import read_pickled_arrays
from jacprobe.data.pixels import Pixels, checked_pixels
from jacprobe.errors import DataError

BINARY_ARCHIVE = "cifar-10-binary.tar.gz"
_ARCHIVES = {BINARY_ARCHIVE: ".bin", "cifar-10-python.tar.gz": ""}
_FOLDERS = ("cifar-10-batches-bin", "cifar-10-batches-py", "cifar-10", ".")
_BATCHES = {"train": tuple(f"data_batch_{number}" for number in range(1, 6)), "test": ("test_batch",)}
_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32


class CifarFiles(NamedTuple):
    """A folder or an archive with all batches, and the suffix of their names: `.bin` or none."""

    place: Path
    suffix: str


def find_cifar(root: Path, name: str, splits: set[str]) -> CifarFiles | None:
    """Return the first folder of `root` that holds all batches of `splits`, else the first archive, else None."""
    batches = [batch for split in splits for batch in _BATCHES[split]]
    for suffix in (".bin", ""):
        for folder in _FOLDERS:
            if all((root / folder / f"{batch}{suffix}").is_file() for batch in batches):
                return CifarFiles(root / folder, suffix)
    for archive, suffix in _ARCHIVES.items():
        if (root / archive).is_file():
            return CifarFiles(root / archive, suffix)
    return None


def expected_cifar(name: str, splits: set[str]) -> str:
    """Say which files `find_cifar` looks for, and in which folders of the root."""
    test = " and test_batch[.bin]" if "test" in splits else ""
    return (
        f"data_batch_1[.bin] to 5{test} in it or in its {', '.join(_FOLDERS[:-1])}, nor {' or '.join(_ARCHIVES)} in it"
    )


def read_cifar(files: CifarFiles, split: str) -> Pixels:
    """Return the images `(N, 3, 32, 32)` and labels of `split`.

    Raises
    ------
    DataError
        A batch is missing or damaged, could run code, or images and labels do not fit.
    """
    names = [f"{batch}{files.suffix}" for batch in _BATCHES[split]]
    contents = _folder_contents(files.place, names) if files.place.is_dir() else _archive_contents(files.place, names)
    read = binary_batch if files.suffix else pickled_batch
    batches = [read(contents.pop(name), files.place / name) for name in names]
    images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    return Pixels(images, labels)


def binary_batch(content: bytes, path: Path) -> Pixels:
    """Return the records of a binary batch: a label byte, then the red, green and blue plane row by row."""
    record = 1 + _PIXELS
    if not content or len(content) % record:
        raise DataError(f"`{path}` must hold records of {record} bytes; got {len(content)} bytes. Fetch it again.")
    records = np.frombuffer(content, np.uint8).reshape(-1, record)
    return checked_pixels(records[:, 1:].reshape(-1, *_SHAPE), records[:, 0].astype(np.int64), path)


def pickled_batch(content: bytes, path: Path) -> Pixels:
    """Return the `data` `(N, 3072)` and `labels` of a Python batch, without running anything from it."""
    entries = read_pickled_arrays(content, path)
    data, labels = entries.get("data"), entries.get("labels")
    if not isinstance(data, np.ndarray) or data.ndim != 2 or data.shape[1] != _PIXELS:
        got = f"shape {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise DataError(f"`{path}` must hold 'data', an array of shape (N, {_PIXELS}); got {got}. Fetch it again.")
    if not isinstance(labels, list) or not all(type(label) is int and abs(label) < 2**31 for label in labels):
        raise DataError(
            f"`{path}` must hold 'labels', a list of whole numbers; got {type(labels).__name__}. Fetch it again."
        )
    return checked_pixels(data.reshape(-1, *_SHAPE), np.array(labels, np.int64), path)


def _folder_contents(folder: Path, names: list[str]) -> dict[str, bytes]:
    try:
        return {name: (folder / name).read_bytes() for name in names}
    except OSError as error:
        raise DataError(f"`{error.filename}` must be readable; got {error.strerror}. Check its permissions.") from error


def _archive_contents(path: Path, names: list[str]) -> dict[str, bytes]:
    """Read the files called `names` in one pass; nothing is unpacked, so no path in the archive matters."""
    contents = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = PurePosixPath(member.name).name
                if member.isreg() and name in names:
                    contents[name] = archive.extractfile(member).read()
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise DataError(f"`{path}` must be an undamaged tar archive; got {error}. Fetch it again.") from error
    if missing := [name for name in names if name not in contents]:
        raise DataError(f"`{path}` must hold {', '.join(names)}; {', '.join(missing)} is missing. Fetch it again.")
    return contents
