"""Write files whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jacprobe.errors import DtypeError, JacprobeError, OutputError


def check_output(path: str | os.PathLike, *, overwrite: bool = False) -> Path:
    """Return `path` as a Path after checking that a file can be written there.

    Call it before long work, so that a bad path costs nothing.

    Raises
    ------
    OutputError
        `path` exists and `overwrite` is False, is a folder or a device, cannot be a file name, or its folder is missing
        or not writable.
    DtypeError
        `path` is no path.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise DtypeError(f"`path` must be a string or a path; got {path!r}. Pass the name of a file.")
    path = Path(path)
    present = _is_present(path)
    if path.is_dir():
        raise OutputError(f"`{path}` must name a file; it is a folder. Add a file name.")
    if path.exists() and not path.is_file():
        raise OutputError(f"`{path}` must name a regular file; it is a device or a pipe. Choose another name.")
    if present and not overwrite:
        raise OutputError(f"`{path}` must not exist yet. Choose another name, or pass overwrite=True (--overwrite).")
    if not path.parent.is_dir():
        raise OutputError(f"`{path}` must lie in an existing folder; {str(path.parent)!r} is none. Create it first.")
    try:
        tempfile.TemporaryFile(dir=path.parent).close()  # the only honest test of permission
    except OSError as error:
        raise OutputError(f"`{path.parent}` must be writable; got {error.strerror}. Choose another folder.") from error
    return path


@contextmanager
def atomic_path(path: str | os.PathLike, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path` (same suffix) and move it to `path` when the block ends well.

    Raises
    ------
    OutputError
        As `check_output`, or the file cannot be moved into place.
    """
    path = check_output(path, overwrite=overwrite)
    prefix = f".{path.stem[:50]}-"  # of a long name a part, so that the temporary one is not too long
    handle, name = tempfile.mkstemp(prefix=prefix, suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes private files
        if overwrite:
            os.replace(temporary, path)
        else:
            _move_new(temporary, path)
    except OSError as error:
        if isinstance(error, JacprobeError):  # of the block, about something else
            raise
        raise OutputError(f"`{path}` could not be written: {error.strerror or error}.") from error
    finally:
        temporary.unlink(missing_ok=True)


def _is_present(path: Path) -> bool:
    """Whether anything has this name, a dangling link included."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:  # too long, a null character, a folder that may not be searched
        got = getattr(error, "strerror", error)
        raise OutputError(f"`{path}` must be a path that can be looked up; got {got}. Choose another.") from error
    return True


def _move_new(temporary: Path, path: Path) -> None:
    """Move without ever replacing a file that appeared meanwhile."""
    try:
        os.link(temporary, path)
    except FileExistsError as error:
        raise OutputError(f"`{path}` must not exist yet; it appeared while the result was computed.") from error
    except OSError:  # a file system without hard links
        os.replace(temporary, path)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
