import pytest
import torch
from torch import nn

from jacprobe.errors import ArgumentError, DtypeError, NonFiniteError, ShapeError, UnknownNameError
from jacprobe.pruning import prune, scores
from jacprobe.pruning.methods import METHODS as ALL_METHODS
from jacprobe.pruning.scores import SCORES


def make_net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 6, bias=False), nn.Linear(6, 3)
    )


def make_data(num=20):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(num, 1, 4, 4, generator=generator), torch.randint(0, 3, (num,), generator=generator)


METHODS = {"random": {}, "magnitude": {}, "snip": {"data": make_data()}}


def test_a_callable_scores_as_a_name_does():
    def smallest_index(model, names):
        assert names == ["0.weight", "4.weight", "5.weight"]
        weights = {name: model.get_parameter(name) for name in names}
        return {name: -torch.arange(weight.numel()).view_as(weight) for name, weight in weights.items()}

    masks = prune(make_net(), smallest_index, sparsity=0.9)
    assert masks.num_kept == 15
    assert all(mask.flatten()[:5].all() for mask in masks.values())


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


def test_a_method_must_be_known():
    with pytest.raises(UnknownNameError, match=r"`method` must be one of random, magnitude, .+; got 'snap'\. Did you"):
        prune(make_net(), "snap", sparsity=0.5)
    with pytest.raises(UnknownNameError, match=r"got 3\. Or pass a callable"):
        prune(make_net(), 3, sparsity=0.5)
    with pytest.raises(UnknownNameError, match=r"`method` must be one of .+; got 'snap'\. Did you"):
        scores(make_net(), "snap")


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
