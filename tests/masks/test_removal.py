import copy
import io

import pytest
import torch
from architectures import ARCHITECTURES
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

import jacprobe as jp
from jacprobe.errors import DtypeError, ModelError, ShapeError, UnknownNameError
from jacprobe.masks import Masks, assert_masked, remove_masks
from jacprobe.modelstate import owned_parameters

KEPT = torch.tensor([[True, False, True], [False, False, True]])


def random_masks(net, seed=0):
    generator = torch.Generator().manual_seed(seed)
    masks, seen = {}, set()
    for name, owned in owned_parameters(net).items():
        if id(owned.tensor) not in seen and name.endswith("weight"):
            masks[name] = torch.rand(owned.tensor.shape, generator=generator) < 0.5
        seen.add(id(owned.tensor))
    return Masks(masks)


# remove_masks


@pytest.mark.parametrize("name", ["mlp", "batch norm", "functional", "residual", "attention block", "lstm", "reused",
                                  "transposed convolutions", "lenet-5", "resnet-20", "mlp-7-tanh"])
def test_a_baked_model_computes_the_same_bit_for_bit(name):
    factory, shape, _ = ARCHITECTURES[name]
    torch.manual_seed(0)
    net = factory().eval()
    masks = random_masks(net)
    pruned = masks.apply(net)
    plain = remove_masks(pruned)
    inputs = torch.randn(3, *shape)
    expected, found = pruned(inputs), plain(inputs)
    for one, other in [(expected, found)] if torch.is_tensor(found) else [(expected[0], found[0])]:
        assert torch.equal(one, other)
    assert Masks.of(plain) == Masks({})
    assert set(plain.state_dict()) == set(net.state_dict())
    assert not any(parametrize.is_parametrized(module) for module in plain.modules())
    for key, mask in masks.items():
        assert torch.equal(plain.get_parameter(key), net.get_parameter(key) * mask)
    assert_masked(plain, masks)
    assert Masks.of(pruned) == masks


def test_a_baked_model_can_be_pickled_and_trained():
    plain = remove_masks(Masks({"weight": KEPT}).apply(nn.Linear(3, 2)))
    buffer = io.BytesIO()
    torch.save(plain, buffer)
    plain(torch.ones(1, 3)).sum().backward()
    assert plain.weight.grad.all()


def test_a_model_pruned_by_torch_is_baked_too():
    net = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 2))
    prune.random_unstructured(net[0], "weight", 3)
    prune.random_unstructured(net[0], "bias", 1)
    masks, inputs = Masks.of(net), torch.randn(4, 3)
    plain = remove_masks(net)
    assert torch.equal(plain(inputs), net(inputs))
    assert set(plain.state_dict()) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    assert not plain[0]._forward_pre_hooks
    assert Masks.of(net) == masks
    assert_masked(plain, masks)


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_hidden_values_that_are_not_finite_are_baked_to_zero(value):
    net = nn.Linear(3, 2)
    prune.custom_from_mask(net, "weight", KEPT)
    with torch.no_grad():
        net.weight_orig[~KEPT] = value
    assert torch.equal(remove_masks(net).weight[~KEPT], torch.zeros(3))


def test_tied_weights_stay_tied_and_flags_stay():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)).eval()
    net[1].weight = net[0].weight
    net[0].weight.requires_grad_(False)
    plain = remove_masks(Masks({"0.weight": torch.eye(3) > 0}).apply(net))
    assert plain[0].weight is plain[1].weight
    assert not plain[0].weight.requires_grad
    assert not plain.training


def test_tied_weights_with_different_masks_are_baked_apart():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    for layer, mask in ((net[0], torch.eye(3)), (net[1], torch.ones(3, 3))):
        prune.custom_from_mask(layer, "weight", mask)
    net[1].weight_orig = net[0].weight_orig
    plain = remove_masks(net)
    assert torch.equal(plain[0].weight, net[0].weight_orig * torch.eye(3))
    assert torch.equal(plain[1].weight, net[0].weight_orig)


def test_a_module_under_two_names_is_baked_once():
    net = nn.Sequential(nn.Linear(3, 3), nn.Tanh())
    net.append(net[0])
    plain = remove_masks(Masks({"0.weight": torch.eye(3) > 0}).apply(net))
    assert plain[0] is plain[2]
    assert type(plain[0]) is nn.Linear


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_a_spectral_norm_is_baked_in_where_masked_and_stays_elsewhere(training):
    net = nn.Sequential(*[parametrizations.spectral_norm(nn.Linear(dim, 2)) for dim in (3, 2)])
    pruned = Masks({"0.weight": KEPT}).apply(net)
    before = copy.deepcopy(pruned.state_dict())
    plain = remove_masks(pruned.train(training))
    assert all(torch.equal(tensor, before[name]) for name, tensor in pruned.state_dict().items())
    assert type(plain[0]) is nn.Linear
    assert parametrize.is_parametrized(plain[1], "weight")
    assert plain[0].training == training
    assert torch.equal(plain.eval()(torch.ones(1, 3)), pruned.eval()(torch.ones(1, 3)))


