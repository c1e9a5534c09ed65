"""Sweeps: cells of settings, measured once each, on one machine or many, and kept in a folder."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
