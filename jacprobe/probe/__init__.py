"""Model and inputs in, spectra out."""

from jacprobe.probe.spectra import jacobian, sites, spectra

__all__ = ["jacobian", "sites", "spectra"]
