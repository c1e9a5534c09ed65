"""Models in which a weight is not simply the parameter of one module: tied, wrapped, or carrying something already."""

import warnings

import pytest
import torch
from masked import KEPT, assert_same, make_masks, make_net, snapshot
from torch import nn
from torch.nn.utils import parametrizations, prune

from jacprobe.masks import Masks, assert_masked, remove_masks


def make_tied():
    net = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
    net[2].weight = net[0].weight
    return net


@pytest.mark.parametrize("name", ["0.weight", "2.weight"])
def test_tied_weights_are_masked_at_every_owner_and_counted_once(name):
    net = make_tied()
    mask = torch.eye(3) > 0
    pruned = Masks({name: mask}).apply(net)
    assert torch.equal(pruned[0].weight, net[0].weight * mask)
    assert torch.equal(pruned[2].weight, net[0].weight * mask)
    assert pruned[0].parametrizations.weight.original is pruned[2].parametrizations.weight.original
    assert Masks.of(pruned) == Masks({"0.weight": mask})
    assert Masks.of(Masks.of(pruned).apply(net)) == Masks.of(pruned)


def test_tied_weights_with_different_masks_are_both_listed():
    net = make_tied()
    for layer, mask in ((net[0], torch.eye(3)), (net[2], torch.ones(3, 3))):
        prune.custom_from_mask(layer, "weight", mask)
    net[2].weight_orig = net[0].weight_orig
    assert Masks.of(net).layer_sparsity() == {"0.weight": 6 / 9, "2.weight": 0.0}


def test_a_module_used_under_two_names_is_masked_once():
    net = nn.Sequential(nn.Linear(3, 3), nn.Tanh())
    net.append(net[0])
    pruned = Masks({"0.weight": torch.eye(3) > 0}).apply(net)
    assert list(Masks.of(pruned)) == ["0.weight"]
    assert len(pruned[0].parametrizations.weight) == 1


def test_a_data_parallel_model_is_masked_by_the_names_of_the_plain_one():
    masks = make_masks()
    pruned = masks.apply(nn.DataParallel(make_net()))
    assert Masks.of(pruned) == masks
    assert Masks.of(nn.DataParallel(masks.apply(make_net()))) == masks
    assert torch.equal(pruned.module[4].weight, make_net()[4].weight * masks["4.weight"])


def test_a_compiled_model_is_masked_by_the_names_of_the_plain_one():
    masks = make_masks()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's compiler warns about itself when it is imported
        compiled = torch.compile(make_net())
    pruned = masks.apply(compiled)
    assert Masks.of(pruned) == masks
    assert torch.equal(pruned._orig_mod[4].weight, make_net()[4].weight * masks["4.weight"])


def test_a_root_parameter_is_masked_by_its_bare_name():
    assert list(Masks.of(Masks({"weight": KEPT}).apply(nn.Linear(3, 2)))) == ["weight"]


def test_masks_of_torch_pruning_are_found():
    net = make_net()
    prune.random_unstructured(net[4], "weight", amount=7)
    prune.random_unstructured(net[6], "bias", amount=1)
    prune.l1_unstructured(net[4], "weight", amount=5)  # pruned twice, a container of both
    found = Masks.of(net)
    assert set(found) == {"4.weight", "6.bias"}
    assert (found["4.weight"].logical_not().sum(), found["6.bias"].logical_not().sum()) == (12, 1)
    assert torch.equal(found["4.weight"], net[4].weight_mask.bool())
    bare = nn.Linear(3, 2)
    prune.custom_from_mask(bare, "weight", KEPT)
    assert Masks.of(bare) == Masks({"weight": KEPT})


def test_a_dense_model_has_no_masks_even_where_a_buffer_is_called_mask():
    net = make_net()
    net.register_buffer("attention_mask", torch.ones(3))
    net[4].register_buffer("weight_mask", torch.ones(5, 12))
    assert Masks.of(net) == Masks({})


def test_other_parametrisations_stay():
    net = nn.Sequential(parametrizations.spectral_norm(nn.Linear(3, 2)))
    before = snapshot(net)
    pruned = Masks({"0.weight": KEPT}).apply(net)
    assert_same(before, snapshot(net))
    assert Masks.of(pruned) == Masks({"0.weight": KEPT})
    assert torch.equal(pruned.eval()[0].weight, net.eval()[0].weight * KEPT)


