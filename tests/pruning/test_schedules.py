import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from jacprobe.errors import ArgumentError, UnknownNameError
from jacprobe.masks import Masks
from jacprobe.pruning import prune
from jacprobe.pruning.allocation import Allocator, layers_of
from jacprobe.pruning.methods import METHODS
from jacprobe.pruning.schedules import SCHEDULES, falling, round_counts, run_rounds
from jacprobe.pruning.scores import SCORES


def make_net(width=30):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(),
                         nn.Linear(width, 3))


def make_data(num=40):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(num, 1, 4, 4, generator=generator), torch.randint(0, 3, (num,), generator=generator)


NAMES = ["1.weight", "3.weight", "5.weight"]
NUM = 16 * 30 + 30 * 30 + 30 * 3


def rounds(score, counts, *, revival=False, allocation="global", eligible=None, net=None):
    """Run a schedule on `score`, a function of the masks; return the masks that it saw and the last."""
    seen = []

    def recorded(masks):
        seen.append(masks)
        return score(masks)

    layers = layers_of(net or make_net(), NAMES)
    allocator = Allocator(allocation, layers, num_kept=counts[-1], floors={})
    last = run_rounds(recorded, counts, allocator, eligible=eligible or {}, revival=revival, progress=False)
    return [*seen[1:], last], seen[0]


