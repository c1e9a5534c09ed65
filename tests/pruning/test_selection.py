import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jacprobe.errors import ArgumentError, NonFiniteError
from jacprobe.pruning import selection
from jacprobe.pruning.selection import select

INF = float("inf")
VALUES = st.sampled_from([-INF, -1.0, -0.0, 0.0, 0.5, INF]) | st.floats(allow_nan=False)


def flat(masks, names=None):
    return [bool(kept) for name in names or masks for kept in masks[name].flatten()]


def highest(scores, num_kept, eligible=None):
    """Sort by score, then index; what is not eligible last."""
    order = sorted(range(len(scores)), key=lambda i: (not (eligible[i] if eligible else True), -scores[i], i))
    kept = set(order[:num_kept])
    return [i in kept for i in range(len(scores))]


@pytest.fixture(params=[1 << 22, 3], ids=["one chunk", "many chunks"])
def chunk(request, monkeypatch):
    monkeypatch.setattr(selection, "_CHUNK", request.param)


@settings(deadline=None, max_examples=200)
@given(scores=st.lists(VALUES, min_size=1, max_size=30), first=st.integers(0, 30), share=st.floats(0, 1),
       chunk=st.integers(1, 40))
def test_exactly_the_highest_scores_stay_and_of_equal_ones_the_lower_index(scores, first, share, chunk):
    parts = {"b": torch.tensor(scores[:first]).double(), "a": torch.tensor(scores[first:]).double()}
    num_kept = round(share * len(scores))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "_CHUNK", chunk)
        masks = select(parts, num_kept=num_kept)
    assert flat(masks, ["b", "a"]) == highest([*parts["b"].tolist(), *parts["a"].tolist()], num_kept)


@settings(deadline=None, max_examples=200)
@given(entries=st.lists(st.tuples(VALUES, st.booleans()), min_size=1, max_size=30), share=st.floats(0, 1))
def test_what_may_not_be_kept_does_not_compete(entries, share):
    scores, eligible = ([entry[i] for entry in entries] for i in (0, 1))
    num_kept = round(share * sum(eligible))
    masks = select({"w": torch.tensor(scores).double()}, num_kept=num_kept, eligible={"w": torch.tensor(eligible)})
    assert flat(masks) == highest(torch.tensor(scores).double().tolist(), num_kept, eligible)


@given(num=st.integers(1, 50), share=st.floats(0, 1), value=st.sampled_from([0.0, 1.0, INF, -INF]))
@settings(deadline=None)
def test_the_count_is_exact_where_all_scores_are_tied(num, share, value):
    num_kept = round(share * num)
    masks = select({"w": torch.full((num,), value)}, num_kept=num_kept)
    assert masks.num_kept == num_kept
    assert flat(masks) == sorted(flat(masks), reverse=True)


def test_the_names_give_the_order_of_the_indices(chunk):
    scores = {"a": torch.zeros(2), "b": torch.zeros(2)}
    assert flat(select(scores, num_kept=2), ["a", "b"]) == [True, True, False, False]
    assert flat(select(dict(reversed(scores.items())), num_kept=2), ["a", "b"]) == [False, False, True, True]


def test_many_ties_at_the_threshold_are_cut_by_index(chunk):
    scores = {"a": torch.tensor([1.0, 2, 1, 1]), "b": torch.tensor([[1.0, 0], [1, 3]])}
    masks = select(scores, num_kept=5)
    assert masks["a"].tolist() == [True, True, True, True]
    assert masks["b"].tolist() == [[False, False], [False, True]]


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.int64, torch.uint8, torch.bool], ids=str
)
def test_scores_may_be_of_any_real_type(dtype):
    assert flat(select({"w": torch.tensor([1, 0, 1, 0]).to(dtype)}, num_kept=1)) == [True, False, False, False]


def test_scores_of_several_types_compare_by_value():
    parts = {"a": torch.tensor([2**24 + 1]), "b": torch.tensor([2.0**24]), "c": torch.tensor([2.0**24 + 2]).double()}
    assert flat(select(parts, num_kept=2)) == [True, False, True]
    whole = {"a": torch.tensor([2**60 + 1]), "b": torch.tensor([2**60])}
    assert flat(select(dict(reversed(whole.items())), num_kept=1)) == [False, True]


