"""See how signals propagate through a neural network, dense or pruned.

>>> import jacprobe as jp
>>> net = jp.initialize(jp.build("mlp-7-tanh", input_shape=(1, 8, 8), num_classes=10), "orthogonal", seed=0)
>>> images, labels = jp.load_data("digits", num=100)
>>> round(jp.spectra(net, images).end_to_end.values.mean().item(), 2) < 1
True
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["checkpoint", "data", "errors", "isometry", "linop", "masks", "models", "plotting", "probe", "pruning",
                "results"],
    submod_attrs={
        "checkpoint": ["load_model", "read_checkpoint", "save_model"],
        "data": ["load_data"],
        "errors": ["JacprobeError"],
        "isometry": ["initialize"],
        "masks": ["Masks"],
        "models": ["build"],
        "plotting": ["draw_layers", "plot_layers"],
        "probe": ["jacobian", "sites", "spectra"],
        "pruning": ["prune"],
        "results": ["Spectrum", "SpectrumSet"],
    },
)
