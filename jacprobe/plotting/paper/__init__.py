"""Figures as the paper draws them, measured numbers beside the published ones: DataFrames in, Figure out."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
