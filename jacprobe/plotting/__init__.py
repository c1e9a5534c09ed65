"""Figures of spectra: values in, Axes or Figure out. Importing this package loads no plotting library."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={"layerdata": ["layers_data"], "layers": ["draw_layers", "plot_layers"]},
)
