"""Three architectures, pruned by torch.nn.utils.prune as its users do."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from jacprobe.models import build


class Pruned(NamedTuple):
    """A model pruned by torch, its masks read by hand, and inputs."""

    net: nn.Module
    masks: dict[str, Tensor]
    inputs: Tensor
    fresh: Callable[[], nn.Module]


def layers(net):
    return [(name, module) for name, module in net.named_modules() if isinstance(module, (nn.Linear, nn.Conv2d))]


def globally(net):
    prune.global_unstructured([(layer, "weight") for _, layer in layers(net)], prune.L1Unstructured, amount=0.8)


def at_random(net):
    for _, layer in layers(net):
        prune.random_unstructured(layer, "weight", amount=0.5)


def structured(net):
    for _, layer in layers(net)[:-1]:
        prune.ln_structured(layer, "weight", amount=0.25, n=2, dim=0)
    prune.identity(layers(net)[-1][1], "weight")


PRUNERS = {"global": globally, "random": at_random, "structured": structured}
NETWORKS = ("mlp-3-tanh", "lenet-5", "resnet-20")


@pytest.fixture(params=[(network, pruner) for network in NETWORKS for pruner in PRUNERS],
                ids=lambda pair: f"{pair[0]} {pair[1]}")
def pruned(request) -> Pruned:
    network, pruner = request.param
    return make_pruned(network, PRUNERS[pruner])


@pytest.fixture(params=list(zip(NETWORKS, PRUNERS, strict=True)), ids=" ".join)
def pruned_once(request) -> Pruned:
    """Each network once, each time by another pruner."""
    network, pruner = request.param
    return make_pruned(network, PRUNERS[pruner])


def make_pruned(network="mlp-3-tanh", pruner=globally) -> Pruned:
    shape = (1, 12, 12)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = build(network, input_shape=shape).eval()
        pruner(net)
        masks = {f"{name}.weight": layer.weight_mask != 0 for name, layer in layers(net)}
        return Pruned(net, masks, torch.randn(2, *shape), lambda: build(network, input_shape=shape).eval())
