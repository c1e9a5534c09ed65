import copy
import io
import pickle
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from jacprobe.errors import DtypeError, ModelError, ShapeError, UnknownNameError
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


# the value


def test_counts_are_exact():
    masks = Masks({"a": KEPT, "b": torch.zeros(4, dtype=torch.bool)})
    assert (masks.num_prunable, masks.num_kept, masks.sparsity) == (10, 3, 0.7)
    assert masks.layer_sparsity() == {"a": 0.5, "b": 1.0}
    assert repr(masks) == "Masks(2 parameters, 3 of 10 kept, sparsity 0.7)"


@pytest.mark.parametrize("num_removed", range(11))
def test_sparsity_is_the_nearest_float_to_the_removed_share(num_removed):
    masks = Masks({"a": torch.arange(10) >= num_removed})
    assert masks.sparsity == num_removed / 10
    assert masks.layer_sparsity() == {"a": num_removed / 10}


def test_no_masks_and_empty_masks_remove_nothing():
    assert (len(Masks({})), Masks({}).sparsity, Masks({}).layer_sparsity()) == (0, 0.0, {})
    empty = Masks({"a": torch.ones(0, 3, dtype=torch.bool)})
    assert (empty.sparsity, empty.layer_sparsity()) == (0.0, {"a": 0.0})


def test_masks_are_a_mapping_in_the_given_order():
    masks = Masks({"b": KEPT, "a": KEPT})
    assert list(masks) == ["b", "a"]
    assert "a" in masks
    assert "c" not in masks
    with pytest.raises(KeyError):
        masks["c"]


def test_masks_cannot_be_assigned_to():
    masks = Masks({"a": KEPT})
    with pytest.raises(TypeError, match="does not support item assignment"):
        masks["a"] = KEPT
    with pytest.raises(TypeError, match="does not support item assignment"):
        masks._masks["a"] = KEPT
    with pytest.raises(TypeError, match="does not support item deletion"):
        del masks["a"]


def test_nothing_that_went_in_or_came_out_leads_back_into_the_masks():
    given = {"a": KEPT.clone()}
    masks = Masks(given)
    given["a"].fill_(True)
    given["b"] = KEPT
    masks["a"].fill_(True)
    for mask in masks.values():
        mask.fill_(True)
    assert torch.equal(masks["a"], KEPT)
    assert list(masks) == ["a"]


def test_a_masked_model_leads_not_back_into_the_masks():
    masks = Masks({"weight": KEPT})
    net = masks.apply(nn.Linear(3, 2))
    other = masks.apply(nn.Linear(3, 2))
    state = {name: torch.ones_like(tensor) for name, tensor in net.state_dict().items()}
    net.load_state_dict(state)
    assert Masks.of(net).num_kept == 6
    assert torch.equal(masks["weight"], KEPT)
    assert Masks.of(other) == masks


def test_equal_masks_are_equal_whatever_their_order():
    first, second = Masks({"a": KEPT, "b": ~KEPT}), Masks({"b": ~KEPT, "a": KEPT})
    assert first == second
    assert hash(first) == hash(second)
    assert len({first, second}) == 1


@pytest.mark.parametrize(
    "other",
    [
        Masks({"a": ~KEPT}),
        Masks({"b": KEPT}),
        Masks({"a": KEPT, "b": KEPT}),
        Masks({"a": KEPT.reshape(3, 2)}),
        {"a": KEPT},
    ],
    ids=["other entries", "other name", "more names", "other shape", "a dict"],
)
def test_different_masks_differ(other):
    assert Masks({"a": KEPT}) != other


def test_masks_can_be_copied_and_pickled_as_for_workers():
    masks = Masks({"a": KEPT})
    assert copy.deepcopy(masks) == masks
    assert copy.copy(masks) == masks
    assert pickle.loads(pickle.dumps(masks)) == masks


@pytest.mark.parametrize(
    ("mask", "got"),
    [(torch.ones(2), r"torch\.float32"), (torch.ones(2).to(torch.uint8), r"torch\.uint8"), ([True], "list")],
)
def test_masks_must_be_bool_tensors(mask, got):
    with pytest.raises(DtypeError, match=rf"`masks` must hold bool tensors; got {got} for 'fc\.weight'\. Convert with"):
        Masks({"fc.weight": mask})


