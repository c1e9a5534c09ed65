"""See how signals propagate through a neural network, dense or pruned.

>>> import jacprobe as jp
>>> net = jp.initialize(jp.build("mlp-7-tanh", input_shape=(1, 8, 8), num_classes=10), "orthogonal", seed=0)
>>> images, labels = jp.load_data("digits", num=100)
>>> round(jp.spectra(net, images).end_to_end.mean, 1)
0.3
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # public names stand in __init__.pyi
