"""Spectra as values: one segment's singular values, a set of them, their tables and files."""

from jacprobe.results.spectrum import KINDS, QUANTILES, Spectrum
from jacprobe.results.spectrum_set import SpectrumSet

__all__ = ["KINDS", "QUANTILES", "Spectrum", "SpectrumSet"]
