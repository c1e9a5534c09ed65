"""Masks: which weights of a model are kept, as a read-only value; applied, compared, checked and baked in."""

from jacprobe.masks.checking import assert_masked
from jacprobe.masks.parametrisation import KeepMask
from jacprobe.masks.removal import remove_masks
from jacprobe.masks.value import Masks

__all__ = ["KeepMask", "Masks", "assert_masked", "remove_masks"]
