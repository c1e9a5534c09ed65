"""The paper's curves of early training, on MNIST."""

import os

import pytest
import torch

import jacprobe as jp

pytestmark = [
    pytest.mark.data,
    pytest.mark.slow,
    pytest.mark.skipif("JACPROBE_DATA" not in os.environ, reason="needs MNIST in JACPROBE_DATA"),
]

PUBLISHED = {52: 2.118, 102: 1.620, 152: 1.152, 202: 0.899}  # Fig. 2 (b), tanh, LDI-CS, digitised
DEVIATION = {52: 0.031, 102: 0.093, 152: 0.068, 202: 0.089}  # measured: over 12 orders of the batches


@pytest.fixture(scope="module")
def pruned_and_data():
    train, _ = jp.split_validation(jp.load_data("mnist", download=False))
    assert len(train.labels) == 54_000
    net = jp.initialize(jp.build("mlp-7-tanh"), "orthogonal", seed=0)
    return jp.prune(net, "snip", sparsity=0.9, data=train, prunable="paper").apply(net), train


def test_the_losses_of_plain_descent_are_those_of_the_papers_figure(pruned_and_data):
    pruned, data = pruned_and_data
    runs = [jp.train(pruned, data, training=jp.Training(iterations=202, momentum=0, log_every=50, order_seed=seed))
            for seed in range(4)]
    losses = torch.tensor([run.history["loss"].tolist() for run in runs]).mean(0)
    assert float(losses[0]) == pytest.approx(2.3026, abs=0.02)  # ln 10
    for found, (iteration, published) in zip(losses[1:].tolist(), PUBLISHED.items(), strict=True):
        assert abs(found - published) < 3 * DEVIATION[iteration] * (1 + 1 / 4) ** 0.5


def test_momentum_learns_much_faster_than_the_figure(pruned_and_data):
    pruned, data = pruned_and_data
    losses = jp.train(pruned, data, training=jp.Training(iterations=202, log_every=50)).history["loss"].tolist()
    assert losses[1] < 1.0 and losses[4] < 0.6  # where plain descent has 2.1 and 0.9
