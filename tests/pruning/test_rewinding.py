import math

import pytest
import torch
from torch import nn

from jacprobe.errors import ArgumentError, DtypeError, ModelError, NonFiniteError, UnknownNameError
from jacprobe.masks import Masks
from jacprobe.pruning import prune, prune_iteratively


def make_net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 12), nn.BatchNorm1d(12), nn.Tanh(), nn.Linear(12, 3))


NUM = 8 * 12 + 12 * 3
INPUTS = torch.randn(60, 8, generator=torch.Generator().manual_seed(1))
LABELS = (INPUTS[:, :3] + 0.3).argmax(1)


def train(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9, weight_decay=1e-3)
    for _ in range(10):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(INPUTS), LABELS).backward()
        optimizer.step()
    return model


def accuracy(model):
    return (model.eval()(INPUTS).argmax(1) == LABELS).double().mean()


def hidden(model):
    """The state by plain names, the weights without their masks."""
    return {name.replace("parametrizations.", "").replace(".original", ""): tensor.clone()
            for name, tensor in model.state_dict().items() if not name.endswith(".0.mask")}


def test_every_round_starts_from_the_initial_weights():
    net, starts = make_net(), []

    def recorded(model):
        starts.append(hidden(model))
        return train(model)

    prune_iteratively(net, recorded, sparsity=0.9, num_rounds=4)
    initial = hidden(net)
    assert len(starts) == 4
    for start in starts:  # biases and the statistics of batch norm too
        assert start.keys() == initial.keys()
        assert all(torch.equal(start[name], initial[name]) for name in initial)


