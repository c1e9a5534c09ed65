"""The 20 largest singular values of a ReLU convolution too large to form, against SciPy's ``svds``.

    python -m tests.benchmarks.largest_values
"""

import copy
import math

import numpy as np
import scipy.sparse.linalg
import torch
from torch import nn

import jacprobe as jp

from .density import products
from .duel import detached, duel, error_of, options, record, times

_TOLERANCE = 1e-2  # of svds: its residuals then are about 1e-4 of the largest value, where jacprobe stops in float32


def as_scipy(function, sample):
    """The Jacobian at one sample on NumPy vectors, by torch.func, its forward pass linearised once."""
    forward, transposed = products(function, sample, linearized=True)
    with torch.no_grad():
        shape = function(sample).shape

    def apply(product, vector, shape):
        return product(torch.from_numpy(vector).to(sample).reshape(shape)).flatten().cpu().numpy()

    return scipy.sparse.linalg.LinearOperator(
        (math.prod(shape), sample.numel()), dtype=np.float32 if sample.dtype == torch.float32 else np.float64,
        matvec=lambda v: apply(forward, v, sample.shape), rmatvec=lambda v: apply(transposed, v, shape))


def start(operator):
    return np.random.default_rng(0).standard_normal(min(operator.shape)).astype(operator.dtype)


@torch.no_grad()
def scipy_triplets(function, inputs, num_values, tolerance):
    """(num_inputs, num_values), decreasing, with the largest residual, relative to the largest value."""
    found, residual = [], 0.0
    for sample in inputs:
        operator = as_scipy(function, sample)
        left, values, right = scipy.sparse.linalg.svds(operator, num_values, tol=tolerance, v0=start(operator))
        off = [np.hypot(np.linalg.norm(operator.matvec(v) - s * u), np.linalg.norm(operator.rmatvec(u) - s * v))
               for u, s, v in zip(left.T, values, right, strict=True)]
        residual = max(residual, float(max(off) / values.max() / 2**0.5))
        found.append(np.sort(values)[::-1])
    return np.array(found), residual


@torch.no_grad()
def scipy_values(function, inputs, num_values, tolerance):
    for sample in inputs:
        operator = as_scipy(function, sample)
        scipy.sparse.linalg.svds(operator, num_values, tol=tolerance, v0=start(operator), return_singular_vectors=False)


def main(arguments=None):
    given = options(arguments, __doc__, rounds=2)
    channels, side, num_values = (3, 8, 4) if given.small else (64, 56, 20)
    generator = torch.Generator().manual_seed(0)
    convolution = nn.Conv2d(channels, 2 * channels, 3, padding=1)
    convolution.weight.data = torch.randn(convolution.weight.shape, generator=generator) * (2 / (9 * channels)) ** 0.5
    net = nn.Sequential(convolution, nn.ReLU()).to(given.device)
    inputs = torch.randn(1, channels, side, side, generator=generator).to(given.device)

    def ours():
        return jp.spectra(net, inputs, kind="layers", method="largest", num_values=num_values, progress=False)

    spectrum = next(iter(ours()))
    function = detached(copy.deepcopy(net))
    values, residual = scipy_triplets(function, inputs, num_values, _TOLERANCE)
    found = duel(ours, lambda: scipy_values(function, inputs, num_values, _TOLERANCE), given, warm=False)
    upper = spectrum.bounds[1].numpy()
    above = float((values - upper).clip(min=0).max() / values.max())  # Ritz values never exceed what they approximate
    return [record(given, "largest-values", ratio=found.ratio, target=1.5, data="random",
                   claim=f"{num_values} largest values of a ReLU convolution, {channels} to {2 * channels} channels,"
                         f" {side}×{side}", peer="SciPy `svds` on `torch.func`, stopped at equal residuals",
                   errors={"difference / σ_max": (error_of(spectrum.values, values), 1e-4),
                           "peer above our upper ends / σ_max": (above, 1e-6)},
                   peer_residual=residual, peer_tolerance=_TOLERANCE,
                   width=float((upper - spectrum.bounds[0].numpy()).max() / values.max()), **times(found))]


if __name__ == "__main__":
    main()
