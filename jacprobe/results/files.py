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
    """What a file holds: JSON facts with a list ``spectra``, and arrays by position in that list.

    values
        float64 (num_inputs, rank).
    zeros
        int64 (num_inputs,).
    """

    facts: dict
    values: dict[int, np.ndarray]
    zeros: dict[int, np.ndarray]


def write_npz(stored: Stored, path: Path) -> None:
    """Write arrays ``values/i`` and ``zeros/i`` and a JSON text ``facts``."""
    arrays = {"facts": np.array(json.dumps(stored.facts))}
    arrays |= {f"values/{i}": array for i, array in stored.values.items()}
    arrays |= {f"zeros/{i}": array for i, array in stored.zeros.items()}
    with open(path, "wb") as file:  # a name would get a second suffix
        np.savez(file, **arrays)


def read_npz(path: Path) -> Stored:
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:  # numpy leaves a damaged file open
            arrays = {name: archive[name] for name in archive.files}
        facts = json.loads(str(arrays.pop("facts")))
        parts = {kind: {int(name.split("/")[1]): array for name, array in arrays.items() if name.startswith(kind)}
                 for kind in ("values", "zeros")}
    except _UNREADABLE as error:
        raise damaged(path, error) from error
    return Stored(facts, **parts)


def write_parquet(stored: Stored, path: Path) -> None:
    """Write one row per value: position in the set, segment, kind, input, index, value, zero; facts as metadata."""
    columns: dict[str, list[np.ndarray]] = {name: [] for name in ("spectrum", "input", "index", "value", "zero")}
    for i, values in stored.values.items():
        num_inputs, rank = values.shape
        columns["spectrum"].append(np.full(values.size, i, dtype=np.int32))
        columns["input"].append(np.repeat(np.arange(num_inputs, dtype=np.int32), rank))
        columns["index"].append(np.tile(np.arange(rank, dtype=np.int32), num_inputs))
        columns["value"].append(values.ravel())
        columns["zero"].append((np.arange(rank) >= rank - stored.zeros[i][:, None]).ravel())
    empty = {"value": np.float64, "zero": bool}
    flat = {name: np.concatenate([*parts, np.empty(0, empty.get(name, np.int32))]) for name, parts in columns.items()}
    names = {key: pyarrow.array([spectrum[key] for spectrum in stored.facts["spectra"]], "string")
             for key in ("segment", "kind")}
    texts = {key: pyarrow.DictionaryArray.from_arrays(flat["spectrum"], array) for key, array in names.items()}
    table = pyarrow.table({"spectrum": flat.pop("spectrum"), **texts, **flat})
    facts = json.dumps(stored.facts).encode()
    table = table.replace_schema_metadata({b"jacprobe": facts, b"sha256": _digest(facts)})
    pyarrow.parquet.write_table(table, path, write_page_checksum=True)


def read_parquet(path: Path) -> Stored:
    try:
        table = pyarrow.parquet.read_table(path, page_checksum_verification=True)
        metadata = table.schema.metadata or {}
        if _digest(metadata[b"jacprobe"]) != metadata[b"sha256"]:  # pages have checksums, metadata has not
            raise ValueError("its facts do not have their checksum")
        facts = json.loads(metadata[b"jacprobe"])
        spectrum, value, zero = (table[name].to_numpy() for name in ("spectrum", "value", "zero"))
        rows = {int(i): np.flatnonzero(spectrum == i) for i in np.unique(spectrum)}
        shapes = {i: (facts["spectra"][i]["num_inputs"], -1) for i in rows}
        return Stored(
            facts,
            {i: value[rows[i]].reshape(shapes[i]) for i in rows},
            {i: zero[rows[i]].reshape(shapes[i]).sum(1) for i in rows},
        )
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
