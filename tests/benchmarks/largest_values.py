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

_TOLERANCES = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 1e-4, 1e-5, 0)  # of svds, from loose to tight


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


@torch.no_grad()
def scipy_triplets(function, inputs, num_values, tolerance):
    """(num_inputs, num_values), decreasing, with the largest residual, relative to the largest value."""
    found, residual = [], 0.0
    for sample in inputs:
        operator = as_scipy(function, sample)
        left, values, right = scipy.sparse.linalg.svds(operator, k=num_values, tol=tolerance, rng=0)
        off = [np.hypot(np.linalg.norm(operator.matvec(v) - s * u), np.linalg.norm(operator.rmatvec(u) - s * v))
               for u, s, v in zip(left.T, values, right, strict=True)]
        residual = max(residual, float(max(off) / values.max()))
        found.append(np.sort(values)[::-1])
    return np.array(found), residual


@torch.no_grad()
def scipy_values(function, inputs, num_values, tolerance):
    for sample in inputs:
        scipy.sparse.linalg.svds(as_scipy(function, sample), k=num_values, tol=tolerance, rng=0,
                                 return_singular_vectors=False)


def main(arguments=None):
    given = options(arguments, __doc__, rounds=3)
    channels, side, num_values = (3, 8, 4) if given.small else (64, 56, 20)
    generator = torch.Generator().manual_seed(0)
    convolution = nn.Conv2d(channels, 2 * channels, 3, padding=1)
    convolution.weight.data = torch.randn(convolution.weight.shape, generator=generator) * (2 / (9 * channels)) ** 0.5
    net = nn.Sequential(convolution, nn.ReLU()).to(given.device)
    inputs = torch.randn(1, channels, side, side, generator=generator).to(given.device)

    def ours():
        return jp.spectra(net, inputs, kind="layers", method="largest", num_values=num_values, progress=False)

    spectrum = next(iter(ours()))
    exact, _ = scipy_triplets(detached(copy.deepcopy(net).double()), inputs.double(), num_values, 0)
    error = error_of(spectrum.values, exact)
    function = detached(copy.deepcopy(net))
    for tolerance in _TOLERANCES[:2] if given.small else _TOLERANCES:  # the peer may stop when it is as good as ours
        values, residual = scipy_triplets(function, inputs, num_values, tolerance)
        if error_of(values, exact) <= max(error, 1e-7):
            break
    found = duel(ours, lambda: scipy_values(function, inputs, num_values, tolerance), given)
    lower, upper = (end.numpy() for end in spectrum.bounds)
    outside = float(np.maximum(lower - exact, exact - upper).clip(min=0).max() / exact.max())
    return [record(given, "largest-values", ratio=found.ratio, target=1.5, data="random",
                   claim=f"{num_values} largest values of a ReLU convolution, {channels} to {2 * channels} channels,"
                         f" {side}×{side}", peer="SciPy `svds` on `torch.func`, stopped at equal accuracy",
                   errors={"error / σ_max": (error, 1e-4), "outside the intervals / σ_max": (outside, 1e-6)},
                   peer_error=error_of(values, exact), peer_residual=residual, peer_tolerance=tolerance,
                   width=float((upper - lower).max() / exact.max()), **times(found))]


if __name__ == "__main__":
    main()
