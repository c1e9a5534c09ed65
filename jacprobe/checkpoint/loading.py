"""The bytes of a model or mask file, and the object in them, made without running any of it."""

from __future__ import annotations

import hashlib
import json
import pickle
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from jacprobe.checkpoint.archives import read_archive
from jacprobe.checkpoint.opcodes import PickleFacts, list_names, scan_pickle
from jacprobe.checkpoint.revival import ALLOWED_NAMES, MODULE_NAMES, revive, stand_ins_registered
from jacprobe.errors import CheckpointError, JacprobeError, UntrustedFileError

_LEGACY_PICKLES = 5  # magic number, protocol, system, object, storage keys
_TRUST = "pass `trust_file=True` (`--trust-file` at the shell) to run them if you trust who made it"

# What torch's restricted reader raises on damaged or hand-made bytes: its own refusal; torch's and struct's complaints
# on sizes, types and offsets; a stack, memo or storage that is not there; asserts on persistent ids; strings that do
# not decode (a ValueError); nesting without end (a RuntimeError); sizes no memory holds. The same come from making
# modules of a hand-made state.
DAMAGED = (
    pickle.UnpicklingError, RuntimeError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError,
    AssertionError, OverflowError, MemoryError, struct.error,
)
_UNREADABLE = (ValueError, struct.error, IndexError, OverflowError, MemoryError)  # what scanning a pickle raises


def read_file(path: Path) -> tuple[bytes, dict[str, Any]]:
    """Return the bytes of a file, and its path, digest and size by the names of those fields."""
    data = _file_bytes(path)
    return data, {"path": path, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


def _file_bytes(path: Path) -> bytes:
    if path.is_dir():
        raise CheckpointError(f"`{path}` must be a model or mask file; it is a folder. Name the file in it.")
    if not path.exists():
        raise CheckpointError(f"`{path}` must be a model or mask file; there is no such file. Check the path.")
    if not path.is_file():
        raise CheckpointError(f"`{path}` must be a regular file; it is a device or a pipe. Copy it to a file first.")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"`{path}` must be readable; got {error.strerror or error}. Check its owner.") from error
    if not data:
        raise CheckpointError(f"`{path}` must hold a model; it is empty. Copy or save it again.")
    return data


@contextmanager
def whole(path: Path, errors: tuple[type[Exception], ...] = DAMAGED) -> Iterator[None]:
    """Say of what a reader raises in the block that the file is damaged; errors of jacprobe pass."""
    try:
        yield
    except errors as error:
        if isinstance(error, JacprobeError):
            raise
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> CheckpointError:
    reason = (str(error).strip().partition("\n")[0] or type(error).__name__)[:200]
    return CheckpointError(f"`{path}` must be a whole model file; reading it failed ({reason}). Save it again.")


def looks_like_safetensors(data: bytes, path: Path) -> bool:
    return path.suffix == ".safetensors" or (data[8:9] == b"{" and int.from_bytes(data[:8], "little") <= len(data) - 8)


