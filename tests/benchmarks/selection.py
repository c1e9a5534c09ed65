"""Exact masks from 100 million scores, against one ``torch.kthvalue`` of them, in time and in memory.

    python -m tests.benchmarks.selection

The peer finds only the threshold; neither side counts the scores themselves. Memory is measured in a process of its own
per side, as what its peak lies above the peak before. A ratio is what the peer takes over what jacprobe takes; a third
of the peer's speed and twice its memory would do.
"""

import json
import resource
import subprocess
import sys
from pathlib import Path

import torch

from jacprobe.pruning.selection import select

from .duel import duel, options, record, seconds, times

_SPARSITY = 0.9


def problem(small):
    """Scores of layers of several sizes."""
    num = 100_000 if small else 100_000_000
    scores = torch.randn(num, generator=torch.Generator().manual_seed(0))
    return scores, {str(i): part for i, part in enumerate(scores.split([num // 2, num // 4, num // 8, num // 8]))}


def sides(scores, parts):
    """By name what each side does with the scores, concatenated beforehand, and with their parts."""
    num_removed = round(_SPARSITY * scores.numel())
    return {"jacprobe": lambda: select(parts, num_kept=scores.numel() - num_removed),
            "peer": lambda: scores.kthvalue(num_removed)}


def peak():
    """Bytes at most held so far by this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(small, side):
    """Run in a fresh process; return the bytes that one side takes besides the scores."""
    run = sides(*problem(small))[side]
    before = peak()
    run()
    return max(peak() - before, 1)


def taken(given, side):
    command = [sys.executable, "-m", "tests.benchmarks.selection", "--measure", str(int(given.small)), side]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    return json.loads(done.stdout)


def wrong(scores, parts):
    """Number of removed scores above a kept one, by the peer's threshold, and of masks off the count."""
    num_removed = round(_SPARSITY * scores.numel())
    threshold = scores.kthvalue(num_removed).values
    masks = select(parts, num_kept=scores.numel() - num_removed)
    bad = sum(int((masks[name] & (part < threshold)).count_nonzero()) for name, part in parts.items())
    kept = sum(int(masks[name].count_nonzero()) for name in parts)
    return bad + abs(scores.numel() - num_removed - kept)


def main(arguments=None):
    given = options(arguments, __doc__)
    memory = {side: taken(given, side) for side in ("jacprobe", "peer")}  # first: a child inherits its parent's peak
    scores, parts = problem(given.small)
    run = sides(scores, parts)
    found = duel(run["jacprobe"], run["peer"], given)
    tied = {name: torch.zeros_like(part) for name, part in parts.items()}
    tied_seconds = seconds(lambda: select(tied, num_kept=scores.numel() - round(_SPARSITY * scores.numel())))
    claim = f"masks of exactly 90 % sparsity from {scores.numel():,} float32 scores of four layers"
    errors = {"wrong entries": (wrong(scores, parts), 0)}
    return [record(given, "selection", claim=claim, peer="one `torch.kthvalue`", ratio=found.ratio, target=1 / 3,
                   errors=errors, data="random", **times(found), tied_seconds=tied_seconds),
            record(given, "selection-memory", claim=f"memory of {claim}", peer="one `torch.kthvalue`",
                   ratio=memory["peer"] / memory["jacprobe"], target=1 / 2, errors=errors, data="random", bytes=memory)]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(bool(int(sys.argv[2])), sys.argv[3])))
    else:
        main()
