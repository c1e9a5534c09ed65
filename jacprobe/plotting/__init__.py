"""Figures of spectra: values in, Axes or Figure out. Importing this package loads no plotting library."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