def test_quotas_of_masks_and_densities_are_met_in_the_last_round():
    net = make_net()
    given = prune(net, "random", sparsity=0.75, seed=3)
    result = prune_iteratively(net, train, sparsity=0.75, num_rounds=3, allocation=given)
    assert result.masks.layer_sparsity() == given.layer_sparsity() and result.masks != given
    result = prune_iteratively(net, train, sparsity=0.75, num_rounds=2, allocation={"0.weight": 0.25, "3.weight": 0.25})
    assert result.masks.layer_sparsity() == {"0.weight": 0.75, "3.weight": 0.75}
    assert result.history["num_kept_after"].tolist() == [NUM // 2, NUM // 4]


def test_the_model_found_is_the_initial_one_under_the_masks():
    net = make_net()
    result = prune_iteratively(net, train, sparsity=0.9, num_rounds=3)
    for name in ("0.weight", "3.weight"):
        shown = result.model.get_submodule(name.partition(".")[0]).weight
        assert torch.equal(shown, torch.where(result.masks[name], net.get_parameter(name), 0))
    assert Masks.of(result.model) == result.masks


def test_the_masks_are_those_of_the_loop_written_out():
    net, masks = make_net(), None
    for num_kept in (round(NUM * 0.2 ** (1 / 3)), round(NUM * 0.2 ** (2 / 3)), NUM - round(0.8 * NUM)):
        trained = train(make_net() if masks is None else masks.apply(make_net()))
        weights = {name: trained.get_submodule(name[0]).weight.detach() for name in ("0.weight", "3.weight")}
        flat = torch.cat([weight.flatten().abs() for weight in weights.values()])
        keep = flat >= flat.sort(descending=True).values[num_kept - 1]
        parts = keep.split([96, 36])
        masks = Masks({name: part.view_as(weight) for (name, weight), part in zip(weights.items(), parts, strict=True)})
    assert prune_iteratively(net, train, sparsity=0.8, num_rounds=3).masks == masks


def test_training_decides_which_weights_stay():
    net = make_net()
    found = prune_iteratively(net, train, sparsity=0.8, num_rounds=3).masks
    assert found != prune(net, "magnitude", sparsity=0.8)


def test_the_caller_s_model_is_untouched():
    net = make_net().train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    prune_iteratively(net, train, sparsity=0.9, num_rounds=2)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert net.training and all(parameter.grad is None for parameter in net.parameters())


def test_the_history_has_a_row_per_training():
    result = prune_iteratively(make_net(), train, sparsity=0.75, num_rounds=2, schedule="linear", evaluate=accuracy)
    history = result.history
    assert list(history) == ["round", "num_kept", "sparsity", "num_kept_after", "seconds", "value"]
    assert history["round"].tolist() == [1, 2]
    assert history["num_kept"].tolist() == [132, 82] and history["num_kept_after"].tolist() == [82, 33]
    assert history["sparsity"].tolist() == [0, 1 - 82 / 132]
    assert history["value"].between(0.3, 1).all() and (history["seconds"] > 0).all()
    assert prune_iteratively(make_net(), train, sparsity=0.75, num_rounds=1).history["value"].isna().all()


def test_the_provenance_names_the_weights_rewound_to():
    first, second = (prune_iteratively(make_net(), train, sparsity=0.5, num_rounds=n).masks.provenance for n in (1, 2))
    assert first["rewound_sha256"] == second["rewound_sha256"] != first["weights_sha256"] != second["weights_sha256"]
    assert (first["rewinding_rounds"], second["rewinding_rounds"], second["method"]) == (1, 2, "magnitude")


def test_what_the_model_removed_already_stays_removed():
    once = prune(make_net(), "random", sparsity=0.5).apply(make_net())
    result = prune_iteratively(once, train, sparsity=0.8, num_rounds=2, allocation="uniform")
    assert result.masks <= Masks.of(once)
    assert result.history["num_kept"][0] == 66 and result.masks.num_kept == NUM - round(0.8 * NUM)
    assert result.masks.layer_sparsity() == pytest.approx({"0.weight": 0.8, "3.weight": 0.8}, abs=0.03)


def test_protected_layers_stay_dense():
    masks = prune_iteratively(make_net(), train, sparsity=0.9, num_rounds=2, protected="3").masks
    assert list(masks) == ["0.weight"]


def test_a_schedule_of_one_shot_trains_once():
    assert len(prune_iteratively(make_net(), train, sparsity=0.9, schedule="one-shot").history) == 1


# bad input


def test_training_must_return_the_model():
    with pytest.raises(DtypeError, match=r"`train` must return the trained model; got NoneType\. Return it"):
        prune_iteratively(make_net(), lambda model: None, sparsity=0.5)
    with pytest.raises(ModelError, match=r"`train` must return a model with the parameters .+; '0\.weight' has shape"):
        prune_iteratively(make_net(), lambda model: nn.ReLU(), sparsity=0.5)


def test_training_must_not_diverge():
    def diverging(model):
        nn.init.constant_(model[0].bias, math.nan)
        return model

    with pytest.raises(NonFiniteError, match=r"'0\.bias' has 12 NaN"):
        prune_iteratively(make_net(), diverging, sparsity=0.5)


def test_training_must_keep_what_is_removed_at_zero():
    with pytest.raises(ModelError, match=r"`train` must leave removed weights at zero; it returns others\. Train the"):
        prune_iteratively(make_net(), lambda model: make_net(), sparsity=0.5, num_rounds=2)


def test_arguments_are_checked_before_training():
    def never(model):
        raise AssertionError

    with pytest.raises(ArgumentError, match=r"`sparsity` must lie in \[0, 1\]; got 90"):
        prune_iteratively(make_net(), never, sparsity=90)
    with pytest.raises(UnknownNameError, match="`schedule` must be one of"):
        prune_iteratively(make_net(), never, sparsity=0.5, schedule="cosine")
    with pytest.raises(UnknownNameError, match="`method` must be one of"):
        prune_iteratively(make_net(), never, "magnitud", sparsity=0.5)
    with pytest.raises(ArgumentError, match="`data` must be readable once in each of 10 rounds"):
        prune_iteratively(make_net(), never, "snip", sparsity=0.5, data=iter([(INPUTS, LABELS)]))


def test_training_is_a_function_and_its_value_a_number():
    with pytest.raises(DtypeError, match=r"`train` must be a function from model to trained model; got None\. Write"):
        prune_iteratively(make_net(), None, sparsity=0.5)
    with pytest.raises(DtypeError, match=r"`evaluate` must return a number; got None\. Return the accuracy"):
        prune_iteratively(make_net(), train, sparsity=0.5, num_rounds=1, evaluate=lambda model: None)
