import inspect
import itertools
import re
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import prune as torch_prune

from jacprobe.errors import ArgumentError, DtypeError, NonFiniteError
from jacprobe.masks import Masks
from jacprobe.pruning import prune

INF = float("inf")


def make_net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 6, bias=False), nn.Linear(6, 3)
    )


def make_data(num=20):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(num, 1, 4, 4, generator=generator), torch.randint(0, 3, (num,), generator=generator)


METHODS = {"random": {}, "magnitude": {}, "snip": {"data": make_data()}}
NUM_WEIGHTS = 36 + 96 + 18


@pytest.mark.parametrize("sparsity", [0, 0.1, 0.5, 0.9, 0.99, 1, 1.0, True])
@pytest.mark.parametrize("method", METHODS)
def test_the_count_is_exact(method, sparsity):
    masks = prune(make_net(), method, sparsity=sparsity, **METHODS[method])
    assert masks.num_prunable == NUM_WEIGHTS
    assert masks.num_prunable - masks.num_kept == round(sparsity * NUM_WEIGHTS)
    assert list(masks) == ["0.weight", "4.weight", "5.weight"]


@pytest.mark.parametrize("method", METHODS)
def test_the_caller_s_model_and_random_state_are_untouched(method):
    net = make_net().train()
    before, state = {name: tensor.clone() for name, tensor in net.state_dict().items()}, torch.get_rng_state()
    prune(net, method, sparsity=0.5, **METHODS[method])
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert all(module.training for module in net.modules())
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_call_gives_the_same_masks(method):
    first = prune(make_net(), method, sparsity=0.7, **METHODS[method])
    torch.manual_seed(99)
    assert prune(make_net(), method, sparsity=0.7, **METHODS[method]) == first


def test_another_seed_gives_another_random_mask_of_the_same_count():
    first, second = (prune(make_net(), "random", sparsity=0.5, seed=seed) for seed in (0, 1))
    assert first != second
    assert first.num_kept == second.num_kept == NUM_WEIGHTS // 2


def test_magnitude_has_one_threshold_for_all_layers():
    net = make_net()
    masks = prune(net, "magnitude", sparsity=0.6)
    kept = torch.cat([net.get_parameter(name)[mask].abs() for name, mask in masks.items()])
    removed = torch.cat([net.get_parameter(name)[~mask].abs() for name, mask in masks.items()])
    assert removed.max() <= kept.min()
    assert len(set(masks.layer_sparsity().values())) == 3


def test_more_sparsity_removes_more_of_the_same():
    masks = [prune(make_net(), "snip", sparsity=sparsity, data=make_data()) for sparsity in (0.3, 0.6, 0.9)]
    for more, less in itertools.pairwise(masks):
        assert all((more[name] | ~less[name]).all() for name in more)


def by_masks(net):
    return prune(net, "random", sparsity=0.5, seed=7).apply(net)


def by_torch(net):
    for module in (net[0], net[4], net[5]):
        torch_prune.random_unstructured(module, "weight", 0.5)
    return net


@pytest.mark.parametrize("first", [by_masks, by_torch])
@pytest.mark.parametrize("method", METHODS)
def test_what_is_removed_stays_removed(first, method):
    once = first(make_net())
    before = Masks.of(once)
    masks = prune(once, method, sparsity=0.8, **METHODS[method])
    assert all((before[name] | ~masks[name]).all() for name in masks)
    assert masks.num_prunable - masks.num_kept == round(0.8 * NUM_WEIGHTS)
    if first is by_masks:
        assert Masks.of(masks.apply(once)) == masks


def test_what_is_removed_goes_before_a_kept_weight_of_score_zero():
    net = nn.Linear(4, 2)
    once = Masks({"weight": torch.tensor([[False, True, True, True], [True, True, True, True]])}).apply(net)
    inputs = torch.tensor([[1.0, 1.0, 1.0, 0.0]])  # the last column has no gradient
    masks = prune(once, "snip", sparsity=1 / 8, data=(inputs, torch.tensor([0])))
    assert masks["weight"].logical_not().nonzero().tolist() == [[0, 0]]