def test_a_dense_model_is_copied():
    net = nn.Linear(3, 2)
    plain = remove_masks(net)
    assert plain is not net
    assert torch.equal(plain.weight, net.weight)


def test_only_modules_can_be_baked():
    with pytest.raises(DtypeError, match=r"`model` must be a torch\.nn\.Module; got dict"):
        remove_masks({})


# assert_masked


def test_one_nonzero_weight_is_found_and_named():
    net = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    masks = Masks({"0.weight": KEPT, "1.weight": torch.eye(2) > 0})
    plain = remove_masks(masks.apply(net))
    assert_masked(plain, masks)
    with torch.no_grad():
        plain[1].weight[0, 1] = 1e-30
    with pytest.raises(ModelError, match=r"`model` must be zero where masks remove; 1\.weight\[0, 1\] is 1e-30 \(1 of "
                                         r"2 removed weights of '1\.weight' are not zero\)\. Apply the masks with"):
        assert_masked(plain, masks)


def test_training_a_baked_model_is_noticed():
    masks = Masks({"weight": KEPT})
    plain = remove_masks(masks.apply(nn.Linear(3, 2)))
    plain(torch.ones(1, 3)).sum().backward()
    torch.optim.SGD(plain.parameters(), lr=0.1).step()
    with pytest.raises(ModelError, match=r"weight\[0, 1\] is -0\.1 \(3 of 3 removed"):
        assert_masked(plain, masks)


def test_a_masked_model_passes_by_its_own_masks_and_by_given_ones():
    masks = Masks({"weight": KEPT})
    for net in (masks.apply(nn.Linear(3, 2)), nn.DataParallel(masks.apply(nn.Linear(3, 2)))):
        assert_masked(net)
        assert_masked(net, masks)


def test_the_stale_product_of_torch_pruning_is_not_what_counts():
    net = nn.Linear(3, 2)
    prune.custom_from_mask(net, "weight", KEPT)
    with torch.no_grad():
        net.weight[0, 1] = 5.0  # until the next forward pass; the pass itself takes it anew
    assert_masked(net)
    with torch.no_grad():
        net.weight_orig[0, 1] = float("inf")
    with pytest.raises(ModelError, match=r"weight\[0, 1\] is nan"):  # inf * 0, as the forward pass has it
        assert_masked(net)


def test_a_tied_owner_without_mask_is_found():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    masks = Masks({"0.weight": torch.eye(3) > 0})
    parametrize.register_parametrization(net[0], "weight", jp.masks.KeepMask(torch.eye(3) > 0))
    with pytest.raises(ModelError, match=r"1\.weight\[0, 1\] is"):
        assert_masked(net, masks)


def test_checking_leaves_the_model_untouched():
    net = nn.Sequential(parametrizations.spectral_norm(nn.Linear(3, 2))).train()
    pruned = Masks({"0.weight": KEPT}).apply(net)
    before = copy.deepcopy(pruned.state_dict())
    assert_masked(pruned)
    assert pruned.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in pruned.state_dict().items())


def test_there_must_be_masks_to_check():
    with pytest.raises(ModelError, match=r"`model` must carry masks where none are given; it carries none\. Pass"):
        assert_masked(nn.Linear(3, 2))


def test_masks_to_check_must_fit():
    with pytest.raises(UnknownNameError, match=r"`masks` must be one of weight, bias; got 'wieght'"):
        assert_masked(nn.Linear(3, 2), Masks({"wieght": KEPT}))
    with pytest.raises(ShapeError, match=r"'bias' is \(2,\) in the model and \(2, 3\) in the masks"):
        assert_masked(nn.Linear(3, 2), Masks({"bias": KEPT}))
    with pytest.raises(DtypeError, match=r"`masks` must hold bool tensors; got torch\.float32 for 'weight'"):
        assert_masked(nn.Linear(3, 2), {"weight": KEPT.float()})
    with pytest.raises(DtypeError, match=r"`model` must be a torch\.nn\.Module; got int"):
        assert_masked(3)


def test_the_public_names_are_those_of_the_package():
    assert (jp.assert_masked, jp.remove_masks) == (assert_masked, remove_masks)
