"""Every wrong argument gets one line that names it."""

import numpy as np
import pytest
import torch
from oracles import seeded_normal
from torch import nn

import jacprobe as jp
from jacprobe.errors import (
    ArgumentError,
    DtypeError,
    JacprobeError,
    ModelError,
    NonFiniteError,
    ShapeError,
    UnknownNameError,
)


def _net():
    return nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3))


class _Map(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.fc, self.function = nn.Linear(4, 4), function

    def forward(self, x):
        return self.function(self.fc(x))


def _spoilt(value, index=0):
    inputs = seeded_normal(5, 4)
    inputs[index, 1] = value
    return inputs


def _sparse():
    layer = nn.Linear(4, 3)
    layer.weight = nn.Parameter(layer.weight.detach().to_sparse())
    return layer


def _with_weight(value):
    net = _net()
    net[2].weight.data[1, 1] = value
    return net


def _with_statistic(value):
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    net[1].running_var[2] = value
    return net


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        pytest.param(lambda: _with_weight(float("nan")), NonFiniteError,
                     "`model` must hold finite weights; '2.weight' has 1 NaN or infinite of 12", id="NaN weight"),
        pytest.param(lambda: _with_weight(float("inf")), NonFiniteError, "'2.weight' has 1 NaN", id="infinite weight"),
        pytest.param(lambda: _with_statistic(float("nan")), NonFiniteError, "'1.running_var' has 1", id="NaN buffer"),
        pytest.param(lambda: "net", DtypeError, "`model` must be a torch.nn.Module; got str", id="no module"),
        pytest.param(lambda: torch.tanh, DtypeError, "`model` must be a torch.nn.Module; got builtin", id="function"),
        pytest.param(lambda: nn.LazyLinear(3), ModelError, "'weight' has no shape yet. Run one", id="lazy module"),
        pytest.param(lambda: nn.LSTM(4, 3), ModelError, "`model` must return one tensor; got tuple",
                     id="tuple output"),
        pytest.param(lambda: _Map(lambda x: (x, x)), ModelError,
                     r"`model` must return one tensor; got tuple. Pick one with output=lambda out: out\[0\]", id="two"),
        pytest.param(lambda: _Map(lambda x: {"logits": x}), ModelError, "must return one tensor; got dict", id="dict"),
        pytest.param(lambda: _Map(lambda x: x.argmax(1)), ModelError,
                     "must return a floating tensor with one row per sample; got torch.int64", id="classes"),
        pytest.param(lambda: _Map(lambda x: x.sum()), ModelError, r"row per sample; got torch.float32 of shape \(\)",
                     id="scalar"),
        pytest.param(lambda: _Map(lambda x: x.sum(0)[:2]), ModelError, "one row per sample", id="no batch"),
        pytest.param(lambda: _Map(lambda x: x.detach()), ModelError,
                     "`model` must depend on its input; its output of shape .* does not", id="detached"),
        pytest.param(lambda: _Map(lambda x: torch.ones_like(x)), ModelError, "must depend on its input", id="constant"),
        pytest.param(lambda: _Map(lambda x: x.detach() + torch.zeros(1, requires_grad=True)), ModelError,
                     "must depend on its input", id="depends on something else"),
        pytest.param(lambda: _Map(lambda x: 1 // 0), ModelError, "raised ZeroDivisionError: integer", id="raising"),
        pytest.param(lambda: _Map(lambda x: (x * 0).sqrt()), NonFiniteError,
                     "`model` must have finite Jacobians; segment .* has not, among inputs 0 to 4", id="no slope"),
        pytest.param(lambda: _Map(lambda x: x.sqrt()), NonFiniteError,
                     "`model` must give numbers; of the 3 samples that are tried first, the output of number 0",
                     id="no number"),
        pytest.param(_sparse, ModelError, "must hold dense tensors; 'weight' is torch.sparse_coo", id="sparse"),
        pytest.param(lambda: nn.Linear(5, 3), ModelError,
                     r"`model` must accept samples of shape \(4,\); its forward pass raised RuntimeError", id="shape"),
    ],
)
@pytest.mark.parametrize("entry", [jp.spectra, jp.jacobian])
def test_a_wrong_model_is_refused(model, error, message, entry):
    if "finite Jacobians" in message and entry is jp.jacobian:
        pytest.skip("an operator is lazy")
    with pytest.raises(error, match=message) as caught:
        entry(model(), seeded_normal(5, 4))
    assert isinstance(caught.value, JacprobeError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        pytest.param(lambda: seeded_normal(5, 7), ModelError, r"must accept samples of shape \(7,\)", id="wrong width"),
        pytest.param(lambda: seeded_normal(5, 4).long(), DtypeError, "`inputs` must be floating point; got torch.int64",
                     id="integers"),
        pytest.param(lambda: seeded_normal(5, 4) > 0, DtypeError, "got torch.bool", id="bools"),
        pytest.param(lambda: seeded_normal(5, 4).cfloat(), DtypeError, "got torch.complex64", id="complex"),
        pytest.param(lambda: np.array([["a", "b"]]), DtypeError, "`inputs` must be an array of numbers", id="texts"),
        pytest.param(lambda: [[1.0, 2, 3, 4]], DtypeError, "`inputs` must be a tensor or array; got list", id="list"),
        pytest.param(lambda: (seeded_normal(5, 4), 0), DtypeError, "got tuple. Give the images", id="with labels"),
        pytest.param(lambda: _spoilt(float("nan"), 3), NonFiniteError, "sample 3 holds NaN", id="NaN"),
        pytest.param(lambda: _spoilt(float("-inf"), 2), NonFiniteError, "sample 2 holds NaN", id="infinite"),
        pytest.param(lambda: seeded_normal(0, 4), ShapeError, r"at least one sample.*got shape \(0, 4\)", id="none"),
        pytest.param(lambda: seeded_normal(4), ShapeError, r"got shape \(4,\). Put the batch dimension", id="no batch"),
        pytest.param(lambda: torch.tensor(1.0), ShapeError, r"got shape \(\)", id="scalar"),
    ],
)
@pytest.mark.parametrize("entry", [jp.spectra, jp.jacobian, jp.sites])
def test_wrong_inputs_are_refused(inputs, error, message, entry):
    with pytest.raises(error, match=message):
        entry(_net(), inputs())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"kind": "layer"}, UnknownNameError, "`kind` must be one of layers, modules, .*, cumulative; got 'layer'"),
        ({"kind": ["layers", "all"]}, UnknownNameError, "got 'all'"),
        ({"accuracy": "best"}, UnknownNameError, "`accuracy` must be one of fast, standard, reference,"
                                                   " relative; got 'best'"),
        ({"dtype": "float16"}, UnknownNameError, "`dtype` must be one of float32, float64; got 'float16'"),
        ({"dtype": torch.int32}, UnknownNameError, "got 'int32'"),
        ({"dtype": "float32", "accuracy": "reference"}, ArgumentError, "`dtype` must be float64 with accuracy"),
        ({"device": "tpu"}, UnknownNameError, "`device` must be one of cpu.*got 'tpu'"),
        ({"device": "cuda:99"}, UnknownNameError, "`device` must be one of .*cpu.*got 'cuda:99'"),
        ({"device": "meta"}, UnknownNameError, "`device` must be one of .*got 'meta'"),
        ({"epsilon": 0}, ArgumentError, "`epsilon` must be a positive number; got 0"),
        ({"epsilon": -0.1}, ArgumentError, "`epsilon` must be a positive number; got -0.1"),
        ({"epsilon": float("nan")}, ArgumentError, "`epsilon` must be a positive number; got nan"),
        ({"epsilon": float("inf")}, ArgumentError, "`epsilon` must be finite; got inf"),
        ({"epsilon": "a"}, ArgumentError, "`epsilon` must be a positive number; got 'a'"),
        ({"memory": "1 lot"}, ArgumentError, "`memory` must be a positive number; got '1 lot'"),
        ({"memory": "-1GB"}, ArgumentError, "`memory` must be a positive number; got '-1GB'"),
        ({"memory": True}, ArgumentError, "`memory` must be a positive number; got True"),
        ({"method": "best"}, UnknownNameError, "`method` must be one of auto, exact, svd, gram, fourier, bounds,"
                                               " density, largest, moments; got 'best'"),
        ({"method": "density", "accuracy": "relative"}, ArgumentError, "`method` must be left out with accuracy"),
        ({"dtype": "float64", "accuracy": "fast"}, ArgumentError, "`dtype` must be float32 with accuracy 'fast'"),
        ({"num_steps": 0}, ArgumentError, "`num_steps` must be a whole number of at least 1; got 0"),
        ({"num_probes": 1.5}, ArgumentError, "`num_probes` must be a whole number of at least 1; got 1.5"),
        ({"num_values": True}, ArgumentError, "`num_values` must be a whole number of at least 1; got True"),
        ({"seed": "a"}, DtypeError, "`seed` must be an integer or a torch.Generator; got 'a'"),
        ({"kind": []}, ArgumentError, "`kind` must name what to probe"),
        ({"work": 0}, ArgumentError, "`work` must be a positive number; got 0"),
        ({"work": float("nan")}, ArgumentError, "`work` must be a positive number; got nan"),
        ({"memory": 0}, ArgumentError, "`memory` must be a positive number; got 0"),
        ({"memory": float("nan")}, ArgumentError, "`memory` must be a positive number; got nan"),
        ({"segments": [("input", "fc9")]}, UnknownNameError, "`segment` must be one of .*got 'fc9'"),
        ({"segments": [("2", "0")]}, ArgumentError, "must lead from a site to one that depends on it; got 2:0. Swap"),
        ({"segments": [("0", "0")]}, ArgumentError, "must lead from a site to one that depends on it; got 0:0"),
        ({"segments": ("input", "output")}, ArgumentError, "`segments` must hold pairs of sites; got 'input'"),
        ({"segments": "input:output"}, ArgumentError, "`segments` must hold pairs of sites; got 'input:output'"),
        ({"segments": [("input",)]}, ArgumentError, r"`segments` must hold pairs of sites; got \('input',\)"),
        ({"output": lambda out: out[7]}, ModelError, "raised IndexError|one row per sample"),
        ({"output": lambda out: None}, ModelError, "`model` must return one tensor; got NoneType"),
    ],
)
def test_a_wrong_option_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        jp.spectra(_net(), seeded_normal(5, 4), **arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"source": "fc"}, UnknownNameError, "`segment` must be one of"),
        ({"source": "output", "target": "input"}, ArgumentError, "Swap or change them"),
        ({"accuracy": "exact"}, UnknownNameError, "`accuracy` must be one of"),
    ],
)
def test_a_wrong_option_of_jacobian_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        jp.jacobian(_net(), seeded_normal(5, 4), **arguments)


def test_a_wrong_choice_of_output_is_mended_by_a_right_one():
    net = _Map(lambda x: (x.tanh(), x))
    assert jp.spectra(net, seeded_normal(2, 4), output=lambda out: out[0]).end_to_end.max < 2


def test_activation_checkpointing_is_refused_with_the_cure():
    class Recomputed(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 3)

        def forward(self, x):
            return torch.utils.checkpoint.checkpoint(lambda y: torch.tanh(self.fc(y)), x, use_reentrant=False)

    net, inputs = Recomputed(), seeded_normal(5, 4)
    with pytest.raises(ModelError, match=r"`model` must keep its activations; .*Switch activation checkpointing off"):
        jp.spectra(net, inputs, accuracy="reference")


def test_an_operator_on_one_input_takes_blocks_for_one_input_only():
    operator = jp.jacobian(nn.Linear(4, 3), seeded_normal(1, 4))
    with pytest.raises(ShapeError, match=r"`block` must have shape \(1, 4, num_columns\); got \(5, 4, 2\)"):
        operator.matmat(seeded_normal(5, 4, 2))
    with pytest.raises(DtypeError, match="`block` must be a tensor; got list"):
        operator.matmat([1, 2])
