"""The paper's tables and figures, and sweeps over settings, composed from the other packages."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
