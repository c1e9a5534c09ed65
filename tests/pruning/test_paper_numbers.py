"""The layer sparsities and orthogonality scores that the paper reports, by connection sensitivity, biases included."""

import os

import numpy as np
import pytest

import jacprobe as jp
from jacprobe.errors import DataError

ROOT = os.environ.get("JACPROBE_DATA")
pytestmark = [
    pytest.mark.data,
    pytest.mark.slow,
    pytest.mark.skipif(ROOT is None, reason="JACPROBE_DATA names no folder with MNIST or CIFAR-10"),
]
SEEDS = range(3)


@pytest.fixture(scope="module")
def mnist():
    """The images that the authors' code scores: nine tenths of the training split, 54,000.

    Fewer are not enough: gradients are summed with their signs. At gamma = 0.1, 10,000 images move a layer by 0.05.
    """
    return jp.load_data("mnist", split="train", num=54_000, root=ROOT)


def pruned_fractions(name, data, *, gamma, seed, sparsities):
    """Return the removed share of the weights of each layer, a row per sparsity; one scoring serves all of them."""
    net = jp.initialize(jp.build(name), "sg", gamma=gamma, seed=seed)
    scores = jp.scores(net, "snip", data=data, prunable="paper")
    rows = []
    for sparsity in sparsities:
        masks = jp.prune(net, lambda *_: scores, sparsity=sparsity, prunable="paper")
        assert masks.num_prunable == 130_010
        rows.append([share for key, share in masks.layer_sparsity().items() if key.endswith("weight")])
    return np.array(rows)


TABLE_1 = {  # published pruned fractions of layers 1 to 7 at 90 %
    1e-4: [0.97, 0.80, 0.80, 0.80, 0.80, 0.81, 0.48],
    1e-3: [0.97, 0.80, 0.80, 0.80, 0.80, 0.81, 0.48],
    1e-2: [0.96, 0.80, 0.80, 0.80, 0.81, 0.81, 0.49],
    1e-1: [0.96, 0.81, 0.82, 0.82, 0.82, 0.80, 0.45],
    1.0: [0.85, 0.88, 0.99, 1.00, 1.00, 1.00, 0.91],
    10.0: [0.84, 0.95, 1.00, 1.00, 1.00, 1.00, 1.00],
}


@pytest.mark.parametrize("gamma", TABLE_1)
def test_layers_lose_the_shares_of_table_1(mnist, gamma):
    found = [pruned_fractions("mlp-7-tanh", mnist, gamma=gamma, seed=seed, sparsities=[0.9])[0] for seed in SEEDS]
    assert np.mean(found, axis=0) == pytest.approx(TABLE_1[gamma], abs=0.02)
    if gamma >= 1:  # the collapse: all hidden layers after the fourth are gone, in every network
        assert np.min(found, axis=0)[3:6] == pytest.approx(1, abs=2e-3)


SPARSITIES = [0.1, 0.3, 0.5, 0.7, 0.9]
FIG_1 = {  # black shares of the published pictures of layers 2 to 6, a row per sparsity
    "mlp-7-linear": [
        [0.0579, 0.0555, 0.0617, 0.0575, 0.0569],
        [0.1919, 0.1895, 0.1928, 0.1995, 0.1918],
        [0.3438, 0.3446, 0.3429, 0.3554, 0.3439],
        [0.5201, 0.5341, 0.5412, 0.5412, 0.5358],
        [0.7850, 0.8040, 0.8064, 0.8142, 0.8143],
    ],
    "mlp-7-tanh": [
        [0.0507, 0.0987, 0.1831, 0.2317, 0.2186],
        [0.1876, 0.3382, 0.5087, 0.6131, 0.5999],
        [0.3658, 0.5783, 0.7835, 0.8654, 0.8540],
        [0.5938, 0.8185, 0.9537, 0.9796, 0.9750],
        [0.8753, 0.9854, 0.9997, 0.9998, 0.9999],
    ],
}


def middle_layers(name, data, seeds):
    """Return the removed shares of layers 2 to 6, `(num_seeds, num_sparsities, 5)`."""
    return np.stack([pruned_fractions(name, data, gamma=1.0, seed=seed, sparsities=SPARSITIES)[:, 1:6]
                     for seed in seeds])


def test_the_tanh_masks_are_as_black_as_fig_1(mnist):
    found = middle_layers("mlp-7-tanh", mnist, SEEDS)
    assert found.mean(0) == pytest.approx(np.array(FIG_1["mlp-7-tanh"]), abs=0.02)
    assert found[:, 4, 2:].min() > 0.999


def test_the_linear_masks_are_as_black_as_fig_1_up_to_the_spread_over_seeds(mnist):
    """The pictures are of one network, and linear ones differ from seed to seed by up to 0.04 (one deviation)."""
    found = middle_layers("mlp-7-linear", mnist, range(8))
    published = np.array(FIG_1["mlp-7-linear"])
    assert (np.abs(published - found.mean(0)) <= 2.5 * found.std(0, ddof=1)).all()
    assert found[:3, 4].mean(0) == pytest.approx(np.full(5, 0.80), abs=0.02)  # uniform over the layers
    assert np.ptp(found.mean(0), axis=1).max() < 0.03


@pytest.fixture(scope="module")
def cifar():
    """250 images: with 1,000 no score differs by more than 0.03, as the scores of a ResNet hardly change."""
    try:
        return jp.load_data("cifar-10", split="train", num=250, root=ROOT)
    except DataError as error:
        pytest.skip(f"JACPROBE_DATA holds no CIFAR-10: {error}")


TABLE_2 = {"vs-l": 4.50, "vs-g": 4.55, "vs-h": 4.41, "orthogonal": 4.43}


@pytest.mark.parametrize("method", TABLE_2)
def test_pruned_resnets_32_have_the_orthogonality_score_of_table_2(cifar, method):
    found = []
    for seed in range(2):
        net = jp.initialize(jp.build("resnet-32", input_shape=(3, 32, 32)), method, seed=seed)
        masks = jp.prune(net, "snip", sparsity=0.9, data=cifar, prunable="paper", batch_norm="paper")
        assert (masks.num_prunable, masks.num_kept) == (463_018, 46_302)
        found.append(jp.orthogonality_score(masks.apply(net)))
    assert np.mean(found) == pytest.approx(TABLE_2[method], abs=0.15)
