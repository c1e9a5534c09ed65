"""MNIST and Fashion-MNIST: where their IDX files lie, and how the two are told apart."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from jacprobe.data.idx import read_idx
from jacprobe.data.pixels import Pixels, checked_pixels
from jacprobe.errors import DataError

FOLDERS = {
    "mnist": ("mnist", "MNIST/raw", "MNIST", "."),
    "fashion-mnist": ("fashion-mnist", "FashionMNIST/raw", "FashionMNIST", "fashion_mnist", "fashion", "."),
}
_PREFIXES = {"train": "train", "test": "t10k"}

# Sum of all training pixels. The files of both sets have the same names and sizes; this tells them apart at no cost.
_TRAIN_SUMS = {"mnist": 1_567_298_545, "fashion-mnist": 3_431_114_169}


class IdxFiles(NamedTuple):
    """The files of one data set: (images, labels) by split."""

    name: str
    paths: dict[str, tuple[Path, Path]]


def find_mnist(root: Path, name: str, splits: set[str]) -> IdxFiles | None:
    """Return the files of `splits` in the first folder of `root` that holds all of them, else None."""
    for folder in FOLDERS[name]:
        paths = {}
        for split in splits:
            images = _find(root / folder, f"{_PREFIXES[split]}-images", "idx3-ubyte")
            labels = _find(root / folder, f"{_PREFIXES[split]}-labels", "idx1-ubyte")
            if images and labels:
                paths[split] = (images, labels)
        if len(paths) == len(splits):
            return IdxFiles(name, paths)
    return None


def _find(folder: Path, stem: str, kind: str) -> Path | None:
    candidates = [folder / f"{stem}{joint}{kind}{suffix}" for suffix in ("", ".gz") for joint in "-."]
    return next((path for path in candidates if path.is_file()), None)


def expected_mnist(name: str, splits: set[str]) -> str:
    """Say which files `find_mnist` looks for, and in which folders of the root."""
    names = [
        f"{_PREFIXES[split]}-{kind}-ubyte[.gz]"
        for split in sorted(splits, reverse=True)  # train first
        for kind in ("images-idx3", "labels-idx1")
    ]
    return f"{', '.join(names)} in it or in its {', '.join(FOLDERS[name][:-1])}"


def read_mnist(files: IdxFiles, split: str) -> Pixels:
    """Return the images `(N, 1, H, W)` and labels of `split`.

    Raises
    ------
    DataError
        A file is damaged, images and labels do not fit, or the training images are those of the other data set.
    """
    images_path, labels_path = files.paths[split]
    images = read_idx(images_path, num_dims=3)
    labels = read_idx(labels_path, num_dims=1).astype(np.int64)
    pixels = checked_pixels(images[:, None], labels, images_path)
    if split == "train":
        total = int(images.sum(dtype=np.int64))
        for other, known in _TRAIN_SUMS.items():
            if other != files.name and total == known:
                raise DataError(
                    f"`{images_path}` must hold {files.name}; its images are those of {other}."
                    f" Keep {files.name} in a folder of its own, {FOLDERS[files.name][0]!r}."
                )
    return pixels
