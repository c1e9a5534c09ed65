"""Isometry on a fixed mask, against the paper's descent with the steps of all layers of one shape side by side.

    python -m tests.benchmarks.repair

The peer is ``method="paper-sgd"``: 10,000 steps at rate 0.1 on unsquared norms in float32, of a Gram matrix and one
more product each. It has no stopping rule, and would not reach the residuals here with more steps either.
"""

import math
import warnings

import torch
from torch import nn

import jacprobe as jp

from .duel import Duel, duel, images, options, record, seconds, times

PEER = "paper-sgd: 10,000 steps, vectorised"


def repaired(pruned, **arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jp.errors.JacprobeWarning)
        return jp.isometrize(pruned, **arguments)


def layer(fan_in, outputs, density, device):
    """One orthogonal layer with a random mask of this density."""
    net = jp.initialize(nn.Linear(fan_in, outputs, bias=False), "orthogonal", seed=0)
    return jp.prune(net, "random", sparsity=1 - density, seed=0).apply(net).to(device)


def versus(pruned, given, **arguments):
    """Return the duel and the tables of both sides."""
    found, peer = {}, {"method": "paper-sgd", **({"max_steps": 200} if given.small else {})}
    times = duel(lambda: found.update(ours=repaired(pruned, **arguments).table),
                 lambda: found.update(peer=repaired(pruned, **peer).table), given, warm=False)
    return times, found["ours"], found["peer"]


def one_layer(given, name, sizes, density, *, limit, target):
    fan_in, outputs = (size // 4 for size in sizes) if given.small else sizes
    found, ours, peer = versus(layer(fan_in, outputs, density * (2 if given.small else 1), given.device), given)
    row, other = ours.iloc[0], peer.iloc[0]
    above = math.sqrt(max(row["score_after"] ** 2 - row["floor"] ** 2, 0))
    return record(given, f"repair-{name}", claim=f"isometry of a {fan_in}×{outputs} layer, {100 * density:g} % kept",
                  peer=f"{PEER}, which ends at {other['score_after']:.2g}", ratio=found.ratio, target=target,
                  errors={"residual above the floor": (above, limit)}, floor=row["floor"],
                  residuals={"jacprobe": row["score_after"], "peer": other["score_after"]}, **times(found))


def mlp(given):
    """The paper's case, all layers after connection sensitivity: beyond what the peer reaches, and by default."""
    net = jp.initialize(jp.build("mlp-7-tanh", width=12 if given.small else 100), "orthogonal", seed=0)
    inputs, data = images("mnist", 20 if given.small else 2_000, (1, 28, 28))
    labels = torch.randint(10, (len(inputs),), generator=torch.Generator().manual_seed(0))
    masks = jp.prune(net, "snip", sparsity=0.9, data=(inputs, labels), prunable="paper", min_kept=1)
    rows = []
    for name, arguments, target in (("mlp", {"tolerance": 0.01}, 10.0), ("mlp-default", {}, None)):
        found, ours, peer = versus(masks.apply(net).to(given.device), given, **arguments)
        worse = float((ours["score_after"] - peer["score_after"]).max())
        scores = {"jacprobe": ours["score_after"].tolist(), "peer": peer["score_after"].tolist()}
        how = "to 0.01 above the floor" if arguments else "by default"
        rows.append(record(given, f"repair-{name}", peer=PEER, data=data, ratio=found.ratio, target=target,
                           claim=f"isometry of all layers of a tanh MLP-7, 90 % pruned, {how}", scores=scores,
                           errors={"largest score above the peer's": (max(worse, 0.0), 1e-5)}, **times(found)))
    return rows


def vgg(given):
    net = jp.initialize(jp.build("vgg16", input_shape=(3, 32, 32), width=4 if given.small else 64), "orthogonal",
                        seed=0)
    inputs = torch.randn(8 if given.small else 128, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(10, (len(inputs),), generator=torch.Generator().manual_seed(0))
    pruned = jp.prune(net, "snip", sparsity=0.9, data=(inputs, labels), min_kept=10).apply(net).to(given.device)
    found = {}
    ours = Duel((seconds(lambda: found.update(result=repaired(pruned)), given.device),), (120.0,))
    table = found["result"].table
    above = float((table["score_after"].pow(2) - table["floor"].pow(2)).clip(0).pow(0.5).max())
    return record(given, "repair-vgg", claim="isometry of all layers of VGG16, 90 % pruned", peer="two minutes",
                  ratio=ours.ratio, target=1.0, errors={"residual above the floor": (above, 0.1)},
                  scores=table["score_after"].tolist(), floors=table["floor"].tolist(), **times(ours))


def main(arguments=None):
    given = options(arguments, __doc__, rounds=1)
    return [one_layer(given, "tall", (784, 100), 0.1, limit=1e-5, target=4.0),
            one_layer(given, "square", (100, 100), 0.2, limit=1e-4, target=None),
            one_layer(given, "sparse", (100, 100), 0.05, limit=1e-5, target=None), *mlp(given), vgg(given)]


if __name__ == "__main__":
    main()
