"""A small network, masks for it, and all of a model that its owner can see."""

import torch
from torch import nn

from jacprobe.masks import Masks

KEPT = torch.tensor([[True, False, True], [False, False, True]])


def make_net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 5), nn.Tanh(), nn.Linear(5, 2)
    )


def make_masks(seed=0, names=("0.weight", "0.bias", "4.weight", "6.weight", "6.bias"), net=None):
    generator = torch.Generator().manual_seed(seed)
    parameters = dict((net or make_net()).named_parameters())
    return Masks({name: torch.rand(parameters[name].shape, generator=generator) < 0.5 for name in names})


def snapshot(model):
    """Return what a caller can see of a model and of the global random state, bit by bit."""
    return (
        {name: (tensor.clone(), tensor.requires_grad) for name, tensor in model.state_dict(keep_vars=True).items()},
        [(type(m), m.training, [len(v) for k, v in vars(m).items() if k.endswith("hooks")]) for m in model.modules()],
        torch.get_rng_state(),
    )


def assert_same(first, second):
    assert first[1] == second[1]
    assert torch.equal(first[2], second[2])
    assert first[0].keys() == second[0].keys()
    for name, (tensor, requires_grad) in first[0].items():
        assert torch.equal(tensor, second[0][name][0])
        assert requires_grad == second[0][name][1]
