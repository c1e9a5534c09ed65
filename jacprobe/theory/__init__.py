"""What wide random networks do: mean field, and the spectra to expect. Importing it loads no numerical library."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