def load_safetensors(data: bytes, path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a safetensors file, at least one, in the order of the file, and its metadata."""
    with whole(path, (safetensors.SafetensorError, ValueError, KeyError, RuntimeError)):
        tensors = safetensors.torch.load(data)  # in any order; checks the header
    if not tensors:
        raise CheckpointError(f"`{path}` must hold tensors; it is a safetensors file with none. Save it again.")
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    metadata = header.pop("__metadata__", None) or {}
    return {name: tensors[name] for name in header}, metadata


def load_object(data: bytes, path: Path, *, trust_file: bool | None) -> tuple[object, tuple[str, ...]]:
    """Return the object in a torch file, revived, and notes; or refuse. None: the caller offers no trust at all."""
    if data.startswith(b"PK\x03\x04"):
        pickles, stream = _archive_pickles(data, path)
        legacy = bare = False
    else:
        pickles, stream = _stream_pickles(data, path), BytesIO(data)
        legacy = len(pickles) == _LEGACY_PICKLES
        bare = not legacy
    notes = ("old torch format, which has no checksum",) if legacy else ()
    if bare and not pickles[0].names:
        raise CheckpointError(f"`{path}` must hold tensors; it is a pickle without any. Save model.state_dict().")
    reason = _refusal(pickles, legacy=legacy, bare=bare, trust="" if trust_file is None else f", or {_TRUST}")
    if reason and trust_file:
        return _run(stream, path, bare=bare), ("read with trust_file: its code was run", *notes)
    if reason:
        raise UntrustedFileError(f"`{path}` {reason}")
    with stand_ins_registered(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's doubts about a damaged pickle; the protocol is checked above
        value = torch.load(stream, map_location="cpu", weights_only=True)
    return named(path, revive, value), notes


def _archive_pickles(data: bytes, path: Path) -> tuple[list[PickleFacts], BytesIO]:
    archive = read_archive(data, path)
    if archive.kind in ("TorchScript", "torch.export", "torch.package"):
        names = {name for content in archive.pickles for name in _scan(content, path).names}
        wants = list_names(names - ALLOWED_NAMES)
        raise UntrustedFileError(
            f"`{path}` must hold weights or a torch.nn module; it is a {archive.kind} program"
            f"{' of ' + wants if wants else ''}, whose modules cannot be hooked, and is refused also with"
            " `trust_file=True` (`--trust-file`). Save the state dict of the Python model and pass its network as"
            " `model`."
        )
    if archive.kind != "torch.save":
        what = "NumPy arrays" if archive.kind == "NumPy" else f"{list_names(archive.entries, limit=3) or 'nothing'}"
        raise CheckpointError(f"`{path}` must be a model file; it is a zip file of {what}. Name a file of torch.save.")
    return [_scan(content, path) for content in archive.pickles], archive.repacked()


def _scan(content: bytes, path: Path) -> PickleFacts:
    with whole(path, _UNREADABLE):
        return scan_pickle(BytesIO(content))


def _stream_pickles(data: bytes, path: Path) -> list[PickleFacts]:
    """Scan the pickles of torch's old format, or the one pickle of a bare pickle file."""
    stream = BytesIO(data)
    try:
        pickles = [scan_pickle(stream)]
    except _UNREADABLE as error:
        raise CheckpointError(f"`{path}` must be a model file; {_guess(data)}") from error
    if pickles[0].integer == torch.serialization.MAGIC_NUMBER:
        while len(pickles) < _LEGACY_PICKLES:
            with whole(path, _UNREADABLE):
                pickles.append(scan_pickle(stream))
    return pickles


def _guess(data: bytes) -> str:
    """Say what a file that holds no pickle seems to be."""
    if data.startswith(b"\x93NUMPY"):
        return "it is a NumPy array. Name a file of torch.save."
    if data.startswith(b"PK"):
        return "it is a damaged zip file. Copy or download it again."
    head = data[:400].decode("utf-8", errors="replace").removesuffix("\ufffd")  # a character may be cut in two
    if all(char.isprintable() or char.isspace() for char in head.removeprefix("\ufeff").replace("\ufffd", "\0")):
        return f"it is text that starts with {head[:40]!r}. A download may have saved an error page."
    return f"its first bytes {data[:8]!r} belong to no format of torch. Save it again with torch.save."


def _refusal(pickles: list[PickleFacts], *, legacy: bool, bare: bool, trust: str) -> str:
    """Return why these pickles cannot be read without trust, as the rest of a sentence; empty where they can."""
    names = frozenset().union(*(facts.names for facts in pickles))
    foreign = names - ALLOWED_NAMES or (names if bare else frozenset())  # the restricted reader reads no bare pickle
    if foreign:
        return (
            f"must hold only tensors and torch.nn modules; it wants {list_names(foreign)}, which could run code. Ask"
            f" for its state dict{trust}."
        )
    protocols = {facts.protocol for facts in pickles}
    if not bare and protocols != {2}:
        return (
            f"must use pickle protocol 2, the one torch's restricted reader knows; it uses {max(protocols - {2})}. Save"
            f" it again with torch.save{trust}."
        )
    if legacy and names & MODULE_NAMES:
        return (
            f"must be of torch's zip format where it holds a whole module; it is of the old one, with"
            f" {list_names(names & MODULE_NAMES)}. Save it again with torch.save{trust}."
        )
    return ""


def _run(stream: BytesIO, path: Path, *, bare: bool) -> object:
    """Unpickle with all that the file asks for; only ever called when the user trusts the file."""
    try:
        return pickle.load(stream) if bare else torch.load(stream, map_location="cpu", weights_only=False)
    except Exception as error:  # code from the file may raise anything
        reason = (str(error).partition("\n")[0])[:200]
        raise CheckpointError(
            f"`{path}` must unpickle here; it raised {type(error).__name__}: {reason}. Make the modules that it names"
            " importable."
        ) from error


def named(path: Path, function: Any, *arguments: Any) -> Any:
    """Call `function` and put the file's name before the message of a CheckpointError."""
    try:
        return function(*arguments)
    except CheckpointError as error:
        raise CheckpointError(f"`{path}` must hold a sound model: {error}. Save it again.") from error
