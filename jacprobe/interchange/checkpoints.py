"""Masks in a checkpoint of jacprobe."""

from __future__ import annotations

from collections.abc import Mapping

from jacprobe.checkpoint.reading import FORMAT, jacprobe_fields
from jacprobe.errors import CheckpointError
from jacprobe.interchange.contents import Content
from jacprobe.interchange.statedicts import Found
from jacprobe.masks import Masks


def is_checkpoint(content: Content) -> bool:
    return isinstance(content.value, Mapping) and content.value.get("format") == FORMAT


def read_jacprobe(content: Content) -> Found:
    """Return the masks of a checkpoint with its provenance; the weights are zero where they remove."""
    if not is_checkpoint(content):
        raise CheckpointError(f"`{content.path}` must be a jacprobe checkpoint; it is none. Leave `format` (`--from`)"
                              " out to detect it.")
    fields = jacprobe_fields(content.value, content.path)
    if not fields["masks"]:
        raise CheckpointError(f"`{content.path}` must hold masks; its model is dense. Name a pruned model.")
    return Found(Masks(fields["masks"], fields["provenance"]), fields["state_dict"])
