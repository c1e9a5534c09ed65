"""Model and inputs in, spectra out."""

from jacprobe.probe.choice import METHODS
from jacprobe.probe.spectra import jacobian, sites, spectra

__all__ = ["METHODS", "jacobian", "sites", "spectra"]
