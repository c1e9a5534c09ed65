"""Spectra of all seven layers of a tanh MLP on 1,000 images, against ``vmap(jacrev)`` per layer and ``svdvals``.

    python -m tests.benchmarks.mlp_layers
"""

import copy

import torch
from torch import nn

import jacprobe as jp

from .duel import best_chunk, detached, duel, error_of, images, jacobian_values, options, record, times


def layers_of(net):
    """The layers of the chain, each a weight matrix with the activation behind it."""
    linear = [i for i, module in enumerate(net) if isinstance(module, nn.Linear)]
    return [net[i:j] for i, j in zip(linear, [*linear[1:], len(net)], strict=True)]


def layer_values(functions, inputs, chunks):
    """One spectrum per layer, at the activations of `inputs`, (num_inputs, in_dim)."""
    found = []
    for function, chunk in zip(functions, chunks, strict=True):
        found.append(jacobian_values(function, inputs, chunk))
        with torch.no_grad():
            inputs = torch.func.vmap(function)(inputs)
    return found


def measured(given, method, what, name):
    """The record of one initialiser."""
    inputs, data = images("mnist", 4 if given.small else 1_000, (1, 28, 28), given.device)
    net = jp.build("mlp-7-tanh", input_shape=(1, 28, 28), num_classes=10)
    net = jp.initialize(net, method, seed=0).to(given.device)
    functions = [detached(layer) for layer in layers_of(copy.deepcopy(net))]
    chunks, entering = [], inputs.flatten(1)
    for function in functions:
        chunks.append(best_chunk(function, entering, given))
        entering = torch.func.vmap(function)(entering).detach()
    found = duel(lambda: jp.spectra(net, inputs, kind="layers", progress=False),
                 lambda: layer_values(functions, inputs.flatten(1), chunks), given)
    few = inputs[:100]
    result = jp.spectra(net, few, kind="layers", progress=False)
    exact = [detached(layer) for layer in layers_of(copy.deepcopy(net).double())]
    oracle = layer_values(exact, few.flatten(1).double(), chunks)
    error = max(error_of(result[name].values, values.cpu()) for name, values in zip(result.layers, oracle, strict=True))
    return record(given, name, claim=f"spectra of all 7 layers of a tanh MLP-7, {what}, {len(inputs):,} images",
                  peer="`vmap(jacrev)` per layer + `svdvals`", ratio=found.ratio, target=10.0, data=data,
                  errors={"error / σ_max": (error, 2e-6)}, chunks=chunks, **times(found))


def main(arguments=None):
    given = options(arguments, __doc__)
    return [measured(given, "orthogonal", "orthogonal weights", "mlp-layers"),
            measured(given, "vs-l", "Gaussian weights", "mlp-layers-gaussian")]


if __name__ == "__main__":
    main()
