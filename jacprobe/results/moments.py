"""The cheapest facts about a spectrum: its first two moments, from a few random probes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from jacprobe.results.sharing import multiplicity


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean square and relative variance of the singular values s of each input, estimated with random probes.

    Averages are over all min(out_dim, in_dim) values of an input, structural zeros included.

    Attributes
    ----------
    mean_square, mean_square_standard_error
        float64 (num_inputs,): mean of s^2, that is ``||J||_F^2 / min(out_dim, in_dim)``, and its standard error.
    relative_variance, relative_variance_standard_error
        float64 (num_inputs,): variance of s^2 over the square of its mean, 0 for a multiple of an isometry and 1 for
        one square Gaussian layer, and its standard error; NaN where the Jacobian is 0.
    num_probes
        Random vectors per input. Those of different inputs are independent, but for one matrix that serves inputs in a
        row: it was probed once, and their numbers are equal.
    seed
        Of the probes.

    References
    ----------
    Pennington, Schoenholz and Ganguli 2017 (arXiv 1711.04735), section 2: the moments m1 and m2 of J J^T.
    """

    mean_square: Tensor
    mean_square_standard_error: Tensor
    relative_variance: Tensor
    relative_variance_standard_error: Tensor
    num_probes: int
    seed: int

    def __repr__(self) -> str:
        return (f"Moments of {len(self.mean_square)} inputs: mean square {self.pooled_mean_square:.4g}, relative"
                f" variance {self.pooled_relative_variance:.4g}, estimated from {self.num_probes} probes, seed"
                f" {self.seed}")

    @property
    def pooled_mean_square(self) -> float:
        """Mean of `mean_square` over inputs."""
        return float(self.mean_square.mean())

    @property
    def pooled_mean_square_standard_error(self) -> float:
        """Standard error of `pooled_mean_square`."""
        return _error_of_mean(self.mean_square, self.mean_square_standard_error)

    @property
    def pooled_relative_variance(self) -> float:
        """Mean of `relative_variance` over the inputs whose Jacobian is not 0."""
        return float(self.relative_variance.nanmean())

    @property
    def pooled_relative_variance_standard_error(self) -> float:
        """Standard error of `pooled_relative_variance`."""
        return _error_of_mean(self.relative_variance, self.relative_variance_standard_error)


def _error_of_mean(estimates: Tensor, errors: Tensor) -> float:
    """Return the standard error of the mean of those `estimates` that are no NaN, given the standard error of each."""
    known = ~estimates.isnan()
    squares = (multiplicity(estimates, errors) * errors.square())[known]  # equal ones err together
    return math.sqrt(float(squares.sum())) / len(squares) if len(squares) else math.nan
