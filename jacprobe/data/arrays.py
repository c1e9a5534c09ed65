"""Images and labels from an array file: `.npy`, `.npz`, `.pt` or `.pth`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from jacprobe.errors import ArgumentError, DataError, DtypeError, ShapeError

ARRAY_SUFFIXES = (".npy", ".npz", ".pt", ".pth")
_IMAGE_KEYS = ("images", "x")
_LABEL_KEYS = ("labels", "y")


def read_arrays(path: Path) -> tuple[Tensor, Tensor | None]:
    """Return images `(N, ...)` of a floating dtype and labels `(N,)` (int64) or None, as they are in the file.

    An array alone is the images. Of several, those called `images` or `x` and `labels` or `y`; images may have any
    name where they are the only array besides. A `.npy` file is mapped into memory, not read.

    Raises
    ------
    DataError
        The file is missing or damaged, would need code to be run, or does not say which array is the images.
    DtypeError
        The images are not of a floating dtype, or the labels not of an integer dtype.
    ShapeError
        The images have fewer than two dimensions, or the labels are not one per image.
    ArgumentError
        There is no image.
    """
    if not path.is_file():
        fault = "it is a folder" if path.is_dir() else "there is none"
        raise DataError(f"`{path}` must be a file; {fault}. Check the path.")
    content = _torch_content(path) if path.suffix.lower() in (".pt", ".pth") else _numpy_content(path)
    arrays = _named_arrays(content, path)
    label_key = next((key for key in _LABEL_KEYS if key in arrays), None)
    others = [key for key in arrays if key != label_key]
    image_key = next((key for key in _IMAGE_KEYS if key in arrays), others[0] if len(others) == 1 else None)
    if image_key is None:
        names = ", ".join(map(repr, list(arrays)[:5])) or "none"
        raise DataError(f"`{path}` must hold one array of images, or call it 'images' or 'x'; got {names}. Rename one.")
    images = _checked_images(_tensor(arrays[image_key], image_key, path), path)
    if label_key is None:
        return images, None
    return images, _checked_labels(_tensor(arrays[label_key], label_key, path), len(images), path)


def _numpy_content(path: Path) -> object:
    try:
        with path.open("rb") as file:
            if file.read(2) == b"PK":  # a zip archive; opened here since NumPy leaves a damaged one open
                file.seek(0)
                content = np.load(file, allow_pickle=False)
                return {key: content[key] for key in content.files}
        return np.load(path, mmap_mode="c", allow_pickle=False)
    except Exception as error:  # a damaged file raises nearly any of them, tokenizer and zip errors included
        raise DataError(
            f"`{path}` must be an undamaged NumPy file of plain numbers; got {_first_line(error)}. Save it again with"
            " numpy.save or numpy.savez."
        ) from error


def _torch_content(path: Path) -> object:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol")  # of a damaged file; it fails by itself
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file raises nearly any of them, struct.error included
        raise DataError(
            f"`{path}` must be an undamaged file of tensors, read without running code; got {_first_line(error)}."
            " Save tensors alone with torch.save."
        ) from error


def _first_line(error: BaseException) -> str:
    text = str(error).strip().split("\n")[0].split(". ")[0].rstrip(".")
    return text or type(error).__name__


def _named_arrays(content: object, path: Path) -> dict[str, np.ndarray | Tensor]:
    """Return the arrays in `content` by name; `images` and `labels` where it names none."""
    if isinstance(content, (np.ndarray, Tensor)):
        content = {"images": content}
    elif isinstance(content, (tuple, list)) and len(content) == 2:
        content = dict(zip(("images", "labels"), content, strict=True))
    if not isinstance(content, Mapping):
        raise DataError(
            f"`{path}` must hold a tensor, a dict or (images, labels); got {type(content).__name__}. Save one of these."
        )
    return {str(key): value for key, value in content.items() if isinstance(value, (np.ndarray, Tensor))}


def _tensor(array: np.ndarray | Tensor, key: str, path: Path) -> Tensor:
    if isinstance(array, Tensor) and array.layout == torch.strided and not array.is_quantized and not array.is_meta:
        return array.detach()
    if isinstance(array, np.ndarray) and array.dtype.kind in "biufc":
        try:
            return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))
        except TypeError:  # float128 and the like, which torch has not; refused below
            pass
    raise DtypeError(f"`{path}` must hold dense arrays of numbers; got {array.dtype} for {key!r}. Save it as float32.")


def _checked_images(images: Tensor, path: Path) -> Tensor:
    if not images.is_floating_point():
        raise DtypeError(
            f"`{path}` must hold images of a floating dtype; got {str(images.dtype).removeprefix('torch.')}. Convert to"
            " float32 and standardise them first, since array files are taken as they are."
        )
    if images.ndim < 2:
        raise ShapeError(
            f"`{path}` must hold images of shape (N, ...); got {tuple(images.shape)}. Add a batch dimension."
        )
    if images.numel() == 0:
        raise ArgumentError(f"`{path}` must hold at least one sample; got zero samples, shape {tuple(images.shape)}.")
    return images


def _checked_labels(labels: Tensor, num_images: int, path: Path) -> Tensor:
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise DtypeError(f"`{path}` must hold labels of an integer dtype; got {labels.dtype}. Save class numbers.")
    if tuple(labels.shape) != (num_images,):
        raise ShapeError(
            f"`{path}` must hold labels of shape ({num_images},), one per image; got {tuple(labels.shape)}."
            " Save one label per image."
        )
    return labels.to(torch.int64)
