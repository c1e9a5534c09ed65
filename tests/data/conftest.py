"""Small files in the standard layouts, written without the package."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def own_folders(monkeypatch, tmp_path):
    """Keep every test off the folders of the user: no JACPROBE_DATA, and a cache of its own."""
    monkeypatch.delenv("JACPROBE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def data_root():
    """Folder of the real data."""
    if root := os.environ.get("JACPROBE_DATA"):
        return Path(root)
    pytest.skip("JACPROBE_DATA is not set; it names the folder that holds MNIST")


@pytest.fixture
def write_idx():
    """Return a function that writes an array of bytes as an IDX file."""

    def write(path, array):
        array = np.asarray(array, np.uint8)
        content = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
        return path

    return write


@pytest.fixture
def images():
    """Bytes `(N, 4, 5)` by split."""
    rng = np.random.default_rng(0)
    return {"train": rng.integers(0, 256, (12, 4, 5), np.uint8), "t10k": rng.integers(0, 200, (7, 4, 5), np.uint8)}


@pytest.fixture
def write_mnist(write_idx, images):
    """Return a function that writes `images` with the labels 0, 1, 2, … into a folder."""

    def write(folder, joint="-", suffix=".gz"):
        for prefix, array in images.items():
            write_idx(folder / f"{prefix}-images{joint}idx3-ubyte{suffix}", array)
            write_idx(folder / f"{prefix}-labels{joint}idx1-ubyte{suffix}", np.arange(len(array)) % 10)

    return write


@pytest.fixture
def records():
    """Binary CIFAR records `(N, 3073)` by batch, with labels from 0 to 9."""
    rng = np.random.default_rng(1)
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    batches = {name: rng.integers(0, 256, (number + 2, 3073), np.uint8) for number, name in enumerate(names)}
    for batch in batches.values():
        batch[:, 0] %= 10
    return batches
