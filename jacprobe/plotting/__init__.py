"""Figures of spectra, scores and masks: values in, Axes or Figure out. Importing it loads no plotting library."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
