"""All singular values of a circular convolution in float64, against NumPy's FFT and batched SVD.

    python -m tests.benchmarks.circular_convolution

References
----------
Sedghi, Gupta and Long 2019, The singular values of convolutional layers: the peer, as published.
"""

import numpy as np
import torch
from torch import nn

import jacprobe as jp

from .duel import duel, error_of, options, record, times


def fourier_values(kernel, side):
    """(side * side * channels,) by one FFT of the kernel and one SVD per frequency."""
    return np.linalg.svd(np.fft.fft2(kernel, (side, side), axes=(0, 1)), compute_uv=False)


def main(arguments=None):
    given = options(arguments, __doc__)
    channels, side = (4, 8) if given.small else (64, 32)
    generator = torch.Generator().manual_seed(0)
    convolution = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="circular", bias=False).double()
    convolution.weight.data = torch.randn(convolution.weight.shape, generator=generator, dtype=torch.float64) / 24
    net = nn.Sequential(convolution).to(given.device)
    inputs = torch.randn(1, channels, side, side, generator=generator, dtype=torch.float64).to(given.device)
    kernel = convolution.weight.detach().cpu().permute(2, 3, 0, 1).numpy()

    def ours():
        return jp.spectra(net, inputs, kind="modules", method="fourier", progress=False)

    values = next(iter(ours())).values[0]
    oracle = np.sort(fourier_values(kernel, side).ravel())[::-1]
    found = duel(ours, lambda: fourier_values(kernel, side), given)
    return [record(given, "circular-convolution", ratio=found.ratio, target=2.5, data="random",
                   claim=f"all {len(oracle):,} values of a circular 3×3 convolution, {channels} to {channels} channels,"
                         f" {side}×{side}, float64", peer="NumPy FFT + batched SVD",
                   errors={"difference / σ_max": (error_of(values, oracle), 1e-10)}, **times(found))]


if __name__ == "__main__":
    main()
