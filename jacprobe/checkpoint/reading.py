"""Read a model file of any kind; run nothing from it unless told to."""

from __future__ import annotations

import hashlib
import os
import pickle
import struct
import warnings
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from jacprobe.checkpoint.archives import read_archive
from jacprobe.checkpoint.contents import Checkpoint
from jacprobe.checkpoint.naming import binary_mask, is_state_dict, plain_module, plain_state, unwrap
from jacprobe.checkpoint.opcodes import PickleFacts, list_names, scan_pickle
from jacprobe.checkpoint.revival import ALLOWED_NAMES, MODULE_NAMES, revive, stand_ins_registered
from jacprobe.errors import CheckpointError, JacprobeError, UntrustedFileError
from jacprobe.masks import Masks

FORMAT = "jacprobe"
VERSION = 1
_LEGACY_PICKLES = 5  # magic number, protocol, system, object, storage keys
_TRUST = "pass `trust_file=True` (`--trust-file` at the shell) to run them if you trust who made it"

# What torch's restricted reader raises on damaged or hand-made bytes: its own refusal; torch's and struct's complaints
# on sizes, types and offsets; a stack, memo or storage that is not there; asserts on persistent ids; strings that do
# not decode (a ValueError); nesting without end (a RuntimeError); sizes no memory holds. The same come from making
# modules of a hand-made state.
_DAMAGED = (
    pickle.UnpicklingError, RuntimeError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError,
    AssertionError, OverflowError, MemoryError, struct.error,
)


def read_checkpoint(path: str | os.PathLike, *, trust_file: bool = False) -> Checkpoint:
    """Read a model file: a jacprobe checkpoint, a state dict, safetensors, or a module made of torch.nn classes.

    Nothing in the file is run: names in its pickles are read before torch sees it, and a file that wants any other
    than those of tensors and torch.nn modules is refused.

    Parameters
    ----------
    path
        The file. It is read as a whole into memory.
    trust_file
        Whether a pickle that wants other classes or functions may import and run them, as ``pickle.load`` does. There
        is no other way to run a file's code. A file that needs none is read in the safe way all the same.

    Raises
    ------
    UntrustedFileError
        The file is a program or wants other names; the message lists them.
    CheckpointError
        The file is missing, empty, damaged, or holds no model.
    """
    path = Path(path)
    data = _file_bytes(path)
    facts = {"path": path, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    if path.suffix == ".safetensors" or _looks_like_safetensors(data):
        return _read_safetensors(data, facts)
    try:
        value, notes = _load(data, path, trust_file=trust_file)
        return _checkpoint(value, notes, facts)
    except _DAMAGED as error:
        if isinstance(error, JacprobeError):
            raise
        raise _damaged(path, error) from error


def _file_bytes(path: Path) -> bytes:
    if path.is_dir():
        raise CheckpointError(f"`{path}` must be a model file; it is a folder. Name the file in it.")
    if not path.exists():
        raise CheckpointError(f"`{path}` must be a model file; there is no such file. Check the path.")
    if not path.is_file():
        raise CheckpointError(f"`{path}` must be a regular file; it is a device or a pipe. Copy it to a file first.")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"`{path}` must be readable; got {error.strerror or error}. Check its owner.") from error
    if not data:
        raise CheckpointError(f"`{path}` must hold a model; it is empty. Copy or save it again.")
    return data


def _damaged(path: Path, error: Exception) -> CheckpointError:
    reason = (str(error).strip().partition("\n")[0] or type(error).__name__)[:200]
    return CheckpointError(f"`{path}` must be a whole model file; reading it failed ({reason}). Save it again.")


def _looks_like_safetensors(data: bytes) -> bool:
    return data[8:9] == b"{" and int.from_bytes(data[:8], "little") <= len(data) - 8


