"""The names of the networks and what each stands for; imports no torch, so that help texts are cheap."""

from __future__ import annotations

import re

from jacprobe.errors import UnknownNameError

# name: (architecture, its arguments); a caller may replace those that `registry` lists for the architecture
NETWORKS = {
    "mlp-3-linear": ("mlp", {"depth": 3, "activation": "linear"}),
    "mlp-3-tanh": ("mlp", {"depth": 3, "activation": "tanh"}),
    "mlp-3-relu": ("mlp", {"depth": 3, "activation": "relu"}),
    "mlp-3-lrelu": ("mlp", {"depth": 3, "activation": "lrelu"}),
    "mlp-5-linear": ("mlp", {"depth": 5, "activation": "linear"}),
    "mlp-5-tanh": ("mlp", {"depth": 5, "activation": "tanh"}),
    "mlp-5-relu": ("mlp", {"depth": 5, "activation": "relu"}),
    "mlp-5-lrelu": ("mlp", {"depth": 5, "activation": "lrelu"}),
    "mlp-7-linear": ("mlp", {"depth": 7, "activation": "linear"}),
    "mlp-7-tanh": ("mlp", {"depth": 7, "activation": "tanh"}),
    "mlp-7-relu": ("mlp", {"depth": 7, "activation": "relu"}),
    "mlp-7-lrelu": ("mlp", {"depth": 7, "activation": "lrelu"}),
    "lenet-300-100": ("lenet_300_100", {}),
    "lenet-5": ("lenet_5", {}),
    "vgg16": ("vgg16", {"batch_norm": False}),
    "vgg16-bn": ("vgg16", {"batch_norm": True}),
    "resnet-20": ("resnet", {"block_size": 3}),
    "resnet-32": ("resnet", {"block_size": 5}),
    "resnet-56": ("resnet", {"block_size": 9}),
    "resnet-110": ("resnet", {"block_size": 18}),
    "wrn-16-6": ("wrn_16", {"k": 6}),
}


def model_names() -> list[str]:
    """Return the names that `build` takes; wrn-16-6 stands for wrn-16-K with any K >= 1.

    Examples
    --------
    >>> model_names()[-1]
    'wrn-16-6'
    """
    return list(NETWORKS)


def named_network(name: str) -> tuple[str, dict[str, object]]:
    """Return the architecture that `name` stands for, and its arguments.

    Raises
    ------
    UnknownNameError
        No network is called `name`.

    Examples
    --------
    >>> named_network("wrn-16-10")
    ('wrn_16', {'k': 10})
    """
    wide = re.fullmatch(r"wrn-16-([1-9][0-9]{0,5})", name) if isinstance(name, str) else None
    if wide:
        return "wrn_16", {"k": int(wide[1])}
    if name not in model_names():
        raise UnknownNameError("model", name, model_names(), "Of wrn-16-K any K >= 1 will do.")
    architecture, arguments = NETWORKS[name]
    return architecture, dict(arguments)