def random_score(seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = {name: make_net().get_parameter(name).shape for name in NAMES}
    return lambda masks: {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


# counts


@given(num=st.integers(1, 10**9), share=st.floats(0, 1), num_rounds=st.integers(1, 50),
       schedule=st.sampled_from(sorted(SCHEDULES)))
@settings(deadline=None)
def test_counts_fall_to_exactly_what_shall_be_kept(num, share, num_rounds, schedule):
    num_kept = round(share * num)
    counts = round_counts(schedule, num, num_kept, num_rounds)
    assert counts[-1] == num_kept
    assert all(before >= count for before, count in itertools.pairwise([num, *counts]))
    assert len(counts) == (1 if schedule == "one-shot" else num_rounds)


def test_an_exponential_schedule_removes_the_same_share_in_each_round():
    counts = round_counts("exponential", 10**6, 10**4, 100)
    assert counts == [round(10**6 * 100 ** (-t / 100)) for t in range(1, 101)]


def test_a_linear_schedule_removes_the_same_number_in_each_round():
    assert round_counts("linear", 1000, 200, 4) == [800, 600, 400, 200]


def test_rounds_that_remove_nothing_are_left_out():
    assert falling(5, round_counts("exponential", 5, 3, 20)) == [4, 3]
    assert falling(5, [5, 5]) == [5]
    assert falling(5, [0, 0]) == [0]


# masks


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("allocation", ["global", "uniform", "erk", "igq", "smart-ratio"])
def test_masks_are_nested_and_counted_exactly_in_every_round(schedule, allocation):
    counts = falling(NUM, round_counts(schedule, NUM, 100, 30))  # signed scores, drawn anew in every round
    masks, first = rounds(random_score(), counts, allocation=allocation)
    assert first is None
    assert [mask.num_kept for mask in masks] == counts
    assert all(after <= before for before, after in itertools.pairwise(masks))


def test_removed_weights_do_not_come_back_ahead_of_negative_survivors():
    def like_grasp(masks):  # what is removed scores 0, what is kept below
        shapes = {name: make_net().get_parameter(name).shape for name in NAMES}
        return {name: -torch.rand(shape) * (1 if masks is None else masks[name]) for name, shape in shapes.items()}

    masks, _ = rounds(like_grasp, [700, 300, 50])
    assert all(after <= before for before, after in itertools.pairwise(masks))
    revived, _ = rounds(like_grasp, [700, 300, 50], revival=True)
    assert not revived[1] <= revived[0]


def test_with_revival_only_what_the_model_removed_itself_stays_away():
    eligible = {"3.weight": torch.rand(30, 30, generator=torch.Generator().manual_seed(3)) < 0.5}
    masks, _ = rounds(random_score(), [800, 400, 100], revival=True, eligible=eligible)
    assert [mask.num_kept for mask in masks] == [800, 400, 100]
    assert not any((mask["3.weight"] & ~eligible["3.weight"]).any() for mask in masks)
    assert not masks[1] <= masks[0]


def test_nested_rounds_keep_the_quotas_of_given_masks_at_the_end():
    given_masks = Masks({name: torch.rand(make_net().get_parameter(name).shape) < share
                         for name, share in zip(NAMES, (0.3, 0.05, 0.5), strict=True)})
    counts = round_counts("exponential", NUM, given_masks.num_kept, 10)
    masks, _ = rounds(random_score(), counts, allocation=given_masks)
    assert masks[-1].layer_sparsity() == given_masks.layer_sparsity()
    assert all(after <= before for before, after in itertools.pairwise(masks))


# methods


def snip_gradients(net, masks, data):
    """dL/dw at the masked weights, by hand, of the mean cross-entropy."""
    weights = {name: net.get_parameter(name).detach() for name in NAMES}
    masked = {name: (weight if masks is None else weight * masks[name]).requires_grad_()
              for name, weight in weights.items()}
    loss = nn.functional.cross_entropy(torch.func.functional_call(net, masked, (data[0],)), data[1])
    return dict(zip(NAMES, torch.autograd.grad(loss, list(masked.values())), strict=True))


def kept_highest(scores, num_kept):
    flat = torch.cat([score.flatten() for score in scores.values()])
    keep = torch.zeros(len(flat), dtype=torch.bool)
    keep[flat.argsort(descending=True, stable=True)[:num_kept]] = True
    parts = keep.split([score.numel() for score in scores.values()])
    return Masks({name: part.view_as(score) for (name, score), part in zip(scores.items(), parts, strict=True)})


@pytest.mark.parametrize(("method", "revival"), [("iterative-snip", False), ("force", True)])
def test_iterative_snip_and_force_follow_their_algorithms(method, revival):
    net, data, num_kept = make_net().double(), make_data(), 60
    data = (data[0].double(), data[1])
    masks = None
    for t in range(1, 6):
        gradients = snip_gradients(net, masks, data)
        scores = {name: (net.get_parameter(name) * gradient).abs().detach() for name, gradient in gradients.items()}
        if masks is not None and not revival:
            scores = {name: score.masked_fill(~masks[name], -1) for name, score in scores.items()}
        masks = kept_highest(scores, round(NUM * (num_kept / NUM) ** (t / 5)))
    found = prune(net, method, sparsity=1 - num_kept / NUM, num_rounds=5, data=data)
    assert found == masks
    assert found.provenance["revival"] is revival


@pytest.mark.parametrize("sparsity", [0, 0.8, 1])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_the_exact_count(method, sparsity):
    arguments = {"per_class": 5} if method == "grasp" else {}
    net = make_net()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    masks = prune(net, method, sparsity=sparsity, data=make_data(), num_rounds=4, **arguments)
    assert masks.num_prunable - masks.num_kept == round(sparsity * NUM)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


@pytest.mark.parametrize(("method", "revives"), [("iterative-snip", False), ("force", True)])
def test_only_force_revives(method, revives, monkeypatch):
    seen, snip = [], SCORES["snip"]

    def recorded(model, names, scoring, **arguments):
        seen.append(scoring.masks)
        return snip(model, names, scoring, **arguments)

    monkeypatch.setitem(SCORES, "snip", recorded)
    last = prune(make_net(), method, sparsity=0.95, num_rounds=8, data=make_data())
    assert seen[0] is None
    assert any(not after <= before for before, after in itertools.pairwise([*seen[1:], last])) is revives


def test_synflow_takes_a_hundred_rounds_and_spares_every_layer():
    net = make_net()
    masks = prune(net, "synflow", sparsity=0.99, input_shape=(1, 4, 4))
    assert masks.provenance["schedule"] == "exponential" and masks.provenance["num_rounds"] == 100
    assert masks.num_kept == round(0.01 * NUM)
    assert all(mask.any() for mask in masks.values())
    once = prune(net, "synflow", sparsity=0.99, input_shape=(1, 4, 4), schedule="one-shot")
    assert once.provenance["num_rounds"] == 1 and once != masks


def test_grasp_in_rounds_has_the_exact_count():
    masks = prune(make_net(), "grasp", sparsity=0.5, schedule="linear", num_rounds=4, data=make_data(), per_class=5)
    assert masks.num_kept == NUM - round(0.5 * NUM)


def test_a_callable_is_shown_a_plain_model_with_zeros_in_later_rounds():
    net, seen = make_net(), []

    def score(model, names):
        seen.append({name: model.get_parameter(name).detach().clone() for name in names})
        return {name: weight.abs() for name, weight in seen[-1].items()}

    masks = prune(net, score, sparsity=0.8, schedule="linear", num_rounds=3)
    assert len(seen) == 3
    assert [sum(int((weight != 0).sum()) for weight in weights.values()) for weights in seen] == \
        [NUM, *round_counts("linear", NUM, masks.num_kept, 3)[:2]]
    for name in NAMES:
        assert torch.equal(seen[2][name], torch.where(seen[2][name] != 0, net.get_parameter(name), 0))
    assert masks == prune(net, "magnitude", sparsity=0.8)


# bad input


def test_a_schedule_must_be_known():
    with pytest.raises(UnknownNameError, match=r"`schedule` must be one of one-shot, exponential, linear; got 'cubic'"):
        prune(make_net(), "magnitude", sparsity=0.5, schedule="cubic")


@pytest.mark.parametrize("num_rounds", [0, -1, 2.0, True, None], ids=str)
def test_rounds_must_be_a_positive_whole_number(num_rounds):
    with pytest.raises(ArgumentError, match=r"`num_rounds` must be a positive whole number; got .+\. 1 is one shot"):
        prune(make_net(), "magnitude", sparsity=0.5, schedule="linear", num_rounds=num_rounds)


def test_revival_needs_rounds():
    with pytest.raises(ArgumentError, match=r"`revival` must go with a schedule of several rounds; got 'one-shot'"):
        prune(make_net(), "magnitude", sparsity=0.5, revival=True)


def test_data_must_be_readable_in_every_round():
    with pytest.raises(ArgumentError, match=r"`data` must be readable once in each of 100 rounds; got a list_iterator"):
        prune(make_net(), "iterative-snip", sparsity=0.9, data=iter([make_data()]))
    assert prune(make_net(), "snip", sparsity=0.9, data=iter([make_data()])).num_kept == round(0.1 * NUM)
