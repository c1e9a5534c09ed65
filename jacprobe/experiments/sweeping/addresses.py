"""What leads to a cluster, checked before its library is asked."""

from __future__ import annotations

import socket

from jacprobe.errors import ClusterError

WAIT = 10  # seconds for an answer


def check_answers(host: str, port: int) -> None:
    """Check that something listens there: Dask's client hangs at exit where nothing does, and Ray ends the process.

    Raises
    ------
    OSError
        Nothing does.
    """
    socket.create_connection((host, port), timeout=WAIT).close()


def not_installed(name: str) -> ClusterError:
    """Return the error of a backend whose library is missing."""
    return ClusterError(f"`backend` must be installed; got {name!r}, which is not."
                        ' Run pip install "jacprobe[cluster]", or use processes.')


def unreachable(what: str, address: str, error: Exception) -> ClusterError:
    """Return the error of an address that does not lead to what it should."""
    reason = (str(error).splitlines() or [""])[0].rstrip(".") or "no answer"
    return ClusterError(f"`address` must lead to {what}; got {address!r}: {reason}. Start it, or leave the address out"
                        " to use this machine.")
