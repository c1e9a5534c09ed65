import hashlib

import torch
from torch import nn

from jacprobe.masks import remove_masks
from jacprobe.pruning import prune


def make_net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 6, bias=False), nn.Linear(6, 3)
    )


def by_masks(net):
    return prune(net, "random", sparsity=0.5, seed=7).apply(net)


def test_masks_tell_where_they_come_from():
    masks = prune(make_net(), "magnitude", sparsity=0.75, prunable="paper", protected=[nn.Conv2d], min_kept=2, seed=3)
    found = dict(masks.provenance)
    assert {"jacprobe", "torch"} <= found.pop("versions").keys()
    assert len(found.pop("weights_sha256")) == 64
    assert found == {
        "method": "magnitude", "arguments": {}, "sparsity": 0.75, "prunable": "paper", "protected": ["Conv2d"],
        "allocation": "global", "min_kept": 2, "schedule": "one-shot", "num_rounds": 1, "revival": False,
        "batch_norm": "paper", "seed": 3,
    }


def test_provenance_names_what_is_no_plain_value():
    def alphabetical(model, names):
        return {name: torch.zeros_like(model.get_parameter(name)) for name in names}

    first = prune(make_net(), "random", sparsity=0.5, seed=torch.Generator())
    masks = prune(make_net(), alphabetical, sparsity=0.5, allocation=first, prunable=(name for name in first))
    found = masks.provenance
    assert found["method"].endswith("alphabetical") and found["allocation"] == f"masks {first.digest}"
    assert found["prunable"] == list(first) and first.provenance["seed"] is None


def test_the_hash_is_of_the_weights_as_they_are_scored():
    def digest(net):
        return prune(net, "random", sparsity=0.5).provenance["weights_sha256"]

    net, masked = make_net(), by_masks(make_net())
    assert digest(net) == digest(nn.DataParallel(make_net()))
    assert digest(net) != digest(masked) == digest(remove_masks(masked))
    expected = hashlib.sha256()
    for name in ("0.weight", "4.weight", "5.weight"):
        weight = net.get_parameter(name).detach()
        expected.update(f"{name} torch.float32 {tuple(weight.shape)}\n".encode() + weight.numpy().tobytes())
    assert digest(net) == expected.hexdigest()
