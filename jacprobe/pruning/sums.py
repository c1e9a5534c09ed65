"""Running sums with 40 bits per entry: nearly as good as double precision, for five bytes instead of eight."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

_SLICE = 2**17  # entries at a time: what they need besides stays in the cache
_STEP = 2.0**-23 / 254  # of the int8 remainder, relative to the power of two in a float32 number


class RunningSum:
    """The sum of tensors of one shape.

    Float64 terms are summed in float64. All others are summed in float32 together with the remainder that each
    addition rounds off, as in Kahan's summation, in 1/254 of a unit in the last place: an addition errs by 2**-32 of
    the sum, so that a hundred thousand of them err by less than the float32 terms do. A remainder in float32 would be
    finer than the terms are, and take as much memory as the sum.

    Parameters
    ----------
    like
        Tensor of the shape, type and device of the terms.

    References
    ----------
    Knuth, The Art of Computer Programming, volume 2, section 4.2.2, theorem B (the remainder of a sum).
    """

    def __init__(self, like: Tensor):
        wide = like.dtype == torch.float64
        self.high = torch.zeros(like.shape, dtype=like.dtype if wide else torch.float32, device=like.device)
        self._low = None if wide else torch.zeros(like.numel(), dtype=torch.int8, device=like.device)

    def add(self, term: Tensor) -> None:
        """Add `term` in place."""
        if self._low is None:
            self.high += term
            return
        term = term.reshape(-1)
        for part, high in self._parts():
            y = self._low[part] * _step(high)
            y += term[part]
            total = high + y
            virtual = total - high
            y -= virtual
            y += high - (total - virtual)
            high.copy_(total)
            self._low[part] = y.div_(_step(total)).round_()  # to cut off would bias many small terms

    def times(self, factor: Tensor | None = None) -> Tensor:
        """Return the sum, times `factor`, in float32 or float64; it takes the place of the sum, which is spent."""
        factor = None if factor is None else factor.detach().reshape(-1)
        for part, high in self._parts():
            exact = high.double()
            if self._low is not None:
                exact += self._low[part].double().mul_(_step(high))
            high.copy_(exact if factor is None else exact.mul_(factor[part]))
        return self.high

    def _parts(self) -> Iterator[tuple[slice, Tensor]]:
        flat = self.high.view(-1)
        for begin in range(0, len(flat), _SLICE):
            part = slice(begin, begin + _SLICE)
            yield part, flat[part]


def _step(numbers: Tensor) -> Tensor:
    """Return the step of the remainders of float32 `numbers`: their exponent bits are a power of two."""
    powers = (numbers.view(torch.int32) & 0x7F800000).view(torch.float32)
    return powers.mul_(_STEP).clamp_(min=2.0**-126, max=2.0**96)  # 0 and infinity divide too
