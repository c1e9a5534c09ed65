"""Spectra of a model while it trains."""

from jacprobe.monitoring.monitor import Monitor
from jacprobe.monitoring.recordfile import read_records
from jacprobe.monitoring.statistics import STATISTICS

__all__ = ["STATISTICS", "LightningMonitor", "Monitor", "read_records"]  # LightningMonitor where lightning is installed


def __getattr__(name: str) -> type:
    if name == "LightningMonitor":  # its base class takes seconds to import
        from jacprobe.monitoring.lightningcallback import lightning_monitor

        return lightning_monitor()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
