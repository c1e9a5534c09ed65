"""The dense and pruned mean singular values that the paper reports, on 1,000 images of MNIST."""

import os

import pytest

import jacprobe as jp

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif("JACPROBE_DATA" not in os.environ, reason="JACPROBE_DATA names no folder with MNIST"),
]


@pytest.fixture(scope="module")
def images():
    return jp.load_data("mnist", split="train", num=1000)[0]


def _mean(net, images):
    return jp.spectra(net, images, kind="end_to_end").end_to_end.mean


def test_an_orthogonal_linear_net_is_an_isometry(images):
    net = jp.initialize(jp.build("mlp-7-linear"), "orthogonal", seed=0)
    result = jp.spectra(net, images)
    assert result.end_to_end.mean == pytest.approx(1, abs=1e-5)
    assert result.end_to_end.values.shape == (1000, 10)
    assert result.is_isometric


def test_an_orthogonal_tanh_net_has_the_mean_of_table_1(images):
    means = [_mean(jp.initialize(jp.build("mlp-7-tanh"), "orthogonal", seed=seed), images) for seed in range(3)]
    assert sum(means) / 3 == pytest.approx(0.344, abs=0.01)


def test_a_gaussian_tanh_net_of_small_gain_has_the_mean_of_table_1(images):
    means = [_mean(jp.initialize(jp.build("mlp-7-tanh"), "sg", gamma=1e-2, seed=seed), images) for seed in range(5)]
    assert sum(means) / 5 == pytest.approx(0.449, rel=0.1)


@pytest.mark.slow
def test_connection_sensitivity_at_ninety_percent_leaves_the_mean_of_table_1(images):
    data, means = jp.load_data("mnist", split="train", num=54_000), []
    for seed in range(3):
        net = jp.initialize(jp.build("mlp-7-tanh"), "orthogonal", seed=seed)
        masks = jp.prune(net, "snip", sparsity=0.9, data=data, prunable="paper")
        means.append(_mean(masks.apply(net), images))
    assert sum(means) / 3 == pytest.approx(0.0287, rel=0.15)
