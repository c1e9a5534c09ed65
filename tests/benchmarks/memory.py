"""Peak memory of all 1,000 singular values of a ResNet-18-like network on one large image, exactly.

    python -m tests.benchmarks.memory

The measurement runs in a process of its own: first one forward and one backward pass of the model, whose peak is its
own, then jacprobe with a budget of 2 GiB. The ratio is the memory that was allowed over what was taken, both at peak.
"""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import torch
from torch import nn

import jacprobe as jp

from .duel import options, record, seconds

_BUDGET = "2GiB"


class Block(nn.Module):
    """Two 3x3 convolutions with batch norm and a shortcut."""

    def __init__(self, in_channels, out_channels, stride):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False),
                                   nn.BatchNorm2d(out_channels), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False),
                                    nn.BatchNorm2d(out_channels))
        same = stride == 1 and in_channels == out_channels
        self.shortcut = nn.Identity() if same else nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels))

    def forward(self, images):
        return torch.relu(self.second(self.first(images)) + self.shortcut(images))


def resnet_18(width, num_classes):
    """Stem, four stages of two blocks, global average, one matrix; He et al. 2016, Table 1."""
    layers = [nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    channels = width
    for stage in range(4):
        for number in range(2):
            following = width * 2**stage
            layers.append(Block(channels, following, 2 if stage and not number else 1))
            channels = following
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes))


def problem(small, device):
    torch.manual_seed(0)  # a process of its own
    width, side, num_classes = (4, 32, 12) if small else (64, 224, 1000)
    return resnet_18(width, num_classes).eval().to(device), torch.randn(1, 3, side, side).to(device)


def peak(device):
    """Bytes at most held so far: by this process, or on the device."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(small, device):
    """Run in a fresh process; return its peaks and the values."""
    net, inputs = problem(small, device)
    net(inputs.requires_grad_()).sum().backward()
    inputs, own, found = inputs.detach(), peak(device), []
    net.zero_grad()
    taken = seconds(lambda: found.append(jp.spectra(net, inputs, kind="end_to_end", memory=_BUDGET, progress=False)),
                    device)
    spectrum = found[0].end_to_end
    values = None if spectrum.values is None else spectrum.values[0].tolist()
    return {"own": own, "peak": peak(device), "seconds": taken, "label": spectrum.label, "method": spectrum.method,
            "reason": spectrum.reason, "values": values}


def oracle_values(small, device):
    """Row by row by backward passes, and the eigenvalues of the products of rows in float64."""
    net, inputs = problem(small, device)
    outputs = net.requires_grad_(False)(inputs.requires_grad_())[0]
    rows = torch.stack([torch.autograd.grad(entry, inputs, retain_graph=True)[0].flatten() for entry in outputs])
    gram = sum((part := rows[:, i : i + 4096].double()) @ part.T for i in range(0, rows.shape[1], 4096))
    return torch.linalg.eigvalsh(gram).clamp(min=0).sqrt().flip(0).cpu()


def main(arguments=None):
    given = options(arguments, __doc__, rounds=1)
    command = [sys.executable, "-m", "tests.benchmarks.memory", "--measure", str(int(given.small)), given.device]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2],
                          env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())})
    found = json.loads(done.stdout)
    values, oracle = found.pop("values"), oracle_values(given.small, given.device)
    error = float("inf")
    if found["label"] == "exact":
        error = float((torch.tensor(values, dtype=torch.float64) - oracle).abs().max() / oracle[0])
    allowed = found["own"] + 2 * 2**30
    return [record(given, "memory", ratio=allowed / found["peak"], target=1.0, data="random",
                   claim=f"peak memory of all {len(oracle):,} values of a ResNet-18-like network, one image, exactly,"
                         f' with `memory="{_BUDGET}"`', peer="2 GiB + one forward and backward pass of the model",
                   errors={"error / σ_max": (error, 1e-5)}, **found)]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(bool(int(sys.argv[2])), sys.argv[3])))
    else:
        main()
