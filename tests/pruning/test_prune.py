import hashlib
import inspect
import itertools
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils import prune as torch_prune

from jacprobe.errors import ArgumentError, DtypeError, ModelError, NonFiniteError, ShapeError, UnknownNameError
from jacprobe.masks import Masks, remove_masks
from jacprobe.pruning import prune, scores
from jacprobe.pruning.methods import METHODS as ALL_METHODS
from jacprobe.pruning.scores import SCORES

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

# prune


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


def test_a_callable_scores_as_a_name_does():
    def smallest_index(model, names):
        assert names == ["0.weight", "4.weight", "5.weight"]
        weights = {name: model.get_parameter(name) for name in names}
        return {name: -torch.arange(weight.numel()).view_as(weight) for name, weight in weights.items()}

    masks = prune(make_net(), smallest_index, sparsity=0.9)
    assert masks.num_kept == 15
    assert all(mask.flatten()[:5].all() for mask in masks.values())


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


# how many of each layer


@pytest.mark.parametrize("sparsity", [0, 0.1, 0.5, 0.77])
@pytest.mark.parametrize("allocation", ["global", "uniform", "erk", "uniform-plus", "igq", "smart-ratio"])
@pytest.mark.parametrize("prunable", ["weights", "paper"])
def test_the_count_is_exact_for_every_allocation(allocation, sparsity, prunable):
    if (allocation, sparsity) == ("uniform-plus", 0.77):
        sparsity = 0.6  # its first convolution stays dense
    masks = prune(make_net(), "random", sparsity=sparsity, allocation=allocation, prunable=prunable)
    assert masks.num_prunable - masks.num_kept == round(sparsity * masks.num_prunable)


def test_a_uniform_allocation_removes_the_lowest_of_each_layer():
    net = make_net()
    masks = prune(net, "magnitude", sparsity=0.5, allocation="uniform")
    assert masks.layer_sparsity() == dict.fromkeys(masks, 0.5)
    for name, mask in masks.items():
        weight = net.get_parameter(name).abs()
        assert weight[mask].min() >= weight[~mask].max()


def test_the_allocation_of_another_mask_gives_random_masks_of_its_layer_densities():
    first = prune(make_net(), "snip", sparsity=0.8, data=make_data())
    control = prune(make_net(), "random", sparsity=0.8, allocation=first)
    assert control != first and control.layer_sparsity() == first.layer_sparsity()


def test_protected_layers_are_never_pruned_and_do_not_count():
    masks = prune(make_net(), "magnitude", sparsity=1, protected=[nn.Conv2d])
    assert list(masks) == ["4.weight", "5.weight"] and masks.num_kept == 0
    assert prune(make_net(), "random", sparsity=1, protected=iter(["4.*"])).num_prunable == NUM_WEIGHTS - 96


@pytest.mark.parametrize("allocation", ["global", "uniform", "erk", "igq"])
@pytest.mark.parametrize("prunable", ["weights", "paper"])
def test_every_layer_keeps_its_minimum_and_the_total_is_exact(allocation, prunable):
    def favours_the_first(model, names):
        return {name: torch.full_like(model.get_parameter(name), -i) for i, name in enumerate(names)}

    masks = prune(make_net(), favours_the_first, sparsity=0.9, allocation=allocation, min_kept=4, prunable=prunable)
    kept = {name: int(mask.sum()) for name, mask in masks.items() if name.endswith("weight")}
    assert masks.num_kept == masks.num_prunable - round(0.9 * masks.num_prunable)
    assert min(kept.values()) >= 4
    if allocation == "global":
        assert (kept["4.weight"], kept["5.weight"]) == (4, 4)


def test_an_empty_layer_is_refused_where_the_caller_asks():
    net = make_net()
    nn.init.constant_(net[5].weight, 1e-9)
    assert not prune(net, "magnitude", sparsity=0.5)["5.weight"].any()
    with pytest.raises(ArgumentError, match=r"`sparsity` must leave weights in every layer; 5\.weight would be empty"):
        prune(net, "magnitude", sparsity=0.5, allow_empty=False)
    zero = nn.init.zeros_
    for module in (net[0], net[5]):
        zero(module.bias)
    masks = prune(net, "magnitude", sparsity=0.5, allow_empty=False, min_kept=1, prunable="paper")
    assert masks["5.weight"].any() and not masks["5.bias"].any()  # biases are no layers


def test_minima_must_fit_the_total():
    with pytest.raises(ArgumentError, match=r"`min_kept` must leave enough weights for every layer; .+ 15\. Lower one"):
        prune(make_net(), "random", sparsity=0.9, min_kept=6)


@pytest.mark.parametrize("min_kept", [-1, 1.5, True, None], ids=str)
def test_a_minimum_must_be_a_whole_number(min_kept):
    with pytest.raises(ArgumentError, match=r"`min_kept` must be a whole number from 0 on; got .+\. 1 lets no layer"):
        prune(make_net(), "random", sparsity=0.5, min_kept=min_kept)


# methods and scores


def test_every_method_has_a_score_and_every_score_a_method():
    assert {method.score for method in ALL_METHODS.values()} == SCORES.keys()


@pytest.mark.parametrize("method", METHODS)
def test_scores_are_those_that_pruning_ranks_by(method):
    found = scores(make_net(), method, **METHODS[method])
    assert list(found) == ["0.weight", "4.weight", "5.weight"]
    assert prune(make_net(), lambda model, names: found, sparsity=0.7) == \
        prune(make_net(), method, sparsity=0.7, **METHODS[method])


def test_scores_are_of_the_set_alone():
    assert list(scores(make_net(), "magnitude", prunable="paper", protected="5")) == ["0.weight", "0.bias", "4.weight"]


