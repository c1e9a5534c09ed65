"""What a monitor with its default settings costs a training loop, against a twentieth of the time of the steps.

    python -m tests.benchmarks.monitor

Calls of the monitor are timed from outside, within the loop of the small network, where the first record, which
surveys the network, counts too. The large network takes few steps: a record is compared with those until the next.
"""

import time

import torch
from torch import nn

import jacprobe as jp

from .duel import images, options, record, seconds

SHARE = 0.05
EVERY = 100  # the default


class Loop:
    """A network in training, batch by batch of the same images."""

    def __init__(self, name, given, *, batch, shape, data, **size):
        net = jp.build(name, input_shape=shape, num_classes=10, **size)
        self.net = jp.initialize(net, "orthogonal", seed=0).to(given.device).train()
        self.inputs, self.data = images(data, batch, shape, given.device)
        self._labels = torch.arange(batch, device=given.device) % 10
        self._optimizer = torch.optim.SGD(self.net.parameters(), lr=1e-3, momentum=0.9)

    def step(self):
        self._optimizer.zero_grad()
        nn.functional.cross_entropy(self.net(self.inputs), self._labels).backward()
        self._optimizer.step()


def small(given):
    """Many fast steps: records that cost more than they may are left out."""
    loop = Loop("mlp-7-tanh", given, batch=100, shape=(1, 28, 28), data="mnist")
    num_steps, make = 200 if given.small else 4_000, jp.Monitor  # which imports it
    for _ in range(10):
        loop.step()
    parts = {"steps": 0.0, "monitor": 0.0}

    def timed(part, function):
        parts[part] += seconds(function, given.device)

    found = {}
    timed("monitor", lambda: found.update(monitor=make(loop.net, loop.inputs)))
    monitor = found["monitor"]
    for _ in range(num_steps):
        timed("steps", loop.step)
        timed("monitor", monitor.step)
    num_records = monitor.frame()["step"].nunique()
    return made(given, "monitor-mlp", f"monitor of MLP-7 at its defaults, {num_steps:,} steps of 100 images",
                parts["monitor"], parts["steps"], data=loop.data, num_records=num_records,
                record_seconds=_one_record(loop, monitor))


def large(given):
    size = {"width": 4} if given.small else {}
    loop = Loop("vgg16", given, batch=8 if given.small else 128, shape=(3, 32, 32), data="cifar-10", **size)
    loop.step()
    begin = time.perf_counter()
    monitor = jp.Monitor(loop.net, loop.inputs)
    first = time.perf_counter() - begin
    step = min(seconds(loop.step, given.device) for _ in range(3))
    taken = _one_record(loop, monitor)
    labels = monitor.frame()["label"].value_counts().to_dict()
    return made(given, "monitor-vgg", f"monitor of VGG16 at its defaults, every {EVERY} steps of 128 images",
                taken, EVERY * step, data=loop.data, first_record_seconds=first, labels=labels)


def _one_record(loop, monitor):
    """Seconds of a record that is made whatever is due."""
    loop.step()
    monitor.step()
    return seconds(monitor.record)


def made(given, name, claim, monitor, steps, **more):
    return record(given, name, claim=claim, peer=f"{SHARE:.0%} of the time of the steps", ratio=SHARE * steps / monitor,
                  target=None if given.small else 1.0, errors={}, share=monitor / steps,
                  seconds={"jacprobe": monitor, "peer": SHARE * steps}, **more)


def main(arguments=None):
    given = options(arguments, __doc__, rounds=1)
    return [small(given), large(given)]


if __name__ == "__main__":
    main()
