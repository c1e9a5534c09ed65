"""Connection sensitivity, against plain forward and backward passes over the same images, and its peak memory.

    python -m tests.benchmarks.snip

The peer sums the gradients of the cross-entropy over batches of the size at which it is fastest, as one writes it with
tensors. The paper's batch of 100 is timed twice: as slices of the tensors, and as a loader of a data set gives them.
Memory is the peak of a fresh process each: of plain passes, and of the score.
"""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import jacprobe as jp
from jacprobe.pruning.context import Scoring
from jacprobe.pruning.scores import SCORES

from .duel import duel, fastest, images, options, record, times
from .memory import peak


def plain(net, batches):
    """Sum the gradients over all batches."""
    net.zero_grad()
    for inputs, labels in batches:
        functional.cross_entropy(net(inputs), labels, reduction="sum").backward()


def slices(data, size):
    return list(zip(*(part.split(size) for part in data), strict=True))


def names_of(net):
    return [name for name, parameter in net.named_parameters() if parameter.ndim > 1]


def snip(net, data):
    return SCORES["snip"](net, names_of(net), Scoring(data=data, batch_norm="eval", progress=False))


def largest_error(net, data):
    """Largest difference from one plain pass over everything in the same precision, relative to the largest score.

    Not from float64: gradients of deep ReLU networks differ there by some thousandths, since units switch.
    """
    found, exact = snip(net, data), copy.deepcopy(net).eval()
    plain(exact, [data])
    expected = {name: (exact.get_parameter(name).detach() * exact.get_parameter(name).grad).abs().cpu()
                for name in found}
    total = sum(score.sum() for score in expected.values())
    largest = max(float(score.max()) for score in expected.values())
    return max(float((found[name] * total - expected[name]).abs().max()) for name in found) / largest


def network(name, small, device):
    if name == "mlp":
        return jp.build("mlp-7-tanh", width=8 if small else 100).to(device)
    return jp.build("vgg16", input_shape=(3, 32, 32), width=4 if small else 64).to(device)


def problem(name, given):
    num = 12 if given.small else {"mlp": 54_000, "vgg": 1_000}[name]
    source, shape = ("mnist", (1, 28, 28)) if name == "mlp" else ("cifar-10", (3, 32, 32))
    inputs, data = images(source, num, shape, given.device)
    labels = torch.randint(10, (num,), generator=torch.Generator().manual_seed(0)).to(given.device)
    return network(name, given.small, given.device), (inputs, labels), data


def compare(name, given, target):
    """Return the record against the fastest plain passes, and for the MLP those against batches of 100."""
    net, pair, data = problem(name, given)
    bare = copy.deepcopy(net).eval()
    few = tuple(part[: 8192 if name == "mlp" else 256] for part in pair)
    sizes = (4, 12) if given.small else (512, 1024, 2048, 4096) if name == "mlp" else (16, 32, 64, 128)
    best = fastest({size: lambda size=size: plain(bare, slices(few, size)) for size in sizes}, given.device)
    error = largest_error(net, tuple(part[:200] for part in pair))
    title = {"mlp": "MLP-7", "vgg": "VGG16"}[name]
    claim = f"connection sensitivity of {title}, {len(pair[0]):,} images"

    def against(label, peer, what, wanted):
        found = duel(lambda: snip(net, pair), peer, given)
        return record(given, f"snip-{label}", claim=claim, peer=what, ratio=found.ratio, target=wanted, data=data,
                      errors={"error / largest": (error, 1e-5)}, batch=best, **times(found))

    rows = [against(name, lambda: plain(bare, slices(pair, best)), f"plain passes in the best batches, of {best}",
                    1 / target)]
    if name == "mlp":
        loader = DataLoader(TensorDataset(*pair), batch_size=100)
        rows.append(against("batches-100", lambda: plain(bare, slices(pair, 100)),
                            "plain passes in batches of 100, slices of tensors", None))
        rows.append(against("loader-100", lambda: plain(bare, loader),
                            "plain passes in batches of 100 from a `DataLoader`", 3.0))
    return rows


def measure(what, small, device):
    """Run in a fresh process; return its peak."""
    net = network("vgg", small, device).eval()
    inputs = torch.randn(4 if small else 128, 3, 32, 32, generator=torch.Generator().manual_seed(0)).to(device)
    labels = torch.zeros(len(inputs), dtype=torch.int64, device=device)
    before = peak(device)
    if what == "snip":
        snip(net, (inputs, labels))
    else:
        plain(net, slices((inputs, labels), 32))
    return {"before": before, "peak": peak(device), "parameters": sum(p.numel() for p in net.parameters())}


def memory(given):
    found = {}
    for what in ("plain", "snip"):
        command = [sys.executable, "-m", "tests.benchmarks.snip", "--measure", what, str(int(given.small)),
                   given.device]
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2],
                              env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())})
        found[what] = json.loads(done.stdout)
    allowed = found["plain"]["peak"] + 1.3 * 4 * found["plain"]["parameters"]
    return record(given, "snip-memory", claim="peak memory of the connection sensitivity of VGG16", data="random",
                  peer="plain passes in batches of 32 + 1.3 floats per parameter", target=1.0, errors={},
                  ratio=allowed / found["snip"]["peak"], **found)


def main(arguments=None):
    given = options(arguments, __doc__, rounds=3)
    return [*compare("mlp", given, 1.3), *compare("vgg", given, 1.15), memory(given)]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(sys.argv[2], bool(int(sys.argv[3])), sys.argv[4])))
    else:
        main()
