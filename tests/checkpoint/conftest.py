"""Small models and the files made of them."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn


@pytest.fixture
def net() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Tanh(), nn.Linear(3, 2)).eval()


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Save an object with torch.save, its arguments passed on, and return the path."""

    def save(value: object, name: str = "model.pt", **arguments: object) -> Path:
        torch.save(value, tmp_path / name, **arguments)
        return tmp_path / name

    return save


@pytest.fixture
def write_zip(tmp_path: Path) -> Callable[..., Path]:
    """Write a torch.save file whose data.pkl is replaced, with extra entries after it."""

    def save(pickled: bytes | None = None, extra: list[tuple[str, bytes]] | None = None) -> Path:
        original = io.BytesIO()
        torch.save({"weight": torch.ones(2, 2)}, original)
        path = tmp_path / "model.pt"
        with zipfile.ZipFile(original) as source, zipfile.ZipFile(path, "w") as target, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a duplicate name, on purpose
            for name in source.namelist():
                replaced = pickled is not None and name.endswith("data.pkl")
                target.writestr(name, pickled if replaced else source.read(name))
            for name, content in extra or []:
                target.writestr(name, content)
        return path

    return save
