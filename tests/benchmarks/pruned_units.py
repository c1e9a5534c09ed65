"""Probing a network half of whose units are dead after pruning, against probing the same network dense.

    python -m tests.benchmarks.pruned_units
"""

import copy

import torch
from torch import nn

import jacprobe as jp

from .duel import detached, duel, error_of, images, jacobian_values, options, record, times
from .mlp_layers import layer_values, layers_of


def half_dead(net):
    """Masks that remove all weights into every other hidden unit, and its bias, so that it always is 0."""
    masks = {}
    *hidden, _ = [(name, module) for name, module in net.named_modules() if isinstance(module, nn.Linear)]
    for name, module in hidden:
        kept = torch.arange(module.out_features) % 2 == 0
        masks[f"{name}.weight"] = kept.unsqueeze(1).expand_as(module.weight).clone()
        masks[f"{name}.bias"] = kept
    return jp.Masks(masks)


def main(arguments=None):
    given = options(arguments, __doc__)
    width, num = (10, 4) if given.small else (400, 100)
    inputs, data = images("mnist", num, (1, 28, 28), given.device)
    net = jp.build("mlp-5-tanh", input_shape=(1, 28, 28), num_classes=10, width=width)
    net = jp.initialize(net, "vs-l", seed=0)
    pruned, net = half_dead(net).apply(net).to(given.device), net.to(given.device)
    found = duel(lambda: jp.spectra(pruned, inputs, progress=False),
                 lambda: jp.spectra(net, inputs, progress=False), given)
    few = inputs[:5]
    result = jp.spectra(pruned, few, progress=False)
    exact = copy.deepcopy(pruned).double()
    oracle = layer_values([detached(layer) for layer in layers_of(exact)], few.flatten(1).double(), [5] * 5)
    oracle.append(jacobian_values(detached(exact), few.double(), 5))
    error = max(error_of(spectrum.values, values.cpu()) for spectrum, values in zip(result, oracle, strict=True))
    return [record(given, "pruned-units", ratio=found.ratio, target=1.5, data=data,
                   claim=f"all spectra of a tanh MLP-5 of width {width}, half of whose units are dead, {num} images",
                   peer="jacprobe on the same network dense", errors={"error / σ_max": (error, 2e-6)}, **times(found))]


if __name__ == "__main__":
    main()
