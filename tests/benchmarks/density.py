"""Spectral density of a ReLU convolution, against Golub-Kahan one vector at a time on ``torch.func.jvp`` and ``vjp``.

    python -m tests.benchmarks.density
"""

import copy
import warnings

import numpy as np
import scipy.stats
import torch
from torch import nn

import jacprobe as jp

from .duel import detached, duel, fastest, jacobian_values, options, record, times


def layer(channels, side, num_inputs, device):
    """A zero-padded 3x3 convolution with a ReLU, and inputs."""
    generator = torch.Generator().manual_seed(0)
    convolution = nn.Conv2d(channels, channels, 3, padding=1)
    convolution.weight.data = torch.randn(convolution.weight.shape, generator=generator) * (2 / (9 * channels)) ** 0.5
    inputs = torch.randn(num_inputs, channels, side, side, generator=generator)
    return nn.Sequential(convolution, nn.ReLU()).to(device), inputs.to(device)


def products(function, sample, linearized):
    """The Jacobian at one sample as two functions: the forward pass behind them runs once where that is possible."""
    _, transposed = torch.func.vjp(function, sample)
    if linearized:
        with warnings.catch_warnings(action="ignore"):  # its tracing warns of what it uses itself
            _, forward = torch.func.linearize(function, sample)
    else:
        def forward(vector):
            return torch.func.jvp(function, (sample,), (vector,))[1]
    return forward, lambda vector: transposed(vector)[0]


@torch.no_grad()
def nodes_and_weights(forward, transposed, sample, num_steps, generator):
    """Quadrature of one random start; the right vectors are kept orthogonal, by two passes."""
    vector = torch.randn(sample.shape, generator=generator).to(sample)
    vector /= vector.norm()
    basis = torch.empty(num_steps, sample.numel(), dtype=sample.dtype, device=sample.device)
    alphas, betas, left, beta = [], [], None, 0.0
    for step in range(num_steps):
        basis[step] = vector.flatten()
        image = forward(vector)
        image = image if left is None else image - beta * left
        alphas.append(alpha := image.norm())
        left = image / alpha
        vector = (transposed(left) - alpha * vector).flatten()
        for _ in range(2):
            vector -= basis[: step + 1].T @ (basis[: step + 1] @ vector)
        betas.append(beta := vector.norm())
        vector = (vector / beta).view_as(sample)
    bidiagonal = torch.diag(torch.stack(alphas)) + torch.diag(torch.stack(betas[:-1]), 1)
    _, values, right = torch.linalg.svd(bidiagonal.double().cpu())
    return values, right[:, 0] ** 2


def one_at_a_time(function, inputs, num_probes, num_steps, linearized):
    """The peer: the products of one input serve all its probes."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for sample in inputs:
        forward, transposed = products(function, sample, linearized)
        found += [nodes_and_weights(forward, transposed, sample, num_steps, generator) for _ in range(num_probes)]
    return found


def distance(device, num_probes, num_steps, *, small):
    """Wasserstein-1 distance of estimated and exact distribution on a small layer, relative to the largest value."""
    net, inputs = layer(*((3, 6, 2) if small else (8, 16, 2)), device)
    density = next(iter(jp.spectra(net, inputs, kind="layers", method="density", num_probes=num_probes,
                                   num_steps=num_steps, progress=False))).density
    exact = jacobian_values(detached(net.double()), inputs.double(), 1).cpu().numpy()
    found = []
    for values, nodes, weights, zeros in zip(exact, density.nodes, density.weights, density.zeros, strict=True):
        share = 1 - int(zeros) / density.dim
        found.append(scipy.stats.wasserstein_distance(
            values, np.r_[nodes.flatten(), 0.0],
            None, np.r_[weights.flatten() * share / weights.sum(), 1 - share]) / values.max())
    return max(found)


def main(arguments=None):
    given = options(arguments, __doc__, rounds=3)
    channels, side, num_inputs, num_probes, num_steps = (4, 8, 2, 2, 8) if given.small else (32, 32, 8, 8, 60)
    net, inputs = layer(channels, side, num_inputs, given.device)
    function = detached(copy.deepcopy(net))
    ways = {"jvp": False, "linearize": True}
    way = fastest({way: lambda way=way: one_at_a_time(function, inputs[:1], 2, num_steps, ways[way]) for way in ways},
                  given.device)
    found = duel(
        lambda: jp.spectra(net, inputs, kind="layers", method="density", num_probes=num_probes, num_steps=num_steps,
                           progress=False),
        lambda: one_at_a_time(function, inputs, num_probes, num_steps, ways[way]), given)
    error = distance(given.device, num_probes, 2 * num_steps if given.small else num_steps, small=given.small)
    return [record(given, "density", ratio=found.ratio, target=4.0, data="random",
                   claim=f"density of a ReLU convolution, {channels} to {channels} channels, {side}×{side},"
                         f" {num_inputs} inputs, {num_probes} probes, {num_steps} steps",
                   peer=f"Golub–Kahan one vector at a time on `torch.func.{way}`/`vjp`",
                   errors={"Wasserstein-1 distance / σ_max": (error, 0.01)}, **times(found))]


if __name__ == "__main__":
    main()