# models pruned by torch.nn.utils.prune


@pytest.mark.parametrize("run", [False, True], ids=["fresh", "after a forward pass"])
def test_a_model_pruned_by_torch_keeps_the_intersection_and_its_hidden_weights(run):
    net, mask, inputs = make_net().eval(), make_masks()["4.weight"], torch.randn(2, 1, 4, 4)
    theirs = torch.arange(mask.numel()).reshape(mask.shape) % 3 > 0
    dense = net[4].weight.detach().clone()
    prune.custom_from_mask(net[4], "weight", theirs)
    prune.random_unstructured(net[4], "bias", 2)
    if run:
        net(inputs)
    before = snapshot(net)
    pruned = Masks({"4.weight": mask}).apply(net)
    assert_same(before, snapshot(net))
    assert torch.equal(pruned[4].weight, torch.where(mask & theirs, dense, 0))
    assert torch.equal(pruned[4].parametrizations.weight.original, dense)
    assert Masks.of(pruned) == Masks({"4.weight": mask & theirs, "4.bias": net[4].bias_mask.bool()})
    other = make_net().eval()
    with torch.no_grad():
        other[4].weight.mul_(mask & theirs)
        other[4].bias.mul_(net[4].bias_mask)
    assert torch.equal(pruned(inputs), other(inputs))
    assert set(remove_masks(pruned).state_dict()) == set(make_net().state_dict())


def test_the_masks_of_a_model_pruned_by_torch_can_be_applied_to_it_and_hold_under_training():
    net = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    prune.global_unstructured([(net[0], "weight"), (net[1], "weight")], prune.L1Unstructured, amount=5)
    pruned, inputs = Masks.of(net).apply(net), torch.randn(4, 3)
    assert torch.equal(pruned(inputs), net(inputs))
    assert not prune.is_pruned(pruned)
    optimiser = torch.optim.AdamW(pruned.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(5):
        optimiser.zero_grad()
        pruned(inputs).square().sum().backward()
        optimiser.step()
    assert_masked(pruned, Masks.of(net))


def test_tied_weights_pruned_by_torch_stay_tied():
    net = make_tied()
    for layer, removed in ((net[0], 0), (net[2], 1)):
        prune.custom_from_mask(layer, "weight", torch.arange(9).reshape(3, 3) != removed)
    net[2].weight_orig = net[0].weight_orig
    pruned = Masks({"0.weight": torch.eye(3) > 0}).apply(net)
    assert pruned[0].parametrizations.weight.original is pruned[2].parametrizations.weight.original
    assert Masks.of(pruned).layer_sparsity() == {"0.weight": 7 / 9, "2.weight": 6 / 9}


# recurrent networks, which keep a list of their weights


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_a_recurrent_network_computes_with_its_masks_before_and_after_training(kind):
    torch.manual_seed(0)
    net, inputs = kind(3, 4, num_layers=2, bidirectional=True), torch.randn(2, 5, 3)
    masks = Masks({name: torch.rand(p.shape) < 0.5 for name, p in net.named_parameters() if p.ndim == 2})
    pruned, zeroed = masks.apply(net), kind(3, 4, num_layers=2, bidirectional=True)
    zeroed.load_state_dict({name: p * masks.get(name, torch.tensor(True)) for name, p in net.state_dict().items()})
    assert torch.equal(pruned(inputs)[0], zeroed(inputs)[0])
    optimiser = torch.optim.Adam(pruned.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(2):
        optimiser.zero_grad()
        pruned(inputs)[0].square().sum().backward()
        optimiser.step()
    assert_masked(pruned, masks)
    after = pruned(inputs)[0]  # leaves weights in the graph behind
    for other in (remove_masks(pruned), masks.apply(pruned)):
        assert torch.equal(other(inputs)[0], after)
    assert not torch.equal(after, zeroed(inputs)[0])


def test_a_mask_lies_in_memory_as_its_weight_does():
    net = nn.Conv2d(4, 4, 3).to(memory_format=torch.channels_last)
    pruned = Masks({"weight": torch.rand(4, 4, 3, 3) < 0.5}).apply(net)
    assert pruned.weight.stride() == net.weight.stride()
