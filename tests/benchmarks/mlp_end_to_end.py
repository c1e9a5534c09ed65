"""Input-output spectra of a tanh MLP on 10,000 images, against ``vmap(jacrev)`` in chunks and ``svdvals``.

    python -m tests.benchmarks.mlp_end_to_end
"""

import copy

import jacprobe as jp

from .duel import best_chunk, detached, duel, error_of, images, jacobian_values, options, record, times


def main(arguments=None):
    given = options(arguments, __doc__, rounds=3)
    inputs, data = images("mnist", 8 if given.small else 10_000, (1, 28, 28), given.device)
    net = jp.build("mlp-7-tanh", input_shape=(1, 28, 28), num_classes=10)
    net = jp.initialize(net, "orthogonal", seed=0).to(given.device)
    function = detached(copy.deepcopy(net))
    chunk = best_chunk(function, inputs, given)
    found = duel(lambda: jp.spectra(net, inputs, kind="end_to_end", progress=False),
                 lambda: jacobian_values(function, inputs, chunk), given)
    few = inputs[:200]
    values = jp.spectra(net, few, kind="end_to_end", progress=False).end_to_end.values
    oracle = jacobian_values(detached(copy.deepcopy(net).double()), few.double(), chunk).cpu()
    return [record(given, "mlp-end-to-end", claim=f"input-output spectra of a tanh MLP-7, {len(inputs):,} images",
                   peer=f"`vmap(jacrev)` in chunks of {chunk} + `svdvals`", ratio=found.ratio, target=10.0, data=data,
                   errors={"error / σ_max": (error_of(values, oracle), 2e-6)}, chunk=chunk, **times(found))]


if __name__ == "__main__":
    main()
