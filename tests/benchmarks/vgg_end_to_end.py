"""Input-output spectra of VGG16 with ten outputs, against its bare forward and backward passes, and ``vmap(jacrev)``.

    python -m tests.benchmarks.vgg_end_to_end
"""

import copy

import torch

import jacprobe as jp

from .duel import best_chunk, detached, duel, error_of, images, jacobian_values, options, record, times


def passes(net, inputs):
    """One forward pass and one backward pass per output, of the whole batch, without gradients of the weights."""
    leaf = inputs.clone().requires_grad_()
    outputs = net(leaf).sum(0)
    for entry in outputs:
        torch.autograd.grad(entry, leaf, retain_graph=True)


def main(arguments=None):
    given = options(arguments, __doc__)
    num, width = (3, 4) if given.small else (64, 64)
    inputs, data = images("cifar-10", num, (3, 32, 32), given.device)
    net = jp.build("vgg16", input_shape=(3, 32, 32), num_classes=10, width=width)
    net = jp.initialize(net, "orthogonal", seed=0).to(given.device)
    bare = copy.deepcopy(net).eval().requires_grad_(False)
    function = detached(bare)
    chunk = best_chunk(function, inputs, given, (4, 16, 64))
    result = jp.spectra(net, inputs[:4], kind="end_to_end", progress=False)
    oracle = jacobian_values(detached(copy.deepcopy(net).double()), inputs[:4].double(), 4).cpu()
    errors = {"error / σ_max": (error_of(result.end_to_end.values, oracle), 1e-5)}

    def ours():
        return jp.spectra(net, inputs, kind="end_to_end", progress=False)

    claim = f"input-output spectra of VGG16, {num} images, 10 outputs"
    least, dense = (duel(ours, peer, given) for peer in (
        lambda: passes(bare, inputs), lambda: jacobian_values(function, inputs, chunk)))
    return [record(given, "vgg-passes", claim=claim, peer="one forward and ten backward passes, without any spectrum",
                   ratio=least.ratio, target=1 / 1.15, data=data, errors=errors, **times(least)),
            record(given, "vgg-jacrev", claim=claim, peer=f"`vmap(jacrev)` in chunks of {chunk} + `svdvals`",
                   ratio=dense.ratio, target=1.5, data=data, errors=errors, chunk=chunk, **times(dense))]


if __name__ == "__main__":
    main()
