import inspect
import itertools
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils import prune as torch_prune

from jacprobe.errors import ArgumentError, DtypeError, ModelError, NonFiniteError, ShapeError, UnknownNameError
from jacprobe.masks import Masks
from jacprobe.pruning import prune
from jacprobe.pruning.prune import prunable_names, select

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

# from scores to masks


def flat(masks, names):
    return [bool(kept) for name in names for kept in masks[name].flatten()]


@settings(deadline=None, max_examples=300)
@given(
    scores=st.lists(
        st.sampled_from([-INF, -1.0, -0.0, 0.0, 0.5, INF]) | st.floats(allow_nan=False), min_size=1, max_size=30
    ),
    first=st.integers(0, 30),
    sparsity=st.floats(0, 1),
)
def test_exactly_the_lowest_scores_go_and_of_equal_ones_the_higher_index(scores, first, sparsity):
    parts = {"b": torch.tensor(scores[:first]).double(), "a": torch.tensor(scores[first:]).double()}
    masks = select(parts, ["b", "a"], sparsity=sparsity)
    together = torch.cat([parts["b"], parts["a"]]).tolist()
    removed = sorted(range(len(scores)), key=lambda i: (together[i], -i))[: round(sparsity * len(scores))]
    assert flat(masks, ["b", "a"]) == [i not in removed for i in range(len(scores))]


@given(num=st.integers(1, 50), sparsity=st.floats(0, 1), value=st.sampled_from([0.0, 1.0, INF, -INF]))
@settings(deadline=None)
def test_the_count_is_exact_where_all_scores_are_tied(num, sparsity, value):
    masks = select({"w": torch.full((num,), value)}, ["w"], sparsity=sparsity)
    assert masks.num_prunable - masks.num_kept == round(sparsity * num)
    assert flat(masks, ["w"]) == sorted(flat(masks, ["w"]), reverse=True)


def test_the_names_give_the_order_of_the_indices():
    scores = {"a": torch.zeros(2), "b": torch.zeros(2)}
    assert flat(select(scores, ["a", "b"], sparsity=0.5), ["a", "b"]) == [True, True, False, False]
    assert flat(select(scores, ["b", "a"], sparsity=0.5), ["a", "b"]) == [False, False, True, True]


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.int64, torch.uint8, torch.bool], ids=str
)
def test_scores_may_be_of_any_real_type(dtype):
    masks = select({"w": torch.tensor([1, 0, 1, 0]).to(dtype)}, ["w"], sparsity=0.75)
    assert flat(masks, ["w"]) == [True, False, False, False]


def test_a_score_that_is_nan_is_refused_by_name():
    scores = {"a": torch.ones(3), "b": torch.tensor([1.0, float("nan")])}
    with pytest.raises(NonFiniteError, match=r"`scores` must not be NaN; those of 'b' are\. Check the data"):
        select(scores, ["a", "b"], sparsity=0.5)


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


@pytest.mark.parametrize(
    "layer", [nn.Linear(2, 3), nn.Conv1d(1, 1, 2), nn.Conv3d(1, 1, 2), nn.ConvTranspose2d(1, 1, 2)], ids=str
)
def test_a_single_layer_is_a_model(layer):
    assert prunable_names(layer, "weights") == ["weight"]
    assert prunable_names(layer, "paper") == ["weight", "bias"]


@pytest.mark.parametrize("prunable", ["weights", "paper"])
def test_masked_and_torch_pruned_models_have_the_set_of_the_dense_one(prunable):
    dense = prunable_names(make_net(), prunable)
    masked = prune(make_net(), "random", sparsity=0.5, prunable="paper").apply(make_net())
    pruned = by_torch(make_net())
    torch_prune.random_unstructured(pruned[5], "bias", 1)
    assert prunable_names(masked, prunable) == prunable_names(pruned, prunable) == dense


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
    with pytest.raises(UnknownNameError, match=r"`method` must be one of random, magnitude, snip; got 'snap'\. Did"):
        prune(make_net(), "snap", sparsity=0.5)
    with pytest.raises(UnknownNameError, match=r"got 3\. Or pass a callable"):
        prune(make_net(), 3, sparsity=0.5)


def test_connection_sensitivity_needs_data():
    with pytest.raises(ArgumentError, match="`data` must be given for 'snip'"):
        prune(make_net(), "snip", sparsity=0.5)


def test_a_set_must_be_known():
    with pytest.raises(UnknownNameError, match=r"`prunable` must be one of weights, paper; got 'all'\. Or pass a"):
        prune(make_net(), "random", sparsity=0.5, prunable="all")
    with pytest.raises(UnknownNameError, match="`prunable` must be one of weights, paper; got 3"):
        prune(make_net(), "random", sparsity=0.5, prunable=3)


def test_a_name_of_the_set_must_be_a_parameter():
    with pytest.raises(
        UnknownNameError, match=r"`prunable` must be one of 0\.weight, .+; got '5\.wieght'\. Did you mean"
    ):
        prune(make_net(), "random", sparsity=0.5, prunable=["0.weight", "5.wieght"])


@pytest.mark.parametrize(
    ("net", "prunable"), [(nn.ReLU(), "weights"), (nn.BatchNorm1d(3), "paper"), (nn.Linear(2, 2), [])]
)
def test_the_set_must_not_be_empty(net, prunable):
    with pytest.raises(ArgumentError, match=r"`prunable` must name at least one parameter; .+ Pass parameter names"):
        prune(net, "random", sparsity=0.5, prunable=prunable)


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
    ],
    ids=["nothing", "no score", "wrong shape", "a number", "NaN"],
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