@pytest.mark.parametrize("method", METHODS)
def test_less_than_what_is_removed_cannot_be_asked_for(method):
    once = by_masks(make_net())
    with pytest.raises(ArgumentError, match=r"`sparsity` must be at least 0\.5, which the model's own .+; got 0\.4\. "):
        prune(once, method, sparsity=0.4, **METHODS[method])
    assert prune(once, method, sparsity=0.5, **METHODS[method]) == Masks.of(once)


def test_what_is_removed_stays_removed_also_where_a_score_is_minus_infinity():
    once = Masks({"weight": torch.tensor([[False, True, True, True]])}).apply(nn.Linear(4, 1))
    masks = prune(once, lambda model, names: {"weight": torch.tensor([[9.0, -INF, -INF, -INF]])}, sparsity=0.5)
    assert masks["weight"].tolist() == [[False, True, True, False]]


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.93])
def test_global_magnitude_is_that_of_torch(sparsity):
    net = make_net()
    modules = [(net[0], "weight"), (net[4], "weight"), (net[5], "weight")]
    masks = prune(net, "magnitude", sparsity=sparsity)
    torch_prune.global_unstructured(modules, torch_prune.L1Unstructured, amount=round(sparsity * NUM_WEIGHTS))
    assert masks == Masks.of(net)


@pytest.mark.parametrize("method", METHODS)
def test_a_data_parallel_model_has_the_masks_of_the_plain_one(method):
    masks = prune(nn.DataParallel(make_net()), method, sparsity=0.5, **METHODS[method])
    assert masks == prune(make_net(), method, sparsity=0.5, **METHODS[method])


def test_a_compiled_model_has_the_masks_of_the_plain_one():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's compiler warns about itself when it is imported
        compiled = torch.compile(make_net())
    assert prune(compiled, "magnitude", sparsity=0.5) == prune(make_net(), "magnitude", sparsity=0.5)


# bad input


@pytest.mark.parametrize("sparsity", [-0.1, 1.1, 90, float("nan"), INF, "0.5", None], ids=str)
def test_sparsity_must_be_a_share(sparsity):
    with pytest.raises(ArgumentError, match=r"`sparsity` must lie in \[0, 1\]; got .+\. It is the removed share"):
        prune(make_net(), "random", sparsity=sparsity)


def test_sparsity_is_a_keyword():
    assert inspect.signature(prune).parameters["sparsity"].kind is inspect.Parameter.KEYWORD_ONLY


def test_connection_sensitivity_needs_data():
    with pytest.raises(ArgumentError, match="`data` must be given"):
        prune(make_net(), "snip", sparsity=0.5)


def test_the_model_must_be_sound():
    net = make_net()
    nn.init.constant_(net[5].weight, INF)
    with pytest.raises(NonFiniteError, match=r"'5\.weight' has 18 NaN or infinite of 18 entries"):
        prune(net, "random", sparsity=0.5)
    with pytest.raises(DtypeError, match=r"`model` must be a torch\.nn\.Module"):
        prune({"weight": torch.ones(2)}, "random", sparsity=0.5)


def advised(error):
    """Return the sparsity that a message names."""
    return float(re.search(r"(?:at least |sparsity=)(\d\.\d+),", str(error.value))[1])


def test_the_sparsity_that_a_message_names_is_accepted():
    third = Masks({"weight": torch.arange(300_000).view(300, 1000) >= 100_000})
    net = nn.Linear(1000, 300)
    once = third.apply(net)
    with pytest.raises(ArgumentError, match="must be at least") as error:
        prune(once, "magnitude", sparsity=0.1)
    assert prune(once, "magnitude", sparsity=advised(error)) == third
    for allocation, num_kept in ((third, 200_000), ({"weight": 1 / 3}, 100_000)):
        with pytest.raises(ArgumentError, match=rf"it keeps {num_kept} of 300000\. Pass sparsity=") as error:
            prune(net, "magnitude", sparsity=0.1, allocation=allocation)
        assert prune(net, "magnitude", sparsity=advised(error), allocation=allocation).num_kept == num_kept
