"""Random blocks of weights and masks, for tests of repairs."""

import torch


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def kept(*shape, density=0.5, seed=1):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < density
