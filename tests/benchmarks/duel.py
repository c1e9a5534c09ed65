"""Two ways to one result, timed in turns, and the record of it: what every benchmark here is made of."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy
import torch
from torch import Tensor, nn

import jacprobe as jp
from jacprobe.provenance import environment

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Duel:
    """Seconds of both sides, one pair per round."""

    ours: tuple[float, ...]
    peer: tuple[float, ...]

    @property
    def ratios(self) -> list[float]:
        """How many times longer the peer took, per round."""
        return [peer / ours for ours, peer in zip(self.ours, self.peer, strict=True)]

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)


def duel(ours: Callable, peer: Callable, options: argparse.Namespace, *, warm: bool = True) -> Duel:
    """Time both in turns, each first in every other round; with `warm` after one call of each that does not count."""
    for side in (ours, peer) if warm else ():
        seconds(side, options.device)
    pairs = []
    for number in range(options.rounds):
        sides = (ours, peer) if number % 2 == 0 else (peer, ours)
        times = [seconds(side, options.device) for side in sides]
        pairs.append(times if number % 2 == 0 else times[::-1])
    return Duel(*zip(*pairs, strict=True))


def seconds(function: Callable, device: str = "cpu") -> float:
    """Return the wall time of one call, up to the end of what it started on the device."""
    _synchronize(device)
    begin = time.perf_counter()
    function()
    _synchronize(device)
    return time.perf_counter() - begin


def fastest(candidates: dict, device: str = "cpu") -> object:
    """Return the key of the function that takes least time, the better of two calls after a first one."""
    best = {}
    for key, function in candidates.items():
        seconds(function, device)
        best[key] = min(seconds(function, device) for _ in range(2))
    return min(best, key=best.get)


def _synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def options(arguments: Sequence[str] | None, what: str, *, rounds: int = 5) -> argparse.Namespace:
    """Read the options that all benchmarks share.

    A small run is for trying the script out: it measures nothing of interest, and is kept only with `--output`.
    """
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--rounds", type=int, default=rounds, help=f"pairs of timings (default {rounds})")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--output", type=Path, help="folder of the JSON file (default results/ beside the scripts)")
    parser.add_argument("--small", action="store_true", help="small sizes, to try the script out")
    found = parser.parse_args(arguments)
    found.output = found.output or (None if found.small else RESULTS)
    return found


def record(options: argparse.Namespace, name: str, *, claim: str, peer: str, ratio: float, target: float | None,
           errors: dict[str, tuple[float, float]], data: str = "", **more: object) -> dict:
    """Print one line, write the JSON file of one claim, and return what is in it.

    Parameters
    ----------
    name
        Of the file, with the device behind it.
    claim, peer
        What is measured, and against what, each as it shall stand in the table.
    ratio, target
        How many times longer (or more, of memory) the peer takes, and the least that is claimed; None if nothing is.
    errors
        By name the largest error and the largest allowed one.
    data
        Where the inputs come from.
    more
        Further numbers.
    """
    holds = ratio >= (target or 0) and all(value <= limit for value, limit in errors.values())
    found = {
        "name": name, "claim": claim, "peer": peer, "ratio": ratio, "target": target, "holds": holds,
        "errors": {key: {"value": value, "limit": limit} for key, (value, limit) in errors.items()},
        "data": data, "device": options.device, "small": options.small, "rounds": options.rounds,
        "machine": machine(options.device), "versions": {**environment(), "scipy": scipy.__version__}, **more,
    }
    shown = "".join(f"; {key} {value:.1e} (at most {limit:.1e})" for key, (value, limit) in errors.items())
    wanted = f" (at least {target:.2f} wanted)" if target else ""
    print(f"{name}: {ratio:.2f} times {peer}{wanted}{shown}: {'holds' if holds else 'MISSED'}")
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / f"{name}-{options.device}.json").write_text(json.dumps(found, indent=1) + "\n")
    return found


def times(found: Duel) -> dict:
    """The seconds of both sides, for the record."""
    return {"seconds": {"jacprobe": statistics.median(found.ours), "peer": statistics.median(found.peer)},
            "ratios": found.ratios}


def machine(device: str) -> dict:
    """Return what the numbers of one machine depend on."""
    found = {"cpu": _processor(), "threads": torch.get_num_threads(), "system": platform.system()}
    return {**found, "gpu": torch.cuda.get_device_name()} if device == "cuda" else found


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def images(name: str, num: int, shape: Sequence[int], device: str = "cpu") -> tuple[Tensor, str]:
    """Return images of a data set that lies in the folder JACPROBE_DATA, else random ones, and which it was."""
    if os.environ.get("JACPROBE_DATA"):
        try:
            found = jp.load_data(name, num=num, root=os.environ["JACPROBE_DATA"], download=False).images
            return found.to(device), name
        except jp.errors.DataError:  # the folder holds other data
            pass
    return torch.randn(num, *shape, generator=torch.Generator().manual_seed(0)).to(device), "random"


def detached(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return the model as a function of one sample without a batch axis, whose weights ask for no gradient."""
    model = model.eval().requires_grad_(False)
    return lambda sample: model(sample.unsqueeze(0)).squeeze(0)


def jacobian_values(function: Callable, inputs: Tensor, chunk: int) -> Tensor:
    """The peer of dense Jacobians: ``vmap(jacrev)`` over chunks of inputs and ``torch.linalg.svdvals``."""
    per_sample = torch.func.vmap(torch.func.jacrev(function))
    found = []
    for part in inputs.split(chunk):
        matrices = per_sample(part)
        out_dims = matrices.ndim - inputs.ndim + 1
        rows = matrices.flatten(1, out_dims - 1) if out_dims > 2 else matrices
        found.append(torch.linalg.svdvals(rows.flatten(2)))
    return torch.cat(found)


def best_chunk(function: Callable, inputs: Tensor, options: argparse.Namespace,
               chunks: Sequence[int] = (8, 32, 128, 512)) -> int:
    """Return the number of inputs per chunk with which the peer of dense Jacobians is fastest."""
    sizes = sorted({min(chunk, len(inputs)) for chunk in chunks})
    if options.small or len(sizes) == 1:
        return sizes[-1]
    sample = inputs[: sizes[-1]]
    return fastest({size: lambda size=size: jacobian_values(function, sample, size) for size in sizes}, options.device)


def error_of(values: object, oracle: object) -> float:
    """Return the largest difference of two spectra, relative to the largest value."""
    values, oracle = np.asarray(values, dtype=np.float64), np.asarray(oracle, dtype=np.float64)
    return float(np.abs(values - oracle).max() / oracle.max())
