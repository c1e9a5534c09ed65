"""The paper's networks by name."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={"names": ["model_names"], "registry": ["build"]},
)