# masks in a model


def test_pruned_entries_are_zero_and_the_others_are_the_weights():
    net, masks = make_net(), make_masks()
    pruned = masks.apply(net)
    for name, mask in masks.items():
        before, after = net.get_parameter(name), getattr(pruned[int(name[0])], name[2:])
        assert torch.equal(after, before * mask)
        assert not torch.signbit(after[~mask]).any()


def test_the_output_is_that_of_a_model_with_zeros_written_in():
    net, masks = make_net(), make_masks()
    zeroed = copy.deepcopy(net)
    with torch.no_grad():
        for name, mask in masks.items():
            zeroed.get_parameter(name).mul_(mask)
    inputs = torch.randn(4, 1, 4, 4)
    assert torch.equal(masks.apply(net).eval()(inputs), zeroed.eval()(inputs))


def test_the_caller_s_model_is_untouched():
    net = make_net().train()
    net[1].eval()
    net[4].weight.requires_grad_(False)
    net[0].register_forward_hook(lambda *_: None)
    before = snapshot(net)
    pruned = make_masks().apply(net)
    pruned(torch.randn(4, 1, 4, 4, generator=torch.Generator().manual_seed(0))).sum().backward()
    assert_same(before, snapshot(net))
    assert all(parameter.grad is None for parameter in net.parameters())


def test_a_frozen_parameter_stays_frozen_and_flags_are_copied():
    net = make_net().eval()
    net[4].weight.requires_grad_(False)
    pruned = make_masks().apply(net)
    assert not pruned[4].weight.requires_grad
    assert pruned[6].weight.requires_grad
    assert not any(module.training for module in pruned.modules())


OPTIMISERS = {
    "SGD with momentum and decay": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1),
    "Adam with decay": lambda p: torch.optim.Adam(p, lr=0.05, weight_decay=0.1),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.05, weight_decay=0.1),
}


@pytest.mark.parametrize("optimiser", OPTIMISERS.values(), ids=OPTIMISERS)
def test_pruned_weights_stay_zero_under_training_and_the_others_learn(optimiser):
    masks = make_masks()
    pruned = masks.apply(make_net())
    before = {name: getattr(pruned[int(name[0])], name[2:]).detach().clone() for name in masks}
    steps, generator = optimiser(pruned.parameters()), torch.Generator().manual_seed(1)
    for _ in range(20):
        inputs, labels = torch.randn(8, 1, 4, 4, generator=generator), torch.randint(0, 2, (8,), generator=generator)
        steps.zero_grad()
        nn.functional.cross_entropy(pruned(inputs), labels).backward()
        steps.step()
    for name, mask in masks.items():
        after = getattr(pruned[int(name[0])], name[2:])
        assert torch.equal(after[~mask], torch.zeros(int((~mask).sum())))
        assert ((after != before[name]) == mask).all()


def test_no_gradient_reaches_a_pruned_entry():
    pruned = Masks({"weight": KEPT}).apply(nn.Linear(3, 2))
    pruned(torch.ones(1, 3)).sum().backward()
    assert torch.equal(pruned.parametrizations.weight.original.grad, KEPT.float())


@pytest.mark.parametrize("value", [float("inf"), -float("inf"), float("nan")])
def test_an_infinite_hidden_weight_is_zero_and_not_nan(value):
    pruned = Masks({"weight": KEPT}).apply(nn.Linear(3, 2))
    with torch.no_grad():
        pruned.parametrizations.weight.original[~KEPT] = value
    assert torch.equal(pruned.weight[~KEPT], torch.zeros(3))
    pruned(torch.ones(1, 3)).sum().backward()
    assert pruned.parametrizations.weight.original.grad.isfinite().all()


@pytest.mark.parametrize("kept", [False, True], ids=["all removed", "all kept"])
def test_masks_may_remove_all_or_nothing(kept):
    net = nn.Linear(3, 2)
    masks = Masks({name: torch.full(p.shape, kept) for name, p in net.named_parameters()})
    pruned, inputs = masks.apply(net), torch.randn(4, 3)
    assert torch.equal(pruned(inputs), net(inputs) if kept else torch.zeros(4, 2))
    assert Masks.of(pruned) == masks
    assert masks.sparsity == (0.0 if kept else 1.0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.complex64], ids=str)
