import copy
import io
import warnings

import pytest
import torch
from masked import KEPT, assert_same, make_masks, make_net, snapshot
from torch import nn

from jacprobe.errors import DtypeError, ModelError, ShapeError, UnknownNameError
from jacprobe.masks import Masks


def test_a_masked_model_leads_not_back_into_the_masks():
    masks = Masks({"weight": KEPT})
    net = masks.apply(nn.Linear(3, 2))
    other = masks.apply(nn.Linear(3, 2))
    state = {name: torch.ones_like(tensor) for name, tensor in net.state_dict().items()}
    net.load_state_dict(state)
    assert Masks.of(net).num_kept == 6
    assert torch.equal(masks["weight"], KEPT)
    assert Masks.of(other) == masks


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


def test_masks_are_applied_to_modules_only():
    for act in (Masks({"weight": KEPT}).apply, Masks({"weight": KEPT}).assert_fits, Masks.of):
        with pytest.raises(DtypeError, match=r"`model` must be a torch\.nn\.Module; got dict"):
            act({"weight": torch.ones(2, 3)})


def test_a_program_of_torch_script_is_refused():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated
        scripted = torch.jit.script(nn.Linear(3, 2))
    for act in (Masks({"weight": KEPT}).apply, Masks.of):
        with pytest.raises(ModelError, match=r"must be a module of Python; got RecursiveScriptModule of TorchScript"):
            act(scripted)
