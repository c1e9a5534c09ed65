"""Zip files of torch: verified entry by entry, then packed anew."""

from __future__ import annotations

import struct
import zipfile
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from jacprobe.errors import CheckpointError

# What zipfile raises on damaged bytes: bad structure and checksums; unknown methods and flags; offsets and sizes that
# point outside the file; names that do not decode (a ValueError).
_DAMAGED = (
    zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError, OverflowError, IndexError,
    struct.error, zlib.error,
)


@dataclass(frozen=True)
class Archive:
    """The entries of a zip file, all checksums verified."""

    entries: dict[str, bytes]

    @property
    def kind(self) -> str:
        """What wrote the archive: torch.save, TorchScript, torch.export, torch.package, NumPy or something else."""
        ends = {name.partition("/")[2] for name in self.entries}
        if any(name.endswith(".npy") for name in self.entries):
            return "NumPy"
        if "constants.pkl" in ends:
            return "TorchScript"
        if ends & {"archive_format", "models/model.json"} or "serialized_exported_program.json" in self.entries:
            return "torch.export"
        if ".data/extern_modules" in ends:
            return "torch.package"
        return "torch.save" if len([name for name in ends if name == "data.pkl"]) == 1 else "other"

    @property
    def pickles(self) -> list[bytes]:
        """Every entry that is called a pickle, whether a reader would open it or not."""
        return [content for name, content in self.entries.items() if name.endswith((".pkl", ".pickle"))]

    def repacked(self) -> BytesIO:
        """Return the same entries as a new zip file.

        torch reads zip files with another library, which checks no checksum and may take another one of two entries
        of the same name. From this copy it can only read the very bytes that were verified and scanned here.
        """
        packed = BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
            for name, content in self.entries.items():
                archive.writestr(zipfile.ZipInfo(name), content)
        packed.seek(0)
        return packed


def read_archive(data: bytes, path: Path) -> Archive:
    """Read and verify all entries of the zip file in `data`.

    Raises
    ------
    CheckpointError
        The zip file is truncated or damaged, or has two entries of one name.
    """
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            infos = archive.infolist()
            if sum(info.file_size for info in infos) > _expansion_limit(infos, len(data)):
                raise zipfile.BadZipFile("it unpacks to far more than its size")
            entries = {info.filename: archive.read(info) for info in infos}  # checks the CRC of each
    except _DAMAGED as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise CheckpointError(
            f"`{path}` must be a whole zip file; it is truncated or damaged ({reason}). Copy or download it again."
        ) from error
    if len(entries) < len(infos):
        raise CheckpointError(f"`{path}` must name each zip entry once; some appear twice. Save the model again.")
    return Archive(entries)


def _expansion_limit(infos: list[zipfile.ZipInfo], size: int) -> int:
    """Bytes the entries may unpack to: torch.save stores tensors uncompressed, only TorchScript deflates its source."""
    return size if all(info.compress_type == zipfile.ZIP_STORED for info in infos) else 10 * size
