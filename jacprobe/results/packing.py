"""A spectrum as plain facts and arrays, for files."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from jacprobe.results.density import Density
from jacprobe.results.moments import Moments
from jacprobe.results.spectrum import Spectrum

_PARTS = {"density": Density, "moments": Moments}
_WHOLE_NUMBERS = ("zeros", "density.zeros")


def pack(spectrum: Spectrum) -> tuple[dict, dict[str, np.ndarray]]:
    """Return JSON facts, and arrays by name: ``values``, ``zeros``, ``lower``, ``upper``, ``density.nodes``, ..."""
    fields = _fields(spectrum)
    fields |= dict(zip(("lower", "upper"), fields.pop("bounds") or (), strict=False))
    for part in _PARTS:
        whole = fields.pop(part)
        fields |= {f"{part}.{name}": value for name, value in _fields(whole).items()} if whole is not None else {}
    arrays = {name: value.numpy() for name, value in fields.items() if isinstance(value, torch.Tensor)}
    facts = {name: value for name, value in fields.items() if name not in arrays}
    return {**facts, "arrays": {name: list(array.shape) for name, array in arrays.items()}}, arrays


def unpack(facts: dict, arrays: dict[str, np.ndarray]) -> Spectrum:
    """Return the spectrum that was packed into these; facts that the file does not know have their defaults."""
    fields = {**facts, "modules": tuple(facts["modules"])}
    before = {} if facts["reason"] else dict.fromkeys(("values", "zeros"))  # in files that do not list their arrays
    for name, shape in (fields.pop("arrays", before)).items():
        array = np.array(arrays[name], dtype=np.int64 if name in _WHOLE_NUMBERS else np.float64)
        fields[name] = torch.from_numpy(array if shape is None else array.reshape(shape))
    if "lower" in fields:
        fields["bounds"] = fields.pop("lower"), fields.pop("upper")
    for part, kind in _PARTS.items():
        inner = [name for name in fields if name.startswith(f"{part}.")]
        if inner:
            fields[part] = kind(**{name.removeprefix(f"{part}."): fields.pop(name) for name in inner})
    return Spectrum(**fields)


def _fields(value: object) -> dict[str, object]:
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
