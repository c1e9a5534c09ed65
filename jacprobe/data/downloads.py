"""Fetch the published files of a data set into the user's cache and check their hashes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pooch

from jacprobe.data.cifar import BINARY_ARCHIVE
from jacprobe.errors import DataError

# Base address, then MD5 by file name.
_SOURCES = {
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        {
            "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
        },
    ),
    "fashion-mnist": (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        {
            "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
        },
    ),
    "cifar-10": ("https://www.cs.toronto.edu/~kriz/", {BINARY_ARCHIVE: "c32a1d4ab5d03f1284b67883e8d87530"}),
}
_RETRIES = 2


def cache_folder(name: str) -> Path:
    """Return the folder in the user's cache that the files of the data set `name` are downloaded to."""
    return Path(pooch.os_cache("jacprobe")) / name


def download(name: str, *, progress: bool = False) -> Path:
    """Return ``cache_folder(name)`` once it holds all files of `name` with the known hashes.

    A file that is there already is checked and kept. `progress` shows a bar per file on stderr.

    Raises
    ------
    DataError
        A file cannot be fetched or stored, or does not have its known hash after some tries.
    """
    address, hashes = _SOURCES[name]
    folder = cache_folder(name)
    registry = {file: f"md5:{md5}" for file, md5 in hashes.items()}
    store = pooch.create(path=folder, base_url=address, registry=registry, retry_if_failed=_RETRIES)
    for file in hashes:
        try:
            with _quiet():
                store.fetch(file, progressbar=progress)
        except ValueError:
            raise DataError(
                f"`{address}{file}` must have the MD5 sum {hashes[file]}; what came has another. Try again later, or"
                " name the folder of the files with `root` or JACPROBE_DATA."
            ) from None
        except OSError as error:
            raise DataError(
                f"`{name}` must be downloaded to {str(folder)!r}, which failed for {address}{file}: {_reason(error)}."
                " Check the connection, or name the folder of the files with `root` or JACPROBE_DATA."
            ) from None  # the chain of a connection error is pages long and says no more
    return folder


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep pooch from logging each try: what matters is in the result or the error."""
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
