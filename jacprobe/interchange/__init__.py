"""Mask files: those of jacprobe, and those of the tools that people prune with.

=============  ========================================================================================
format         what is in the file
=============  ========================================================================================
safetensors    jacprobe's own: a bool tensor per parameter name, provenance as metadata
npz            a NumPy archive of 0/1 arrays by parameter name
open-lth       ``mask.pth`` of open_lth: a dict from parameter name to a 0/1 tensor
nni            masks of NNI: a dict from module name to {"weight": tensor, "bias": tensor or None}
torch-prune    state dict or module of ``torch.nn.utils.prune``: ``weight_orig`` and ``weight_mask``
parametrized   state dict with ``parametrizations.weight.original`` and ``.0.mask``, as of ``Masks.apply``
weight-mask    state dict with ``weight`` and ``weight_mask``; read too: ``mask``, ``_mask``, ``keep_mask``,
               ``_weight_mask`` beside ``weight``
checkpoint     the masks in a checkpoint of jacprobe; read only, written by ``save_model``
dense          state dict whose exact zeros are the removed weights
=============  ========================================================================================
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
