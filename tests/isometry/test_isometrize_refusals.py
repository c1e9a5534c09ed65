"""What a repair refuses, each in one line."""

import math
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import jacprobe as jp
from jacprobe.errors import ArgumentError, DtypeError, ModelError, NonFiniteError, UnknownNameError


def sparse_layer():
    net = jp.initialize(nn.Linear(6, 6).double(), "orthogonal", seed=0)
    return jp.prune(net, "random", sparsity=0.2, seed=0).apply(net)


def test_names_must_be_known():
    with pytest.raises(UnknownNameError, match=r"`method` must be one of polar-cg, paper-sgd, .*; got 'paper'"):
        jp.isometrize(nn.Linear(2, 2), method="paper")
    with pytest.raises(UnknownNameError, match=r"`objective` must be one of gram, nearest, .*; got 'grams'\. Did you"):
        jp.isometrize(nn.Linear(2, 2), objective="grams")
    with pytest.raises(ArgumentError, match=r"`objective` must be 'gram' for 'rescale'; got 'spread'"):
        jp.isometrize(nn.Linear(2, 2), method="rescale", objective="spread")
    with pytest.raises(ArgumentError, match=r"got 'spectral'\. Use the method 'paper-sgd'\."):
        jp.isometrize(nn.Linear(2, 2), objective="spectral")
    with pytest.raises(UnknownNameError, match=r"`gain` must be one of weight; got 'fc1.weight'"):
        jp.isometrize(nn.Linear(2, 2), gain={"fc1.weight": 1.0})


@pytest.mark.parametrize("name", ["gain", "strength", "tolerance", "rate"])
def test_numbers_must_be_positive_and_finite(name):
    for value in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ArgumentError, match=rf"`{name}` must be positive and finite; got {value}"):
            jp.isometrize(nn.Linear(2, 2), **{name: value})
    with pytest.raises(DtypeError, match=rf"`{name}` must be a number.*; got \[1\]"):
        jp.isometrize(nn.Linear(2, 2), **{name: [1]})


def test_steps_must_be_a_count():
    with pytest.raises(ArgumentError, match=r"`max_steps` must be at least 1; got 0"):
        jp.isometrize(nn.Linear(2, 2), max_steps=0)
    with pytest.raises(DtypeError, match=r"`max_steps` must be a whole number; got 1\.5"):
        jp.isometrize(nn.Linear(2, 2), max_steps=1.5)


def test_a_layer_must_keep_a_weight():
    masks = jp.Masks({"0.weight": torch.zeros(3, 2, dtype=torch.bool)})
    with pytest.raises(ModelError, match=r"must keep a weight in every layer; '0.weight' keeps none of 6, so that n"):
        jp.isometrize(masks.apply(nn.Sequential(nn.Linear(2, 3))))


def test_the_model_must_be_a_finite_module_with_weights_of_its_own():
    with pytest.raises(DtypeError, match=r"`model` must be a torch\.nn\.Module; got list"):
        jp.isometrize([nn.Linear(2, 2)])
    broken = nn.Linear(2, 2)
    nn.init.constant_(broken.weight, float("nan"))
    with pytest.raises(NonFiniteError, match="'weight' has 4 NaN or infinite"):
        jp.isometrize(broken)
    with pytest.raises(ModelError, match=r"`model` must have a linear or convolutional layer; it has none"):
        jp.isometrize(nn.LayerNorm(3))
    for derived in (parametrizations.weight_norm, parametrizations.spectral_norm):
        with pytest.raises(ModelError, match=r"`model` must own its weights; 'weight' is computed from other param"):
            jp.isometrize(derived(nn.Linear(2, 2)))


def test_tied_weights_must_have_one_mask():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    masked = jp.Masks({"0.weight": torch.eye(2, dtype=torch.bool)}).apply(net)
    masked[1].weight = masked[0].parametrizations.weight.original
    with pytest.raises(ModelError, match=r"must have one mask for a tied weight; those of '.*' and '1.weight' differ"):
        jp.isometrize(masked)


@pytest.mark.parametrize(("name", "arguments"), [
    ("strength", {}), ("strength", {"method": "rescale"}), ("tolerance", {"method": "paper-sgd"}),
    ("max_steps", {"method": "equilibrate"}), ("rate", {}),
], ids=str)
def test_an_argument_that_would_do_nothing_is_refused(name, arguments):
    with pytest.raises(ArgumentError, match=rf"`{name}` must be left out but for '.*'; got 3 for '.*', 'gram'"):
        jp.isometrize(nn.Linear(2, 2), **{name: 3}, **arguments)


def test_what_is_no_number_is_refused():
    for gain in ("1", [1.0], np.ones(2), {"weight": "theory"}, True):
        with pytest.raises(DtypeError, match=r"`gain` must be a number; got .*\. Or pass 'theory', or numbers"):
            jp.isometrize(nn.Linear(2, 2), gain=gain)
    with pytest.raises(DtypeError, match=r"`rate` must be a number; got '0\.1'\. Leave it out"):
        jp.isometrize(nn.Linear(2, 2), method="paper-sgd", rate="0.1")


@pytest.mark.parametrize("method", ["rescale", "equilibrate", "criticality", "paper-sgd"])
def test_only_the_default_finds_weights_for_a_layer_whose_kept_weights_are_all_zero(method):
    net = sparse_layer()
    nn.init.zeros_(net.parametrizations.weight.original)
    with pytest.raises(ModelError, match=rf"not 0 in every layer for '{method}'; those of 'weight' are all 0\."):
        jp.isometrize(net, method=method, gain=1.0)
    with warnings.catch_warnings(action="ignore"):
        assert jp.isometrize(net).score_after < 1e-3


@pytest.mark.parametrize("scale", [1e-200, 1e100])
def test_weights_whose_fourth_powers_are_no_numbers_are_refused(scale):
    net = nn.Linear(3, 3).double()
    nn.init.constant_(net.weight, scale)
    for method in ("polar-cg", "rescale", "paper-sgd"):
        with pytest.raises(ArgumentError, match=r"weights from 1e-70 to 1e\+70 times the gain; the largest of"):
            jp.isometrize(net, method=method)


def test_weights_that_the_dtype_cannot_hold_are_refused():
    with pytest.raises(ArgumentError, match=r"weights that torch\.float16 can hold; those of 'weight' go up to"):
        jp.isometrize(nn.Linear(3, 3).half(), gain=5e6)


def test_a_descent_that_diverges_is_refused():
    with pytest.raises(ArgumentError, match=r"from which 'paper-sgd' stays finite; those of 'weight' became NaN"):
        jp.isometrize(nn.Linear(8, 8), method="paper-sgd", rate=1e20, max_steps=50)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_layers_without_entries_and_complex_ones_are_refused():
    with pytest.raises(ModelError, match=r"must have weights in every layer; '0\.weight' has the shape \(3, 0\)"):
        jp.isometrize(nn.Sequential(nn.Linear(0, 3)))
    with pytest.raises(DtypeError, match=r"must have real weights; 'weight' is torch\.complex64"):
        jp.isometrize(nn.Linear(3, 3, dtype=torch.complex64))
