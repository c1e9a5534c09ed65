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
from jacprobe.linop import Convolution
from jacprobe.solvers.fourier import circular_values

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

    operator = Convolution(convolution.weight, (channels, side, side), padding=1, padding_mode="circular")

    def whole():
        return jp.spectra(net, inputs, kind="modules", method="fourier", progress=False)

    oracle = np.sort(fourier_values(kernel, side).ravel())[::-1]
    errors = {"difference / σ_max": (error_of(next(iter(whole())).values[0], oracle), 1e-10)}
    claim = (f"all {len(oracle):,} values of a circular 3×3 convolution, {channels} to {channels} channels,"
             f" {side}×{side}, float64")
    values, spectra = (duel(ours, lambda: fourier_values(kernel, side), given) for ours in (
        lambda: circular_values(operator), whole))
    return [record(given, "circular-convolution", claim=f"{claim}, from the kernel", peer="NumPy FFT + batched SVD",
                   ratio=values.ratio, target=2.5, data="random", errors=errors, **times(values)),
            record(given, "circular-convolution-spectra", claim=f"{claim}, by `jp.spectra` with its checks",
                   peer="NumPy FFT + batched SVD", ratio=spectra.ratio, target=None, data="random", errors=errors,
                   **times(spectra))]


if __name__ == "__main__":
    main()