def _read_safetensors(data: bytes, facts: dict[str, Any]) -> Checkpoint:
    path = facts["path"]
    try:
        tensors = safetensors.torch.load(data)
    except (safetensors.SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise _damaged(path, error) from error
    if not tensors:
        raise CheckpointError(f"`{path}` must hold tensors; it is a safetensors file with none. Save it again.")
    state, masks, notes = _named(path, plain_state, tensors)
    return Checkpoint(format="safetensors", state_dict=state, masks=masks, notes=notes, **facts)


def _load(data: bytes, path: Path, *, trust_file: bool) -> tuple[object, tuple[str, ...]]:
    """Return the object in a torch file, revived, and notes; or refuse."""
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
    reason = _refusal(pickles, legacy=legacy, bare=bare)
    if reason and trust_file:
        return _run(stream, path, bare=bare), ("read with trust_file: its code was run", *notes)
    if reason:
        raise UntrustedFileError(f"`{path}` {reason}")
    with stand_ins_registered(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's doubts about a damaged pickle; the protocol is checked above
        value = torch.load(stream, map_location="cpu", weights_only=True)
    return _named(path, revive, value), notes


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
    try:
        return scan_pickle(BytesIO(content))
    except (ValueError, struct.error, IndexError, OverflowError, MemoryError) as error:
        raise _damaged(path, error) from error


def _stream_pickles(data: bytes, path: Path) -> list[PickleFacts]:
    """Scan the pickles of torch's old format, or the one pickle of a bare pickle file."""
    stream = BytesIO(data)
    try:
        pickles = [scan_pickle(stream)]
    except (ValueError, struct.error, IndexError, OverflowError, MemoryError) as error:
        raise CheckpointError(f"`{path}` must be a model file; {_guess(data)}") from error
    if pickles[0].integer == torch.serialization.MAGIC_NUMBER:
        while len(pickles) < _LEGACY_PICKLES:
            try:
                pickles.append(scan_pickle(stream))
            except (ValueError, struct.error, IndexError, OverflowError, MemoryError) as error:
                raise _damaged(path, error) from error
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


def _refusal(pickles: list[PickleFacts], *, legacy: bool, bare: bool) -> str:
    """Return why these pickles cannot be read without trust, as the rest of a sentence; empty where they can."""
    names = frozenset().union(*(facts.names for facts in pickles))
    foreign = names - ALLOWED_NAMES or (names if bare else frozenset())  # the restricted reader reads no bare pickle
    if foreign:
        return (
            f"must hold only tensors and torch.nn modules; it wants {list_names(foreign)}, which could run code. Ask"
            f" for its state dict, or {_TRUST}."
        )
    protocols = {facts.protocol for facts in pickles}
    if not bare and protocols != {2}:
        return (
            f"must use pickle protocol 2, the one torch's restricted reader knows; it uses {max(protocols - {2})}. Save"
            f" it again with torch.save, or {_TRUST}."
        )
    if legacy and names & MODULE_NAMES:
        return (
            f"must be of torch's zip format where it holds a whole module; it is of the old one, with"
            f" {list_names(names & MODULE_NAMES)}. Save it again with torch.save, or {_TRUST}."
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


def _named(path: Path, function: Any, *arguments: Any) -> Any:
    """Call `function` and put the file's name before the message of a CheckpointError."""
    try:
        return function(*arguments)
    except CheckpointError as error:
        raise CheckpointError(f"`{path}` must hold a sound model: {error}. Save it again.") from error


def _checkpoint(value: object, notes: tuple[str, ...], facts: dict[str, Any]) -> Checkpoint:
    """Sort out what the unpickled object is."""
    path = facts["path"]
    if isinstance(value, Mapping) and value.get("format") == FORMAT:
        return Checkpoint(format="jacprobe checkpoint", notes=notes, **_jacprobe_fields(value, path), **facts)
    value, more = unwrap(value)
    notes += more
    if isinstance(value, torch.jit.ScriptModule):
        raise CheckpointError(f"`{path}` must hold a Python module; TorchScript cannot be hooked. Save a state dict.")
    if isinstance(value, nn.Module):
        masks = _named(path, plain_module, value)
        value.state_dict()  # a hand-made module may lack parts or contain itself
        return Checkpoint(format="pickled module", module=value, masks=masks, notes=notes, **facts)
    if is_state_dict(value):
        state, masks, more = _named(path, plain_state, value)
        return Checkpoint(format="state dict", state_dict=state, masks=masks, notes=notes + more, **facts)
    keys = f" with the keys {list_names(map(str, value))}" if isinstance(value, Mapping) and value else ""
    what = f"{type(value).__name__}{keys}"
    raise CheckpointError(f"`{path}` must hold a module or a state dict; got {what}. Save model.state_dict().")


def _jacprobe_fields(payload: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Check the fields of a jacprobe checkpoint and return them."""
    if payload.get("version") != VERSION:
        raise CheckpointError(
            f"`{path}` must be a jacprobe checkpoint of version {VERSION}; got {payload.get('version')!r}."
            " Update jacprobe."
        )
    spec, state, masks, shape = (payload.get(key) for key in ("model", "state_dict", "masks", "input_shape"))
    sound = (
        isinstance(spec, dict) and isinstance(spec.get("name"), str) and isinstance(spec.get("arguments"), dict)
        and is_state_dict(state) and all(isinstance(item, Tensor) for item in state.values())
        and isinstance(masks, dict) and all(name in state and isinstance(masks[name], Tensor) for name in masks)
        and isinstance(shape, list) and all(type(side) is int and side > 0 for side in shape)
        and isinstance(payload.get("provenance"), dict)
    )
    if not sound:
        raise CheckpointError(f"`{path}` must have the fields of a jacprobe checkpoint; some are wrong. Save it again.")
    masks = {name: _named(path, binary_mask, mask, name, state[name]) for name, mask in masks.items()}
    return {
        "spec": spec,
        "state_dict": {n: torch.where(masks[n], t, 0) if n in masks else t for n, t in state.items()},
        "masks": Masks(masks),
        "input_shape": tuple(shape),
        "provenance": payload["provenance"],
    }
