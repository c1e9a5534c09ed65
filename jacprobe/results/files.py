"""Files of spectra as plain arrays and facts: NumPy archives and parquet, without pickles."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow
import pyarrow.parquet

from jacprobe.errors import DataError

# what a damaged archive makes zipfile and numpy raise: bad header, checksum, compression method, encryption, no data
_UNREADABLE = (OSError, ValueError, TypeError, KeyError, EOFError, NotImplementedError, RuntimeError, SyntaxError,
               zipfile.BadZipFile, zlib.error)


class Stored(NamedTuple):
    """What a file holds: JSON facts with a list ``spectra``, and arrays by name and position in that list.

    The first axis of every array is the inputs. ``values`` (num_inputs, count) and ``zeros`` (num_inputs,) are what
    most spectra have.
    """

    facts: dict
    arrays: dict[tuple[str, int], np.ndarray]


def write_npz(stored: Stored, path: Path) -> None:
    """Write arrays ``values/i``, ``zeros/i``, ``density.nodes/i``, ... and a JSON text ``facts``."""
    arrays = {f"{name}/{i}": array for (name, i), array in stored.arrays.items()}
    with open(path, "wb") as file:  # a name would get a second suffix
        np.savez(file, facts=np.array(json.dumps(stored.facts)), **arrays)


def read_npz(path: Path) -> Stored:
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:  # numpy leaves a damaged file open
            arrays = {name: archive[name] for name in archive.files}
        facts = json.loads(str(arrays.pop("facts")))
        parts = {tuple(name.split("/")): array for name, array in arrays.items() if "/" in name}
        return Stored(facts, {(name, int(i)): array for (name, i), array in parts.items()})
    except _UNREADABLE as error:
        raise damaged(path, error) from error


def write_parquet(stored: Stored, path: Path) -> None:
    """Write one row per number: position in the set, segment, kind, part, input, index, value, zero; facts as metadata.

    ``part`` is the name of the array; the singular values are those of the part "values". ``zero`` marks the
    structural zeros among them.
    """
    keys = ("spectrum", "part", "input", "index", "value", "zero")
    columns: dict[str, list[np.ndarray]] = {key: [] for key in keys}
    names = list(dict.fromkeys(name for name, _ in stored.arrays))
    for (name, i), array in stored.arrays.items():
        per_input = array.reshape(len(array), -1)
        num_inputs, count = per_input.shape
        columns["spectrum"].append(np.full(array.size, i, dtype=np.int32))
        columns["part"].append(np.full(array.size, names.index(name), dtype=np.int32))
        columns["input"].append(np.repeat(np.arange(num_inputs, dtype=np.int32), count))
        columns["index"].append(np.tile(np.arange(count, dtype=np.int32), num_inputs))
        columns["value"].append(array.ravel().astype(np.float64))
        columns["zero"].append(_zero_flags(stored, i, num_inputs, count) if name == "values"
                               else np.zeros(array.size, dtype=bool))
    empty = {"value": np.float64, "zero": bool}
    flat = {name: np.concatenate([*parts, np.empty(0, empty.get(name, np.int32))]) for name, parts in columns.items()}
    texts = {key: _texts(flat["spectrum"], [spectrum[key] for spectrum in stored.facts["spectra"]])
             for key in ("segment", "kind")}
    part = _texts(flat.pop("part"), names)
    table = pyarrow.table({"spectrum": flat.pop("spectrum"), **texts, "part": part, **flat})
    facts = json.dumps(stored.facts).encode()
    table = table.replace_schema_metadata({b"jacprobe": facts, b"sha256": _digest(facts)})
    pyarrow.parquet.write_table(table, path, write_page_checksum=True)


def _zero_flags(stored: Stored, i: int, num_inputs: int, count: int) -> np.ndarray:
    facts, zeros = stored.facts["spectra"][i], stored.arrays.get(("zeros", i), np.zeros(num_inputs, dtype=np.int64))
    return (np.arange(count) >= min(facts["out_dim"], facts["in_dim"]) - zeros[:, None]).ravel()


def _texts(indices: np.ndarray, texts: list[str]) -> pyarrow.DictionaryArray:
    return pyarrow.DictionaryArray.from_arrays(indices, pyarrow.array(texts, "string"))


def read_parquet(path: Path) -> Stored:
    try:
        table = pyarrow.parquet.read_table(path, page_checksum_verification=True)
        metadata = table.schema.metadata or {}
        if _digest(metadata[b"jacprobe"]) != metadata[b"sha256"]:  # pages have checksums, metadata has not
            raise ValueError("its facts do not have their checksum")
        facts = json.loads(metadata[b"jacprobe"])
        spectrum, value, zero = (table[name].to_numpy() for name in ("spectrum", "value", "zero"))
        if "part" not in table.column_names:  # as version 0.1 wrote it: values only
            rows = {int(i): np.flatnonzero(spectrum == i) for i in np.unique(spectrum)}
            shapes = {i: (facts["spectra"][i]["num_inputs"], -1) for i in rows}
            arrays = {("values", i): value[rows[i]].reshape(shapes[i]) for i in rows}
            return Stored(facts, arrays | {("zeros", i): zero[rows[i]].reshape(shapes[i]).sum(1) for i in rows})
        part = table["part"].to_numpy()
        rows = {(name, i): np.flatnonzero((spectrum == i) & (part == name))
                for i, spectrum_ in enumerate(facts["spectra"]) for name in spectrum_["arrays"]}
        return Stored(facts, {key: value[row] for key, row in rows.items()})
    except (OSError, pyarrow.ArrowException, ValueError, KeyError, TypeError, IndexError) as error:
        raise damaged(path, error) from error


def _digest(facts: bytes) -> bytes:
    return hashlib.sha256(facts).hexdigest().encode()


WRITERS = {".npz": write_npz, ".parquet": write_parquet}
READERS = {".npz": read_npz, ".parquet": read_parquet}


def damaged(path: Path, why: Exception) -> DataError:
    reason = (str(why).splitlines() or [""])[0].rstrip(".")
    reason = f"its part {reason} is missing" if isinstance(why, KeyError) else reason or type(why).__name__
    return DataError(f"`{path}` must be a whole file written by SpectrumSet.save; {reason}. Save again.")
