"""Data as scores take them, and what they refuse."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from jacprobe.errors import ArgumentError, DtypeError, ModelError
from jacprobe.pruning.context import Scoring
from jacprobe.pruning.scores import SCORES


def snip(net, names, *, data, batch_norm="eval", **arguments):
    return SCORES["snip"](net, names, Scoring(data=data, batch_norm=batch_norm), **arguments)


def make_mlp(dtype=torch.float64):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3)).to(dtype)


def make_data(num=23, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(num, 1, 4, 4, generator=generator, dtype=dtype), torch.randint(0, 3, (num,), generator=generator)


def assert_close(found, expected, atol):
    assert found.keys() == expected.keys()
    for name in found:
        assert torch.allclose(found[name].double(), expected[name].double(), rtol=0, atol=atol), name


DATA_FORMS = {
    "a tuple": lambda x, y: (x, y),
    "a list of batches": lambda x, y: [(x[:9], y[:9]), [x[9:], y[9:]]],
    "a generator": lambda x, y: ((x[i : i + 5], y[i : i + 5]) for i in range(0, len(x), 5)),
    "a loader": lambda x, y: DataLoader(TensorDataset(x, y), batch_size=4),
    "a shuffling loader": lambda x, y: DataLoader(TensorDataset(x, y), batch_size=4, shuffle=True),
    "two batches as a tuple": lambda x, y: ((x[:9], y[:9]), (x[9:], y[9:])),
    "an empty batch among others": lambda x, y: [(x[:0], y[:0]), (x, y)],
    "float32 inputs for a float64 model": lambda x, y: (x.float().double().float(), y),
}


@pytest.mark.parametrize("form", DATA_FORMS.values(), ids=DATA_FORMS)
def test_data_come_in_many_forms_and_leave_the_random_state(form):
    net, (inputs, labels) = make_mlp(), make_data()
    inputs = inputs.float().double()  # the same in float32
    state = torch.get_rng_state()
    found = snip(net, ["1.weight", "3.weight"], data=form(inputs, labels))
    assert torch.equal(torch.get_rng_state(), state)
    assert_close(found, snip(net, ["1.weight", "3.weight"], data=[(inputs, labels)]), 1e-14)


def raises_on(error, match, data, net=None):
    with pytest.raises(error, match=match):
        snip(net or make_mlp(), ["3.weight"], data=data)


def test_data_must_be_given():
    raises_on(ArgumentError, r"`data` must be given for 'snip'; got None\. Pass \(inputs, labels\)", None)


def test_inputs_and_labels_must_pair():
    inputs, labels = make_data()
    raises_on(ArgumentError, "`data` must pair inputs and labels; got 23 and 20", (inputs, labels[:20]))


@pytest.mark.parametrize(
    "data",
    [[], iter(()), (torch.ones(0, 16), torch.ones(0).long()), [(torch.ones(0, 16), torch.ones(0).long())]],
    ids=["no batch", "a spent generator", "no sample", "an empty batch"],
)
def test_data_must_hold_a_sample(data):
    raises_on(ArgumentError, r"`data` must hold at least one sample; got none\. Check the loader", data)


@pytest.mark.parametrize(
    ("data", "got"),
    [
        (torch.ones(3, 16), "Tensor"),
        ([torch.ones(3, 16), torch.ones(3)], "Tensor"),
        ([(torch.ones(3, 16),)], "tuple"),
        ([(torch.ones(1, 16), 3)], "tuple"),
        ("ab", "str"),
        ([{"x": 1, "y": 2}], "dict"),
    ],
    ids=["a tensor", "a list of two tensors", "no labels", "a label that is no tensor", "a string", "a dict"],
)
def test_batches_must_be_labelled_tensors(data, got):
    raises_on(DtypeError, rf"`data` must give \(inputs, labels\) tensors; got {got}\. Pass a loader", data)


def test_data_must_be_iterable():
    raises_on(DtypeError, r"must be \(inputs, labels\) or an iterable of such batches; got int\. Pass a loader", 3)


@pytest.mark.parametrize(
    ("inputs", "labels"),
    [
        (torch.ones(2, 9), [0, 1]),
        (torch.ones(2, 16), [0, 3]),
        (torch.ones(2, 16), [0.5, 1.0]),
        (torch.ones(2, 16), [[0], [1]]),
    ],
    ids=["other width", "no such class", "fractional labels", "labels of two dimensions"],
)
def test_data_must_fit_the_model(inputs, labels):
    pattern = r"`model` must classify `data`; inputs of shape \(2, \d+\) and torch\.\w+ labels .+ Check shapes"
    raises_on(ModelError, pattern, (inputs, torch.tensor(labels)))


def test_the_loss_must_be_finite():
    inputs, labels = make_data()
    data = (inputs * float("nan"), labels)
    raises_on(ModelError, r"must give a finite loss on `data`; got NaN or infinity\. Rescale", data)