def test_scores_keep_their_shape_and_need_not_be_contiguous():
    scores = torch.arange(6.0).view(2, 3).T
    assert select({"w": scores}, num_kept=2)["w"].tolist() == [[False, False], [False, True], [False, True]]
    assert select({"w": torch.tensor(3.0), "v": torch.zeros(0)}, num_kept=1)["w"].item() is True


def test_scores_are_left_as_they_are():
    scores = torch.tensor([3.0, 1.0, 2.0])
    select({"w": scores}, num_kept=1)
    assert scores.tolist() == [3.0, 1.0, 2.0]


def test_half_a_million_scores_are_kept_as_by_a_stable_sort():
    scores = torch.randint(0, 1000, (500_000,), generator=torch.Generator().manual_seed(0)).float()
    kept = np.zeros(500_000, dtype=bool)
    kept[np.argsort(-scores.numpy(), kind="stable")[:123_457]] = True
    assert np.array_equal(select({"w": scores}, num_kept=123_457)["w"].numpy(), kept)


# quotas and floors


@settings(deadline=None, max_examples=100)
@given(sizes=st.lists(st.integers(1, 12), min_size=1, max_size=4), data=st.data())
def test_quotas_take_the_highest_of_each_tensor(sizes, data):
    scores = {str(i): torch.tensor(data.draw(st.lists(VALUES, min_size=n, max_size=n))).double()
              for i, n in enumerate(sizes)}
    quotas = {name: data.draw(st.integers(0, len(score))) for name, score in scores.items()}
    masks = select(scores, num_kept=sum(quotas.values()), quotas=quotas)
    for name, score in scores.items():
        assert flat(masks, [name]) == highest(score.tolist(), quotas[name])


@settings(deadline=None, max_examples=200)
@given(sizes=st.lists(st.integers(1, 12), min_size=1, max_size=4), floor=st.integers(0, 6), share=st.floats(0, 1),
       data=st.data())
def test_floors_keep_the_total_and_give_way_to_no_better_choice(sizes, floor, share, data):
    scores = {str(i): torch.tensor(data.draw(st.lists(VALUES, min_size=n, max_size=n))).double()
              for i, n in enumerate(sizes)}
    least = [min(floor, n) for n in sizes]
    num_kept = sum(least) + round(share * (sum(sizes) - sum(least)))
    masks = select(scores, num_kept=num_kept, floors=dict.fromkeys(scores, floor))
    assert masks.num_kept == num_kept
    reserved = [kept for score, n in zip(scores.values(), least, strict=True) for kept in highest(score.tolist(), n)]
    together = [value for score in scores.values() for value in score.tolist()]
    rest = highest(together, num_kept - sum(least), [not kept for kept in reserved])
    assert flat(masks) == [a or b for a, b in zip(reserved, rest, strict=True)]


def test_floors_count_what_may_be_kept():
    scores = {"a": torch.tensor([3.0, 4.0]), "b": torch.tensor([1.0, 2.0])}
    eligible = {"b": torch.tensor([True, False])}
    masks = select(scores, num_kept=2, floors={"a": 1, "b": 2}, eligible=eligible)
    assert flat(masks) == [False, True, True, False]


# bad input


def test_a_score_that_is_nan_is_refused_by_name():
    scores = {"a": torch.ones(3), "b": torch.tensor([1.0, float("nan"), INF])}
    with pytest.raises(NonFiniteError, match=r"`scores` must not be NaN; those of 'b' are\. Check the data"):
        select(scores, num_kept=2)


def test_no_more_than_there_is_can_be_kept():
    with pytest.raises(ArgumentError, match=r"`num_kept` must lie in \[0, 3\], the entries that .+; got 4\. Ask for"):
        select({"w": torch.ones(3)}, num_kept=4)
    with pytest.raises(ArgumentError, match=r"lie in \[0, 1\].+got 2"):
        select({"w": torch.ones(3)}, num_kept=2, eligible={"w": torch.tensor([True, False, False])})


def test_floors_must_fit_the_total():
    with pytest.raises(ArgumentError, match=r"`min_kept` must leave enough .+ at least 4 and the sparsity keeps 3\. "):
        select({"a": torch.ones(3), "b": torch.ones(3)}, num_kept=3, floors={"a": 2, "b": 2})
