"""Model files: read them without running code from them, build their models, and write jacprobe's own.

==========================  ==========================================================================
file                        what `read_checkpoint` does
==========================  ==========================================================================
jacprobe checkpoint         reads it; the network is rebuilt by name
state dict (torch, any)     reads it; `load_model` needs the network as `model`
safetensors                 the same
pickled module              reads it where it is made of torch.nn classes only, from inert stand-ins
any other pickle            refuses it, naming what it wants; `trust_file=True` runs it
TorchScript, .pt2, package  refuses them always: their modules cannot be hooked, so nothing could be probed
==========================  ==========================================================================
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
