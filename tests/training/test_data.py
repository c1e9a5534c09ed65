import numpy as np
import pytest
import torch
from trainable import make_samples

import jacprobe as jp
from jacprobe.errors import ArgumentError, DtypeError, NonFiniteError, ShapeError
from jacprobe.training.data import Order, batches, check_labelled
from jacprobe.training.settings import Training


def numbered(num):
    """Samples that are their own numbers."""
    return torch.arange(num, dtype=torch.float32)[:, None], torch.arange(num) % 2


@pytest.mark.parametrize(("num", "share", "expected"), [(60, 0.1, 6), (59, 0.1, 5), (10, 0.5, 5), (3, 0.34, 1)])
def test_a_split_has_the_papers_counts_and_loses_no_sample(num, share, expected):
    train, validation = jp.split_validation(numbered(num), share=share)
    assert len(validation.labels) == expected and len(train.labels) == num - expected
    assert sorted(torch.cat([train.inputs, validation.inputs]).flatten().tolist()) == list(range(num))
    for inputs, labels in (train, validation):
        assert torch.equal(inputs.flatten().long() % 2, labels)
        assert torch.equal(inputs, inputs.sort(0).values)


def test_a_split_comes_from_its_seed_and_leaves_the_global_one():
    state = torch.get_rng_state()
    first, again, other = (jp.split_validation(numbered(60), seed=seed)[1].inputs for seed in (0, np.int64(0), 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, True, "0.1", float("nan")])
def test_a_share_outside_its_domain_is_refused(share):
    with pytest.raises(ArgumentError, match="`share` must be above 0 and below 1"):
        jp.split_validation(numbered(10), share=share)


def test_a_split_without_validation_is_refused():
    with pytest.raises(ArgumentError, match="`share` must leave samples to validate on; got 0.1 of 9"):
        jp.split_validation(numbered(9))


def test_a_seed_that_is_none_is_refused():
    with pytest.raises(DtypeError, match="`seed` must be an integer"):
        jp.split_validation(numbered(20), seed="0")


@pytest.mark.parametrize(
    ("data", "error", "message"),
    {
        "a tensor": (torch.zeros(3, 2), DtypeError, r"`test` must be a pair \(inputs, labels\); got Tensor"),
        "three parts": ((1, 2, 3), DtypeError, r"`test` must be a pair \(inputs, labels\); got tuple"),
        "lists": (([[1.0]], [0]), DtypeError, "`test` must hold tensors or arrays; got list"),
        "no labels": ((torch.zeros(3, 2), None), DtypeError, "`test` must hold tensors or arrays; got NoneType"),
        "dates": ((np.zeros((2, 2), "M8[s]"), np.zeros(2, int)), DtypeError, "`test` must hold numbers that torch"),
        "no samples": ((torch.zeros(0, 2), torch.zeros(0).long()), ShapeError, "`test` must hold at least one sample"),
        "one axis": ((torch.zeros(3), torch.zeros(3).long()), ShapeError, r"got inputs of shape \(3,\)"),
        "float labels": ((torch.zeros(3, 2), torch.zeros(3)), DtypeError, "class numbers as labels; got torch.float32"),
        "one-hot labels": ((torch.zeros(3, 2), torch.zeros(3, 2).long()), ShapeError, "one label per sample; got 3"),
        "too few labels": ((torch.zeros(3, 2), torch.zeros(2).long()), ShapeError, r"labels of shape \(2,\)"),
        "a NaN": ((torch.tensor([[0.0], [float("nan")]]), torch.zeros(2).long()), NonFiniteError, "sample 1 holds NaN"),
    }.values(),
    ids=["a tensor", "three parts", "lists", "no labels", "dates", "no samples", "one axis", "float labels",
         "one-hot labels", "too few labels", "a NaN"],
)
def test_what_are_no_labelled_samples_is_refused(data, error, message):
    with pytest.raises(error, match=message):
        check_labelled(data, "test")


def test_arrays_of_any_byte_order_become_tensors():
    inputs = np.arange(6, dtype=">f4").reshape(3, 2)[::-1]
    found = check_labelled((inputs, np.array([0, 1, 0], dtype=np.uint8)), "data")
    assert found.inputs.tolist() == inputs.tolist() and found.labels.dtype == torch.int64


@pytest.mark.parametrize(("num", "size"), [(10, 3), (10, 10), (7, 5), (1, 1), (12, 4)])
def test_batches_run_through_permutations_without_a_gap(num, size):
    order = Order(num, size, seed=0)
    stream = torch.cat([order.batch(iteration) for iteration in range(1, 6 * num + 1)])
    passes = stream[: len(stream) // num * num].view(-1, num)
    assert (passes.sort(1).values == torch.arange(num)).all()
    assert num == 1 or not torch.equal(passes[0], passes[1])


def test_a_batch_does_not_depend_on_those_before_it():
    through, fresh = Order(10, 4, seed=3), [Order(10, 4, seed=3) for _ in range(20)]
    for iteration, other in enumerate(fresh, start=1):
        assert torch.equal(through.batch(iteration), other.batch(iteration))
    assert not torch.equal(Order(10, 10, seed=3).batch(1), Order(10, 10, seed=4).batch(1))


def test_a_batch_holds_the_samples_of_its_indices():
    data = check_labelled(make_samples(20), "data")
    batch, order = batches(data, Training(batch_size=8)), Order(20, 8, 0)
    for iteration in (1, 2, 3, 1):
        inputs, labels = batch(iteration)
        assert torch.equal(inputs, data.inputs[order.batch(iteration)])
        assert torch.equal(labels, data.labels[order.batch(iteration)])
