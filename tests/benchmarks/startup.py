"""Start-up of the command line: ``jacprobe --help`` against ``import typer``, alternating whole processes.

    python tests/benchmarks/startup.py
"""

import statistics
import subprocess
import sys
import time

_RUNS = 15


def seconds(command: list[str]) -> float:
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def main() -> None:
    ours, peer = [sys.executable, "-m", "jacprobe", "--help"], [sys.executable, "-c", "import typer"]
    seconds(ours), seconds(peer)  # warm the file cache
    pairs = [(seconds(ours), seconds(peer)) for _ in range(_RUNS)]
    ratios = [a / b for a, b in pairs]
    print(f"jacprobe --help / python -c 'import typer': median {statistics.median(ratios):.2f},"
          f" {min(ratios):.2f} to {max(ratios):.2f} over {_RUNS} pairs (at most 4 wanted)")


if __name__ == "__main__":
    main()