def test_arguments_go_to_the_score():
    def powered(model, names, *, power):
        return {name: model.get_parameter(name).abs() ** power for name in names}

    assert prune(make_net(), powered, sparsity=0.5, power=2) == prune(make_net(), "magnitude", sparsity=0.5)
    assert prune(make_net(), powered, sparsity=0.5, power=-1) != prune(make_net(), "magnitude", sparsity=0.5)


def test_arguments_must_be_those_of_the_score():
    with pytest.raises(ArgumentError, match=r"`arguments` must be those of .+ 'magnitude'; got power: .+'power'"):
        prune(make_net(), "magnitude", sparsity=0.5, power=2)
    with pytest.raises(ArgumentError, match=r"those of the method '.+<lambda>'; got none: missing .+'power'"):
        prune(make_net(), lambda model, names, power: {}, sparsity=0.5)


def test_batch_norm_must_be_known():
    with pytest.raises(UnknownNameError, match=r"`batch_norm` must be one of paper, eval, train; got 'running'"):
        prune(make_net(), "magnitude", sparsity=0.5, batch_norm="running")


# provenance


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


# the prunable set


def test_the_paper_s_set_holds_the_biases_and_at_zero_they_go_first():
    net = make_net()
    for module in (net[0], net[5]):
        nn.init.zeros_(module.bias)
    masks = prune(net, "snip", sparsity=7 / 157, data=make_data(), prunable="paper")
    assert list(masks) == ["0.weight", "0.bias", "4.weight", "5.weight", "5.bias"]
    assert masks.layer_sparsity() == {"0.weight": 0, "0.bias": 1, "4.weight": 0, "5.weight": 0, "5.bias": 1}


def test_a_list_of_names_is_the_set_each_once_and_in_order():
    masks = prune(make_net(), "magnitude", sparsity=0.5, prunable=iter(["5.weight", "1.weight", "5.weight"]))
    assert list(masks) == ["5.weight", "1.weight"]
    assert masks.num_prunable == 22


@pytest.mark.parametrize("prunable", ["weights", ["2.weight"], ["2.weight", "0.weight"]], ids=str)
def test_tied_parameters_are_pruned_once_under_their_first_name(prunable):
    net = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
    net[2].weight = net[0].weight
    masks = prune(net, "magnitude", sparsity=5 / 9, prunable=prunable)
    assert (list(masks), masks.num_kept) == (["0.weight"], 4)
    pruned = masks.apply(net)
    assert torch.equal(pruned[0].weight, pruned[2].weight)
    assert list(prune(pruned, "random", sparsity=0.9)) == ["0.weight"]


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


def test_a_method_must_be_known():
    with pytest.raises(UnknownNameError, match=r"`method` must be one of random, magnitude, .+; got 'snap'\. Did you"):
        prune(make_net(), "snap", sparsity=0.5)
    with pytest.raises(UnknownNameError, match=r"got 3\. Or pass a callable"):
        prune(make_net(), 3, sparsity=0.5)
    with pytest.raises(UnknownNameError, match=r"`method` must be one of .+; got 'snap'\. Did you"):
        scores(make_net(), "snap")


def test_connection_sensitivity_needs_data():
    with pytest.raises(ArgumentError, match="`data` must be given"):
        prune(make_net(), "snip", sparsity=0.5)


def test_a_layer_with_a_computed_weight_is_not_left_out_silently():
    net = nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 3)), nn.Linear(3, 2))
    with pytest.raises(ModelError, match=r"must own the weights to prune; '0\.weight' is computed from other"):
        prune(net, "random", sparsity=0.5)
    names = ["0.weight.original1", "1.weight"]
    assert prune(net, "magnitude", sparsity=0.5, prunable=names).num_prunable == 15


@pytest.mark.parametrize(
    ("returned", "error", "match"),
    [
        (lambda names: None, DtypeError, r"`method` must return a dict of scores by name; got NoneType\. Map each"),
        (lambda names: {}, ShapeError, r"must score 'weight' by a tensor of shape \(2, 3\); got NoneType\. Return one"),
        (
            lambda names: {"weight": torch.ones(3, 2)},
            ShapeError,
            r"of shape \(2, 3\); got \(3, 2\)\. Return one tensor",
        ),
        (lambda names: {"weight": 1.0}, ShapeError, r"got float\. Return one tensor per name"),
        (lambda names: {"weight": torch.full((2, 3), float("nan"))}, NonFiniteError, "those of 'weight' are"),
        (lambda names: {"weight": torch.ones(2, 3) * 1j}, DtypeError, r"real numbers; got torch\.complex64\. Take abs"),
        (
            lambda names: {"weight": torch.ones(2, 3), "bias": torch.ones(2)},
            ArgumentError,
            r"must score the prunable set alone; got 'bias' besides\. Return scores for the names",
        ),
    ],
    ids=["nothing", "no score", "wrong shape", "a number", "NaN", "complex", "more"],
)
def test_a_callable_must_score_every_name(returned, error, match):
    with pytest.raises(error, match=match):
        prune(nn.Linear(3, 2), lambda model, names: returned(names), sparsity=0.5)


def test_the_model_must_be_sound():
    net = make_net()
    nn.init.constant_(net[5].weight, INF)
    with pytest.raises(NonFiniteError, match=r"'5\.weight' has 18 NaN or infinite of 18 entries"):
        prune(net, "random", sparsity=0.5)
    with pytest.raises(DtypeError, match=r"`model` must be a torch\.nn\.Module"):
        prune({"weight": torch.ones(2)}, "random", sparsity=0.5)
