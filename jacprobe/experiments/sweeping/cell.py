"""One cell of a sweep: what is measured, and under which settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

from jacprobe.errors import ArgumentError
from jacprobe.provenance import plain_facts


@dataclass(frozen=True, eq=False)
class Cell:
    """The name of a measure and its settings; equal where both are, whatever the order of the settings.

    Parameters
    ----------
    measure
        What is measured.
    settings
        What JSON can hold; read-only afterwards.

    Raises
    ------
    ArgumentError
        `measure` is no name, or JSON cannot hold the settings.

    Examples
    --------
    >>> cell = Cell("spectra", {"network": "mlp-7-tanh", "sparsity": 0.9})
    >>> cell.digest
    '98a6876747aa008e6ff1'
    >>> cell == Cell("spectra", {"sparsity": 0.9, "network": "mlp-7-tanh"})
    True
    """

    measure: str
    settings: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not isinstance(self.measure, str) or not self.measure:
            raise ArgumentError(f"`measure` must be a name; got {self.measure!r}. Use one such as 'spectra'.")
        if not isinstance(self.settings, Mapping):
            raise ArgumentError(f"`settings` must be a mapping of names to values; got {self.settings!r}. Pass a dict.")
        object.__setattr__(self, "settings", MappingProxyType(plain_facts("settings", self.settings)))

    @cached_property
    def text(self) -> str:
        """Canonical JSON of both: sorted names, no spaces."""
        document = {"measure": self.measure, "settings": dict(self.settings)}
        return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @cached_property
    def digest(self) -> str:
        """The first 20 hexadecimal digits of the SHA-256 of `text`."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:20]

    @cached_property
    def columns(self) -> dict[str, Any]:
        """The measure and the settings as columns of a table: nested names are joined by a dot, lists are tuples."""
        return {"measure": self.measure, **_flat(self.settings)}

    def __eq__(self, other: object) -> bool:
        return self.text == other.text if isinstance(other, Cell) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.text)

    def __reduce__(self) -> tuple:
        return Cell, (self.measure, dict(self.settings))  # a read-only mapping cannot be pickled

    def __repr__(self) -> str:
        return f"Cell({self.measure}: {', '.join(f'{name} {value}' for name, value in _flat(self.settings).items())})"


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = _hashable(value)
    return found


def _hashable(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_hashable, value))
    return json.dumps(value, sort_keys=True) if isinstance(value, Mapping) else value
