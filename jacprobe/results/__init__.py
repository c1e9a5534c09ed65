"""What is known of singular values: spectra, densities, moments and bounds, with their tables and files."""

from jacprobe.results.comparison import Comparison, compare
from jacprobe.results.density import Density
from jacprobe.results.moments import Moments
from jacprobe.results.spectrum import KINDS, QUANTILES, Spectrum
from jacprobe.results.spectrum_set import SpectrumSet

__all__ = ["KINDS", "QUANTILES", "Comparison", "Density", "Moments", "Spectrum", "SpectrumSet", "compare"]
