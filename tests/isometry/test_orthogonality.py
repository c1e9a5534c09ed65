import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

import jacprobe as jp
from jacprobe.errors import DtypeError, ModelError, NonFiniteError
from jacprobe.masks import Masks


def residual(weight):
    """The definition in NumPy: W has a column per output and a row per input and kernel entry."""
    W = weight.detach().double().numpy().reshape(len(weight), -1).T  # (in_dim * kernel, out_dim)
    return np.linalg.norm(W.T @ W - np.eye(W.shape[1]))


def drawn(layer, seed=0):
    return jp.initialize(layer, "vs-h", seed=seed)


LAYERS = {
    "wide": nn.Linear(30, 12),
    "tall": nn.Linear(12, 30),
    "square": nn.Linear(16, 16),
    "one output": nn.Linear(9, 1),
    "one input": nn.Linear(1, 9),
    "convolution": nn.Conv2d(3, 8, 3),
    "tall convolution": nn.Conv2d(1, 20, 3),
    "1-d convolution": nn.Conv1d(2, 5, 4),
}


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_the_score_of_one_layer_is_its_definition(layer):
    net = drawn(layer)
    assert jp.orthogonality_score(net) == pytest.approx(residual(net.weight), rel=1e-12)


def test_the_score_is_the_mean_over_all_layers():
    net = drawn(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Tanh(), nn.Flatten(), nn.Linear(32, 40),
                              nn.Linear(40, 4)))
    expected = np.mean([residual(net[i].weight) for i in (0, 4, 5)])
    assert jp.orthogonality_score(net) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("layer", [nn.Conv2d(4, 8, 3, groups=2), nn.Conv2d(9, 9, 3, groups=9),
                                   nn.Conv1d(4, 12, 1, groups=4)], ids=repr)
def test_the_groups_of_a_convolution_are_matrices_of_their_own_and_their_squares_add_up(layer):
    net = drawn(layer)
    expected = np.sqrt(sum(residual(block) ** 2 for block in net.weight.chunk(layer.groups)))
    assert jp.orthogonality_score(net) == pytest.approx(expected, rel=1e-12)
    assert jp.isometrize(net, method="rescale").score_before == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("groups", [1, 2])
def test_the_outputs_of_a_transposed_convolution_are_its_columns(groups):
    layer = drawn(nn.ConvTranspose2d(4, 6, 3, groups=groups))
    blocks = [block.transpose(0, 1) for block in layer.weight.chunk(groups)]
    expected = np.sqrt(sum(residual(block) ** 2 for block in blocks))
    assert jp.orthogonality_score(layer) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("layer", [nn.Conv2d(20, 20, 3, groups=20), nn.Conv2d(4, 8, 3, groups=2),
                                   nn.ConvTranspose2d(8, 4, 3), nn.ConvTranspose2d(8, 4, 3, groups=2)], ids=repr)
def test_orthogonal_weights_of_groups_and_transposed_convolutions_score_zero(layer):
    assert jp.orthogonality_score(jp.initialize(layer.double(), "orthogonal")) < 1e-12


def test_a_tied_weight_counts_once_as_it_does_in_a_repair():
    net = drawn(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 9)))
    net[1].weight = net[0].weight
    expected = np.mean([residual(net[i].weight) for i in (0, 2)])
    assert jp.orthogonality_score(net) == pytest.approx(expected, rel=1e-12)
    assert jp.isometrize(net, method="rescale").score_before == pytest.approx(expected, rel=1e-9)


def test_orthogonal_weights_score_zero_and_more_outputs_than_inputs_have_a_floor():
    square = jp.initialize(nn.Linear(20, 20).double(), "orthogonal")
    tall = jp.initialize(nn.Conv2d(3, 64, 3).double(), "orthogonal")
    assert jp.orthogonality_score(square) < 1e-13
    assert jp.orthogonality_score(tall) == pytest.approx(math.sqrt(64 - 27), abs=1e-12)


def test_masks_are_respected_and_dense_masks_change_nothing():
    net = drawn(nn.Sequential(nn.Linear(10, 8), nn.Linear(8, 5)))
    generator = torch.Generator().manual_seed(0)
    masks = Masks({f"{i}.weight": torch.rand(net[i].weight.shape, generator=generator) > 0.6 for i in range(2)})
    expected = np.mean([residual(net[i].weight * masks[f"{i}.weight"]) for i in range(2)])
    assert jp.orthogonality_score(masks.apply(net)) == pytest.approx(expected, rel=1e-12)
    dense = Masks({name: torch.ones_like(mask) for name, mask in masks.items()})
    assert jp.orthogonality_score(dense.apply(net)) == jp.orthogonality_score(net)


def test_a_layer_without_weights_scores_the_root_of_its_outputs():
    masks = Masks({"weight": torch.zeros(7, 3, dtype=torch.bool)})
    assert jp.orthogonality_score(masks.apply(nn.Linear(3, 7))) == pytest.approx(math.sqrt(7), rel=1e-12)


def test_pruning_by_torch_and_derived_weights_are_read_as_the_forward_pass_would():
    layer = drawn(nn.Linear(6, 4))
    prune.l1_unstructured(layer, "weight", amount=0.5)
    with torch.no_grad():
        layer.weight_orig.mul_(2)  # the plain attribute is stale now
    assert jp.orthogonality_score(layer) == pytest.approx(residual(layer.weight_orig * layer.weight_mask), rel=1e-12)
    normed = parametrizations.weight_norm(drawn(nn.Linear(6, 4)))
    assert jp.orthogonality_score(normed) == pytest.approx(residual(normed.weight), rel=1e-12)


def test_the_model_is_untouched():
    net = parametrizations.spectral_norm(drawn(nn.Linear(6, 4))).train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    assert jp.orthogonality_score(net) > 0
    assert net.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


# bad input


def test_the_model_must_be_a_finite_module_with_layers():
    with pytest.raises(DtypeError, match=r"`model` must be a torch\.nn\.Module; got list"):
        jp.orthogonality_score([nn.Linear(2, 2)])
    with pytest.raises(ModelError, match=r"`model` must have a linear or convolutional layer; it has none\. Pass a"):
        jp.orthogonality_score(nn.LayerNorm(3))
    broken = nn.Linear(2, 2)
    nn.init.constant_(broken.weight, float("inf"))
    with pytest.raises(NonFiniteError, match="'weight' has 4 NaN or infinite"):
        jp.orthogonality_score(broken)


def test_weights_whose_squares_are_no_numbers_and_complex_ones_are_refused():
    net = nn.Linear(2, 2).double()
    nn.init.constant_(net.weight, 1e200)
    with pytest.raises(NonFiniteError, match=r"whose Gram matrix is finite in float64; got a score of .*\. Rescale"):
        jp.orthogonality_score(net)
    with pytest.raises(DtypeError, match=r"must have real weights; 'weight' is torch\.complex64"):
        jp.orthogonality_score(nn.Linear(2, 2, dtype=torch.complex64))
