"""The paper's descent and the cheap controls against autograd and the norms that they are for."""

import numpy as np
import pytest
import torch
from repair_blocks import kept, normal

from jacprobe.isometry.repair.controls import criticality, equilibrate, rescale
from jacprobe.isometry.repair.papersgd import paper_sgd


def test_the_papers_descent_is_autograd_on_unsquared_norms():
    mask = kept(2, 7, 5, density=0.6)
    start = torch.where(mask, normal(2, 7, 5), 0)
    weights = start.clone()
    for _ in range(5):
        leaf = weights.clone().requires_grad_()
        gram = (leaf * mask).mT @ (leaf * mask) - torch.eye(5)
        sum(torch.linalg.matrix_norm(one) for one in gram).backward()
        weights = weights - 0.1 * leaf.grad
    assert paper_sgd(start, mask, rate=0.1, num_steps=5).numpy() == pytest.approx(weights.numpy(), rel=1e-12)


def test_the_papers_descent_rests_at_twice_its_rate_and_stays_at_an_exact_minimum():
    start = normal(1, 40, 8) / 5
    mask = torch.ones(1, 40, 8, dtype=torch.bool)
    found = paper_sgd(start, mask, rate=0.05, num_steps=300)[0]
    assert float((found.mT @ found - torch.eye(8)).norm()) == pytest.approx(0.1, rel=0.5)
    assert torch.equal(paper_sgd(torch.eye(8)[None], mask[:, :8], rate=0.1, num_steps=3), torch.eye(8)[None])


def test_controls_have_the_norms_that_they_are_for():
    blocks = normal(3, 6, 4)
    assert float(rescale(blocks).square().sum()) == pytest.approx(12)
    assert float(criticality(blocks.mT).square().sum()) == pytest.approx(18)
    ratio = rescale(blocks) / blocks
    assert float(ratio.std()) < 1e-12
    for block in (blocks, blocks.mT):
        found = equilibrate(block)
        assert found.square().sum(1 if block.shape[1] == 6 else 2).numpy() == pytest.approx(np.ones((3, 4)), rel=1e-12)
        assert found.square().sum(2 if block.shape[1] == 6 else 1).numpy() == pytest.approx(np.full((3, 6), 2 / 3),
                                                                                           rel=1e-6)
        assert torch.equal(found.sign(), block.sign())


def test_controls_leave_what_is_empty_empty():
    blocks = normal(1, 4, 4)
    blocks[0, 1] = blocks[0, :, 2] = 0
    found = equilibrate(blocks)
    assert torch.equal(found == 0, blocks == 0)
    assert found.square().sum(1)[0, [0, 1, 3]].tolist() == pytest.approx([1, 1, 1], rel=1e-9)
    assert torch.equal(rescale(torch.zeros(1, 2, 2)), torch.zeros(1, 2, 2))


def test_the_spectral_descent_follows_the_slope_of_the_spectral_norm():
    generator = torch.Generator().manual_seed(3)
    start = torch.randn(2, 30, 20, generator=generator, dtype=torch.float64) / 4
    mask = torch.rand(2, 30, 20, generator=generator) < 0.5
    start[1] *= 0.5  # its norm is that of the eigenvalue near -1
    identity = torch.eye(20, dtype=torch.float64)

    def norms(weights):
        return torch.linalg.matrix_norm((weights * mask).mT @ (weights * mask) - identity, ord=2)

    weights = (start * mask).requires_grad_()
    (slope,) = torch.autograd.grad(norms(weights).sum(), weights)
    found = paper_sgd(start, mask, rate=1e-3, num_steps=1, norm="spectral")
    assert ((weights - found) / 1e-3).detach().numpy() == pytest.approx(slope.numpy(), rel=1e-3, abs=2e-3)
    exact, found = weights, paper_sgd(start, mask, rate=0.01, num_steps=500, norm="spectral")
    for _ in range(500):
        exact = exact.detach().requires_grad_()
        exact = exact - 0.01 * torch.autograd.grad(norms(exact).sum(), exact)[0]
    assert norms(found).numpy() == pytest.approx(norms(exact).detach().numpy(), rel=0.1)
    assert (norms(found) < norms(start)).all() and not found[~mask].any()
