"""Files of spectra: NumPy archives and parquet, without pickles."""

from __future__ import annotations

import dataclasses
import json
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import torch

from jacprobe.errors import DataError
from jacprobe.results import Spectrum, SpectrumSet

# what a damaged archive makes zipfile and numpy raise: bad header, checksum, compression method, encryption, no data
_UNREADABLE = (OSError, ValueError, TypeError, KeyError, EOFError, NotImplementedError, RuntimeError, SyntaxError,
               zipfile.BadZipFile, zlib.error)
_FACTS = [field.name for field in dataclasses.fields(Spectrum) if field.name not in ("values", "zeros")]


def write_npz(result: SpectrumSet, path: Path) -> None:
    """Write arrays ``values/i`` (num_inputs, rank) and ``zeros/i`` (num_inputs,) and a JSON text ``facts``."""
    arrays = {"facts": np.array(_facts(result))}
    for i, spectrum in enumerate(result):
        if spectrum.values is not None:
            arrays[f"values/{i}"] = spectrum.values.numpy()
            arrays[f"zeros/{i}"] = spectrum.zeros.numpy()
    with open(path, "wb") as file:  # a name would get a second suffix
        np.savez(file, **arrays)


def read_npz(path: Path) -> SpectrumSet:
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:  # numpy leaves a damaged file open
            arrays = {name: archive[name] for name in archive.files}
    except _UNREADABLE as error:
        raise _damaged(path, error) from error
    if "facts" not in arrays:
        raise _damaged(path, "it has no entry 'facts'")

    def values(i: int, _: dict) -> tuple[np.ndarray, np.ndarray] | None:
        return (arrays[f"values/{i}"], arrays[f"zeros/{i}"]) if f"values/{i}" in arrays else None

    return _assemble(path, str(arrays["facts"]), values)


def write_parquet(result: SpectrumSet, path: Path) -> None:
    """Write the tidy frame with a column ``spectrum`` (position in the set); the facts go into the file's metadata."""
    frame = result.frame()
    counts = [0 if s.values is None else s.values.numel() for s in result]
    frame.insert(0, "spectrum", np.repeat(np.arange(len(result)), counts))
    table = pyarrow.Table.from_pandas(frame, preserve_index=False)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), b"jacprobe": _facts(result).encode()})
    pyarrow.parquet.write_table(table, path, write_page_checksum=True)


def read_parquet(path: Path) -> SpectrumSet:
    try:
        table = pyarrow.parquet.read_table(path, page_checksum_verification=True)
        metadata = table.schema.metadata or {}
        if b"jacprobe" not in metadata:
            raise _damaged(path, "it was not written by jacprobe")
        groups = dict(iter(table.to_pandas(ignore_metadata=True).groupby("spectrum")))
    except DataError:
        raise
    except (*_UNREADABLE, pyarrow.ArrowException) as error:
        raise _damaged(path, error) from error

    def values(i: int, facts: dict) -> tuple[np.ndarray, np.ndarray] | None:
        if facts["reason"] is not None:
            return None
        rows: pd.DataFrame = groups[i]
        shape = (facts["num_inputs"], -1)
        return rows["value"].to_numpy().reshape(shape), rows["zero"].to_numpy().reshape(shape).sum(1)

    return _assemble(path, metadata[b"jacprobe"], values)


WRITERS = {".npz": write_npz, ".parquet": write_parquet}
READERS = {".npz": read_npz, ".parquet": read_parquet}


def _facts(result: SpectrumSet) -> str:
    spectra = [{name: getattr(spectrum, name) for name in _FACTS} for spectrum in result]
    return json.dumps({"epsilon": result.epsilon, "model": result.model, "provenance": result.provenance,
                       "spectra": spectra})


def _assemble(path: Path, text: str | bytes, values) -> SpectrumSet:
    try:
        return _result(json.loads(text), values)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise _damaged(path, f"its facts do not fit: {type(error).__name__} {error}") from error


def _result(facts: dict, values) -> SpectrumSet:
    spectra = []
    for i, fields in enumerate(facts["spectra"]):
        arrays = values(i, fields)
        fields["modules"] = tuple(fields["modules"])
        if arrays is not None:
            fields["values"] = torch.from_numpy(np.array(arrays[0]))
            fields["zeros"] = torch.from_numpy(np.array(arrays[1], dtype=np.int64))
        spectra.append(Spectrum(**fields))
    return SpectrumSet(tuple(spectra), facts["epsilon"], facts["model"], facts["provenance"])


def _damaged(path: Path, why: object) -> DataError:
    reason = (str(why).splitlines() or [type(why).__name__])[0].rstrip(".")
    return DataError(f"`{path}` must be a whole file written by SpectrumSet.save; {reason}. Save again.")