def test_the_dtype_of_the_weights_stays(dtype):
    pruned = Masks({"weight": KEPT}).apply(nn.Linear(3, 2, dtype=dtype))
    assert pruned.weight.dtype == dtype
    assert pruned.double().weight.dtype == (dtype if dtype.is_complex else torch.float64)


def test_masks_survive_a_state_dict_file_and_a_freshly_masked_model():
    masks, trained = make_masks(), make_net(1)
    pruned = masks.apply(trained)
    file = io.BytesIO()
    torch.save(pruned.state_dict(), file)
    file.seek(0)
    everything = Masks({name: torch.ones_like(mask) for name, mask in masks.items()})
    fresh = everything.apply(make_net(2))
    fresh.load_state_dict(torch.load(file, weights_only=True))
    assert Masks.of(fresh) == masks
    assert everything.sparsity == 0
    inputs = torch.randn(4, 1, 4, 4)
    assert torch.equal(fresh.eval()(inputs), pruned.eval()(inputs))


def test_a_masked_model_can_be_deep_copied():
    pruned = make_masks().apply(make_net())
    copied = copy.deepcopy(pruned)
    assert Masks.of(copied) == make_masks()
    with torch.no_grad():
        copied[4].parametrizations.weight[0].mask.fill_(False)
    assert Masks.of(pruned) == make_masks()


def test_masking_twice_keeps_the_intersection_and_leaves_the_first_model():
    first, second = make_masks(1), make_masks(2)
    once = first.apply(make_net())
    twice = second.apply(once)
    expected = Masks({name: first[name] & second[name] for name in first})
    assert Masks.of(twice) == expected
    assert Masks.of(once) == first
    assert len(twice[4].parametrizations.weight) == 1
    assert torch.equal(twice[4].weight, make_net()[4].weight * expected["4.weight"])


def test_masking_twice_may_bring_new_parameters():
    masked = make_masks(names=["6.weight"]).apply(make_masks(names=["4.weight"]).apply(make_net()))
    assert set(Masks.of(masked)) == {"4.weight", "6.weight"}


def test_masking_another_parameter_of_a_masked_module_leaves_the_first_model_working():
    once = Masks({"weight": KEPT}).apply(nn.Linear(3, 2))
    twice = Masks({"bias": torch.tensor([True, False])}).apply(once)
    assert (twice.bias[1], set(Masks.of(twice))) == (0, {"weight", "bias"})
    assert torch.equal(once.bias, once._parameters["bias"])
    assert once(torch.ones(1, 3)).shape == (1, 2)


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


# bad input


def test_a_mask_must_name_a_parameter():
    with pytest.raises(UnknownNameError, match=r"`masks` must be one of 0\.weight, .+; got '4\.wieght'\. Did you mean"):
        Masks({"4.wieght": KEPT}).apply(make_net())


def test_a_buffer_is_no_parameter():
    with pytest.raises(UnknownNameError, match=r"Masks go by the parameter names of the plain model"):
        Masks({"1.running_mean": torch.ones(3, dtype=torch.bool)}).apply(make_net())


def test_a_mask_must_have_the_shape_of_its_parameter():
    with pytest.raises(ShapeError, match=r"'6\.weight' is \(2, 5\) in the model and \(2, 3\) in the masks\. Use masks"):
        Masks({"6.weight": KEPT}).apply(make_net())


def test_a_model_pruned_by_torch_must_be_made_plain_first():
    net = nn.Linear(3, 2)
    prune.random_unstructured(net, "weight", 0.5)
    with pytest.raises(ModelError, match=r"'weight_orig' shows it\. Call torch\.nn\.utils\.prune\.remove on it first"):
        Masks({"weight": KEPT}).apply(net)


def test_masks_are_applied_to_modules_only():
    with pytest.raises(DtypeError, match=r"`model` must be a torch\.nn\.Module; got dict"):
        Masks({"weight": KEPT}).apply({"weight": torch.ones(2, 3)})
