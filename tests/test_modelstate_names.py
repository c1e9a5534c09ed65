import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from jacprobe.errors import ModelError
from jacprobe.masks import Masks
from jacprobe.modelstate import owned_parameters, plain_name, unwrapped


@pytest.mark.parametrize(
    ("name", "plain"),
    {
        "weight": "weight",
        "fc1.weight": "fc1.weight",
        "parametrizations.weight.original": "weight",
        "fc1.parametrizations.weight.original": "fc1.weight",
        "fc1.weight_orig": "fc1.weight",
        "weight_orig": "weight",
        "module.fc1.weight": "module.fc1.weight",
        "_orig_mod.fc1.weight": "fc1.weight",
        "module._orig_mod.fc1.weight": "module.fc1.weight",
        "_orig_mod.module.fc1.weight": "module.fc1.weight",
        "block._orig_mod.fc1.weight": "block.fc1.weight",
        "module.fc1.parametrizations.weight.original": "module.fc1.weight",
        "module.fc1.weight_orig": "module.fc1.weight",
        "block.module.weight": "block.module.weight",
        "my_module.weight": "my_module.weight",
        "modules.weight": "modules.weight",
        "fc_orig.weight": "fc_orig.weight",
        "fc.weight_original": "fc.weight_original",
        "fc.original": "fc.original",
        "original": "original",
        "original.weight": "original.weight",
        "module": "module",
        "_orig": "_orig",
        "fc.parametrizations.weight.original0": "fc.weight.original0",
    }.items(),
)
def test_a_plain_name_is_free_of_wrappers_only(name, plain):
    assert plain_name(name) == plain


def make_plain():
    return nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))


def make_masked():
    return Masks({"0.weight": torch.eye(3) > 0}).apply(make_plain())


def make_torch_pruned():
    net = make_plain()
    prune.random_unstructured(net[0], "weight", 0.5)
    prune.random_unstructured(net[1], "bias", 0.5)
    return net


def make_compiled():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's compiler warns about itself when it is imported
        return torch.compile(make_plain())


@pytest.mark.parametrize(
    "make",
    [
        make_plain,
        make_masked,
        make_torch_pruned,
        make_compiled,
        lambda: nn.DataParallel(make_plain()),
        lambda: nn.DataParallel(make_masked()),
    ],
    ids=["plain", "masked", "torch-pruned", "compiled", "data-parallel", "masked and data-parallel"],
)
def test_parameters_are_found_by_plain_name_through_every_wrapper(make):
    net = make()
    found = owned_parameters(net)
    assert set(found) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    tensors = dict(unwrapped(net).named_parameters())
    for name, owned in found.items():
        assert tensors[owned.name] is owned.tensor
        assert isinstance(owned.module, nn.Linear)
        assert owned.attribute == name.partition(".")[2]
        assert getattr(owned.module, owned.attribute).shape == owned.tensor.shape


def test_a_parameter_may_really_be_called_original_or_end_in_orig():
    net = nn.Module()
    net.original = nn.Parameter(torch.ones(1))
    net.scale_orig = nn.Parameter(torch.ones(2))
    found = owned_parameters(net)
    assert [(owned.name, owned.attribute) for owned in found.values()] == [("original",) * 2, ("scale_orig",) * 2]
    assert not any(owned.is_torch_pruned() for owned in found.values())


def test_parameters_of_a_weight_norm_go_by_their_own_names():
    found = owned_parameters(nn.Sequential(parametrizations.weight_norm(nn.Linear(2, 2))))
    assert set(found) == {"0.bias", "0.weight.original0", "0.weight.original1"}


def test_tied_parameters_are_listed_under_each_name():
    net = nn.ModuleDict({"encode": nn.Linear(3, 3), "decode": nn.Linear(3, 3)})
    net["decode"].weight = net["encode"].weight
    found = owned_parameters(net)
    assert found["encode.weight"].tensor is found["decode.weight"].tensor
    assert found["decode.weight"].name == "decode.weight"


def test_names_that_coincide_without_wrappers_are_refused():
    net = nn.Module()
    net.weight = nn.Parameter(torch.ones(1))
    net.weight_orig = nn.Parameter(torch.ones(1))
    with pytest.raises(ModelError, match=r"'weight' and 'weight_orig' are both 'weight' without wrappers\. Rename"):
        owned_parameters(net)
