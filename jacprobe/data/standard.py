"""The standard data sets by name: find their files, or download them, and read them as bytes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jacprobe.data.cifar import expected_cifar, find_cifar, read_cifar
from jacprobe.data.mnist import expected_mnist, find_mnist, read_mnist
from jacprobe.data.pixels import Pixels
from jacprobe.errors import DataError

_NUM_DIGITS_TRAIN = 1437  # 80 % of the 1,797


class _Format(NamedTuple):
    """Three functions per file layout; what `find` returns is what `read` takes."""

    find: Callable
    expected: Callable
    read: Callable


_MNIST = _Format(find_mnist, expected_mnist, read_mnist)
_FORMATS = {"mnist": _MNIST, "fashion-mnist": _MNIST, "cifar-10": _Format(find_cifar, expected_cifar, read_cifar)}
STANDARD_NAMES = ("digits", *_FORMATS)


def standard_reader(
    name: str, split: str, *, root: str | os.PathLike | None, may_download: bool, progress: bool
) -> Callable[[str], Pixels]:
    """Return a function from split to pixels, for "train" and `split`, once their files are found.

    Raises
    ------
    DataError
        The files are not where they may be, or cannot be downloaded.
    """
    if name == "digits":
        return _digits
    splits = {"train", split}  # the statistics are always those of the training split
    files = _found(name, splits, root, may_download, progress)
    return lambda part: _FORMATS[name].read(files, part)


def _found(
    name: str, splits: set[str], root: str | os.PathLike | None, may_download: bool, progress: bool
) -> NamedTuple:
    """Look in `root` alone if it is given; else in JACPROBE_DATA, and then download or look in the cache."""
    from jacprobe.data.downloads import cache_folder, download  # pooch warns in a notebook without widgets

    folders = [root]
    if root is None:
        environment = os.environ.get("JACPROBE_DATA")
        folders = ([environment] if environment else []) + ([] if may_download else [cache_folder(name)])
    find = _FORMATS[name].find
    for folder in folders:
        if files := find(Path(folder).expanduser(), name, splits):
            return files
    if root is None and may_download:
        return find(download(name, progress=progress), name, splits)
    looked = " or ".join(repr(str(folder)) for folder in folders)
    cure = "Put them there, or name no folder to have them downloaded." if root is not None else "Allow the download."
    what = "`root`" if root is not None else "`JACPROBE_DATA` or the cache"
    raise DataError(f"{what} must hold {name}; {looked} has no {_FORMATS[name].expected(name, splits)}. {cure}")


def _digits(split: str) -> Pixels:
    """Return scikit-learn's handwritten digits, 8 x 8: the first 1,437 to train, the last 360 to test."""
    from sklearn.datasets import load_digits  # a second of imports that no other data set needs

    digits = load_digits()
    part = slice(_NUM_DIGITS_TRAIN) if split == "train" else slice(_NUM_DIGITS_TRAIN, None)
    return Pixels(digits.images[part, None].astype(np.uint8), digits.target[part].astype(np.int64))
