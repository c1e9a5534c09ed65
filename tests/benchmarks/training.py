"""An iteration of training a pruned network, against the plain loop over the same masked network.

    python -m tests.benchmarks.training

The peer is what one writes in torch: batches by index, the masked network as it is, ``torch.optim.SGD`` with momentum
and weight decay. Both make the same updates; how far their losses differ is in the record. A second record compares
with the matrix products alone that no loop can do without.
"""

import os

import torch
from torch import nn

import jacprobe as jp
from jacprobe.training.data import Order

from .duel import duel, images, options, record, times


def labelled(given, num):
    """MNIST where it lies in the folder JACPROBE_DATA, else random images with the labels 0 to 9 in turn."""
    inputs, data = images("mnist", num, (1, 28, 28), given.device)
    if data == "mnist":
        labels = jp.load_data("mnist", num=num, root=os.environ["JACPROBE_DATA"], download=False).labels
        return inputs, labels.to(given.device), data
    return inputs, torch.arange(num, device=given.device) % 10, data


class Eager:
    """The peer: a masked network in a loop of torch."""

    def __init__(self, net, inputs, labels, training, order):
        self.net, self.inputs, self.labels, self.order = net, inputs, labels, order
        self.optimizer = torch.optim.SGD(net.parameters(), lr=training.rate, momentum=training.momentum,
                                         weight_decay=2 * training.l2)
        net.train()

    def run(self, iterations):
        for iteration in range(1, iterations + 1):
            chosen = self.order.batch(iteration)
            self.optimizer.zero_grad()
            loss = nn.functional.cross_entropy(self.net(self.inputs[chosen]), self.labels[chosen])
            loss.backward()
            self.optimizer.step()
        return float(loss.detach())


def products(net, batch):
    """Return a function of the matrix products of one iteration: forward, and backward to weights and activations."""
    weights = [module.weight.detach() for module in net if isinstance(module, nn.Linear)]  # shown through the mask
    pairs = [[weight.new_empty(batch, size).normal_() for size in weight.shape[::-1]] for weight in weights]

    def run():
        for index, (weight, (inputs, outputs)) in enumerate(zip(weights, pairs, strict=True)):
            inputs @ weight.T
            outputs.T @ inputs
            if index:
                outputs @ weight

    return run


def sides(given, num_steps, batch):
    """Return two functions of a number of iterations, jacprobe's and the peer's, which return the last loss."""
    inputs, labels, data = labelled(given, 1_000 if given.small else 20_000)
    net = jp.initialize(jp.build("mlp-7-tanh", input_shape=(1, 28, 28), num_classes=10), "orthogonal", seed=0)
    masks = jp.prune(net, "snip", sparsity=0.9, data=(inputs, labels), prunable="paper")
    pruned = masks.apply(net).to(given.device)
    order = Order(len(inputs), batch, 0)

    def ours(iterations=num_steps):
        training = jp.Training(iterations=iterations, batch_size=batch, log_offset=iterations % 10)
        return float(jp.train(pruned, (inputs, labels), training=training).history["loss"].iloc[-1])

    def peer(iterations=num_steps):
        return Eager(masks.apply(net).to(given.device), inputs, labels, jp.Training(), order).run(iterations)

    return ours, peer, products(pruned, batch), data


def main(arguments=None):
    given = options(arguments, __doc__, rounds=3)
    num_steps, batch = (20, 20) if given.small else (2_000, 100)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the cells of a sweep have it
    try:
        ours, peer, bare, data = sides(given, num_steps, batch)
        early = 20 if given.small else 100  # later, rounding has grown
        expected = peer(early)
        difference = abs(ours(early) - expected) / expected
        against_loop = duel(ours, peer, given)
        against_products = duel(ours, lambda: [bare() for _ in range(num_steps)], given)
    finally:
        torch.set_num_threads(threads)
    work = f"training of a 90 % pruned tanh MLP-7, {num_steps:,} iterations of {batch} images, one thread"
    return [
        record(given, "training", claim=work, peer="the masked network in a loop of torch", ratio=against_loop.ratio,
               target=None if given.small else 1.3, errors={f"loss of iteration {early}": (difference, 1e-4)},
               data=data, **times(against_loop)),
        record(given, "training-products", claim=work, peer="its matrix products alone", ratio=against_products.ratio,
               target=None if given.small else 0.4, errors={}, data=data, **times(against_products)),
    ]


if __name__ == "__main__":
    main()
