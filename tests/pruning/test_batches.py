import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from jacprobe.errors import ArgumentError, DtypeError, ShapeError
from jacprobe.pruning.batches import Batches, balanced, input_shape_of
from jacprobe.pruning.context import Scoring


def data(num):
    return torch.arange(num * 2).reshape(num, 2).float(), torch.arange(num)


@settings(deadline=None)
@given(sizes=st.lists(st.integers(0, 9), min_size=1, max_size=8).filter(any), size=st.integers(1, 20))
def test_batches_of_any_size_become_batches_of_one_size_in_the_same_order(sizes, size):
    inputs, labels = data(sum(sizes))
    given_batches = list(zip(inputs.split(sizes), labels.split(sizes), strict=True))
    found = list(Batches.of(given_batches, "snip").resized(size))
    assert [len(batch[1]) for batch in found[:-1]] == [size] * (len(found) - 1) and 1 <= len(found[-1][1]) <= size
    assert torch.equal(torch.cat([x for x, _ in found]), inputs)
    assert torch.equal(torch.cat([y for _, y in found]), labels)


def test_samples_of_several_shapes_are_never_merged():
    batches = [(torch.ones(num, width), torch.zeros(num)) for num, width in ((2, 3), (2, 4), (1, 4))]
    assert [tuple(x.shape) for x, _ in Batches.of(batches, "snip").resized(10)] == [(2, 3), (3, 4)]


def test_an_iterator_can_be_gone_through_twice():
    batches = Batches.of(iter([data(3)]), "snip")
    assert len(list(batches)) == len(list(batches)) == 1


@pytest.mark.parametrize("size", [1, 3, 8])
def test_random_labels_are_the_same_in_every_pass_and_batching(size):
    batches = Batches(([data(8)]), "snip", drawn=(5, 7))
    whole = torch.cat([labels for _, labels in batches])
    parts = Batches([(x[None], y[None]) for x, y in zip(*data(8), strict=True)], "snip", drawn=(5, 7)).resized(size)
    for _ in range(2):
        assert torch.equal(torch.cat([labels for _, labels in parts]), whole)


def test_a_balanced_batch_has_so_many_of_each_class_without_repetition():
    inputs, labels = data(60)[0], torch.tensor([0] * 30 + [1] * 5 + [2] * 25)
    batches = balanced(Batches.of((inputs, labels), "grasp"), 5, 3, torch.Generator().manual_seed(0))
    ((found, classes),) = batches
    assert classes.bincount().tolist() == [5, 5, 5]
    assert len(found.unique(dim=0)) == 15
    assert all(torch.equal(inputs[labels == k].unsqueeze(1).eq(found[classes == k]).all(2).any(0),
                           torch.ones(5, dtype=torch.bool)) for k in range(3))


@pytest.mark.parametrize("missing", [1, 2])
def test_a_class_that_is_short_is_named(missing):
    labels = torch.tensor([0] * 4 + ([1] * 4 if missing == 2 else [2] * 4))
    with pytest.raises(ArgumentError, match=rf"`data` must hold at least 3 samples of every class; got 0 of class "
                                            rf"{missing}\. Pass more data, a smaller `per_class`, or None"):
        balanced(Batches.of((torch.ones(8, 2), labels), "grasp"), 3, 3, torch.Generator())


@pytest.mark.parametrize("stray", [-100, -1, 3])
def test_labels_that_no_output_stands_for_are_refused_and_not_left_out(stray):
    labels = torch.tensor([0, 1, 2] * 3 + [stray])
    with pytest.raises(ArgumentError, match=r"`data` must have labels from 0 to 2, .*; got .*\. Leave the others out"):
        balanced(Batches.of((torch.ones(10, 2), labels), "grasp"), 2, 3, torch.Generator())


def test_probabilities_cannot_be_balanced():
    with pytest.raises(ArgumentError, match=r"must have class numbers as labels to be balanced; got torch\.float32"):
        balanced(Batches.of((torch.ones(8, 2), torch.ones(8, 3)), "grasp"), 3, 3, torch.Generator())


def test_inputs_must_have_samples():
    with pytest.raises(ShapeError, match=r"`data` must have a first dimension of samples; got inputs that are one"):
        list(Batches.of([(torch.tensor(1.0), torch.tensor([1]))], "snip"))


@pytest.mark.parametrize(("labels", "got"), [(torch.tensor(1), "one number"), (torch.ones(2).long(), "2")])
def test_batches_must_pair(labels, got):
    with pytest.raises(ArgumentError, match=rf"must pair inputs and labels; got 3 and {got}\. Give one label"):
        list(Batches.of([(torch.ones(3, 2), labels)], "snip"))


def test_labels_that_are_needed_must_be_there():
    with pytest.raises(DtypeError, match=r"`data` must give \(inputs, labels\) tensors; got Tensor"):
        list(Batches.of([torch.ones(3, 2)], "snip"))


class Built(nn.Linear):
    jacprobe_spec = {"name": "mlp", "arguments": {"input_shape": [1, 2, 2]}}


def test_the_shape_of_an_input_is_as_given_else_of_the_data_else_of_the_model():
    scoring = Scoring(data=(torch.ones(3, 7), torch.ones(3)))
    assert input_shape_of(Built(1, 1), scoring, (5,), "synflow") == (5,)
    assert input_shape_of(Built(1, 1), scoring, None, "synflow") == (7,)
    assert input_shape_of(Built(1, 1), Scoring(), None, "synflow") == (1, 2, 2)


def test_the_shape_of_an_input_must_be_known():
    with pytest.raises(ArgumentError, match=r"`input_shape` must be given for 'synflow'; got None\. Pass the shape"):
        input_shape_of(nn.Linear(1, 1), Scoring(), None, "synflow")


@pytest.mark.parametrize("shape", [(), (0, 3), (1.5,), 3, "ab"])
def test_the_shape_of_an_input_must_be_positive(shape):
    with pytest.raises(ShapeError, match=r"`input_shape` must hold positive whole numbers; got .*Try \(1, 28, 28\)"):
        input_shape_of(nn.Linear(1, 1), Scoring(), shape, "synflow")
