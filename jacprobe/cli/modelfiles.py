"""Model files that commands write: of the kind that the model came in, with its masks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from jacprobe.checkpoint import Checkpoint


def write_model(net: nn.Module, checkpoint: Checkpoint, path: Path, facts: Mapping[str, object], *, overwrite: bool
                ) -> None:
    """Write a jacprobe checkpoint with `facts` added to its provenance, or the kind of file that the model came in."""
    import jacprobe as jp

    if path.suffix.lower() != ".safetensors" and getattr(net, "jacprobe_spec", None) is not None:
        jp.save_model(net, path, input_shape=checkpoint.input_shape, overwrite=overwrite,
                      provenance={**checkpoint.provenance, **facts})
    elif checkpoint.module is not None and path.suffix.lower() != ".safetensors":
        _write_module(net, path, overwrite=overwrite)
    else:
        jp.write_masks(jp.Masks.of(net), path, format="parametrized", model=net, overwrite=overwrite)


def _write_module(net: nn.Module, path: Path, *, overwrite: bool) -> None:
    """Write a pickled module with the masks of ``torch.nn.utils.prune``: parametrised ones cannot be pickled."""
    import torch
    from torch.nn.utils.prune import custom_from_mask

    import jacprobe as jp
    from jacprobe.atomic import atomic_path
    from jacprobe.modelstate import owned_parameters

    plain = jp.remove_masks(net)
    owners = owned_parameters(plain)
    for name, mask in jp.Masks.of(net).items():
        custom_from_mask(owners[name].module, owners[name].attribute, mask.to(owners[name].tensor.device))
    with atomic_path(path, overwrite=overwrite) as temporary, open(temporary, "wb") as handle:
        torch.save(plain, handle)
