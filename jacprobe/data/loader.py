"""One entry to all data: by the name of a data set or the path of an array file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from jacprobe.data.arrays import ARRAY_SUFFIXES, read_arrays
from jacprobe.data.pixels import channel_statistics, standardised
from jacprobe.data.standard import STANDARD_NAMES, standard_reader
from jacprobe.errors import ArgumentError, DataError, NonFiniteError, UnknownNameError
from jacprobe.randomness import make_generator

_NUM_RANDOM = 100


class Data(NamedTuple):
    """Images `(N, ...)` and labels `(N,)` (int64), or None where there are none."""

    images: Tensor
    labels: Tensor | None

    def __repr__(self) -> str:
        shape, kinds = " x ".join(map(str, self.images.shape)), ""
        if self.labels is not None:
            kinds = f", labels of {len(self.labels.unique())} classes"
        return f"Data({shape} {str(self.images.dtype).removeprefix('torch.')}{kinds or ', no labels'})"


def data_names() -> list[str]:
    """Return the names that `load_data` knows.

    Examples
    --------
    >>> data_names()
    ['digits', 'mnist', 'fashion-mnist', 'cifar-10', 'random']
    """
    return [*STANDARD_NAMES, "random"]


def load_data(
    name: str | os.PathLike,
    *,
    split: str = "train",
    num: int | None = None,
    root: str | os.PathLike | None = None,
    seed: int | None = None,
    input_shape: Sequence[int] | None = None,
    download: bool = True,
    progress: bool = False,
) -> Data:
    """Load images and labels by the name of a data set or the path of an array file.

    Parameters
    ----------
    name
        One of `data_names`, or a path that ends in `.npy`, `.npz`, `.pt` or `.pth`. The standard data sets come as
        float32 images `(N, C, H, W)`, standardised per channel by the mean and standard deviation of the whole
        training split. "random" gives standard-normal images. Array files are taken as they are.
    split
        "train" or "test". Of the 1,797 "digits" the last 360 are for the test. "random" and array files have "train"
        only.
    num
        How many samples; all by default, 100 for "random".
    root
        Folder of the standard files. If given, they must be there. By default the folder named by the environment
        variable JACPROBE_DATA is searched, and what it lacks is downloaded into the user's cache. Only "mnist",
        "fashion-mnist" and "cifar-10" have files.
    seed
        Take the samples in random order without replacement, rather than the first ones in file order. For "random",
        the seed of the images, 0 by default.
    input_shape
        Shape of one image of "random", which needs it. Other data ignore it.
    download
        Whether to download what is not found; files downloaded before are used anyway.
    progress
        Whether to show downloads on stderr.

    Returns
    -------
    Data
        ``images, labels``; the labels are None for "random" and where an array file has none.

    Raises
    ------
    UnknownNameError
        `name` or `split` is not known.
    ArgumentError
        `num` is less than 1 or more than there are, `seed` or `input_shape` is no such thing, or the data have no
        such split. `ShapeError` where an array file holds the wrong shape.
    DataError
        Files are missing or damaged, would need code to be run, or cannot be downloaded.
    DtypeError, NonFiniteError
        An array file holds images that are not floating, or not finite among the chosen.

    Notes
    -----
    Bytes are widened to floats only for the chosen samples. Statistics are computed in float64.

    Examples
    --------
    >>> images, labels = load_data("digits", num=5)
    >>> images.shape, labels.tolist()
    (torch.Size([5, 1, 8, 8]), [0, 1, 2, 3, 4])
    """
    is_array = isinstance(name, (str, os.PathLike)) and Path(name).suffix.lower() in ARRAY_SUFFIXES
    if not is_array and name not in data_names():
        raise UnknownNameError("data", name, data_names(), "A file must end in .npy, .npz, .pt or .pth.")
    _check_split(split, has_test=name in STANDARD_NAMES)
    _check_whole("num", num, 1, "Zero samples give no result.")
    _check_whole("seed", seed, 0, "Use a number such as 0.")
    if is_array:
        return _array_data(Path(name).expanduser(), num, seed)
    if name == "random":
        return _random_data(input_shape, _NUM_RANDOM if num is None else num, seed or 0)
    read = standard_reader(name, split, root=root, may_download=download, progress=progress)
    pixels = read("train")
    mean, std = channel_statistics(pixels.images)
    if not std.all():
        raise DataError(f"`{name}` must vary in every channel; its training images are constant. Fetch it again.")
    if split == "test":
        pixels = read("test")
    chosen = _chosen(len(pixels.images), num, seed).numpy()
    return Data(standardised(pixels.images[chosen], mean, std), torch.from_numpy(pixels.labels[chosen]))


def _array_data(path: Path, num: int | None, seed: int | None) -> Data:
    images, labels = read_arrays(path)
    chosen = _chosen(len(images), num, seed)
    images = images[chosen].contiguous()
    if bad := int((~torch.isfinite(images)).sum()):
        raise NonFiniteError(f"`{path}` must hold finite images; got {bad} NaN or infinite entries. Repair them first.")
    return Data(images, None if labels is None else labels[chosen])


def _random_data(input_shape: Sequence[int] | None, num: int, seed: int) -> Data:
    if input_shape is None:
        raise ArgumentError('`input_shape` must be given for "random"; got None. Give the shape of one image.')
    sizes = input_shape if isinstance(input_shape, Sequence) else ()
    if not sizes or not all(isinstance(size, Integral) and size > 0 for size in sizes):
        raise ArgumentError(f"`input_shape` must hold positive whole numbers; got {input_shape!r}. Try (1, 28, 28).")
    generator = make_generator(seed, purpose="inputs")
    return Data(torch.randn(num, *sizes, generator=generator, dtype=torch.float32), None)


def _chosen(total: int, num: int | None, seed: int | None) -> Tensor:
    """Return the indices of the chosen among `total` samples."""
    if num is not None and num > total:
        raise ArgumentError(f"`num` must be at most the {total} samples there are; got {num}. Ask for fewer.")
    if seed is None:
        return torch.arange(total)[:num]
    return torch.randperm(total, generator=torch.Generator().manual_seed(seed))[:num]


def _check_split(split: str, *, has_test: bool) -> None:
    if split not in ("train", "test"):
        raise UnknownNameError("split", split, ("train", "test"))
    if split == "test" and not has_test:
        raise ArgumentError("`split` must be 'train' for random data and array files; got 'test'. They have no splits.")


def _check_whole(what: str, value: int | None, least: int, cure: str) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, Integral) or not least <= value < 2**63:
        raise ArgumentError(f"`{what}` must be a whole number of at least {least}; got {value!r}. {cure}")
