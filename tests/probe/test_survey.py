"""What one look at a segment counts and loads."""

import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from jacprobe.probe.survey import OperationCount


@pytest.mark.parametrize("model", [
    nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)),
    nn.Sequential(nn.Conv1d(4, 6, 3, padding=1, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(36, 2)),
    nn.TransformerEncoderLayer(6, 2, 8, batch_first=True, dropout=0.0),
], ids=["linear", "grouped convolution", "attention"])
def test_operations_are_those_of_torchs_own_counter(model):
    inputs = torch.randn(3, 4, 6, requires_grad=True)
    counts = []
    for counter in (FlopCounterMode(display=False), OperationCount()):
        outputs = model(inputs)
        with counter:
            torch.autograd.grad(outputs.sum(), inputs)
        counts.append(counter.get_total_flops() if isinstance(counter, FlopCounterMode) else counter.total)
    assert counts[0] == counts[1] > 0


@pytest.mark.parametrize(("work", "unwanted"), {
    "probing": ("jp.spectra(torch.nn.Linear(3, 3), torch.ones(2, 3))", ("torch._dynamo", "jacprobe.theory")),
    "initial weights": ("jp.initialize(torch.nn.Linear(3, 3), 'orthogonal')", ("pandas", "jacprobe.theory.prediction")),
}.values(), ids=["probing", "initial weights"])
def test_a_first_call_waits_for_no_library_that_it_does_not_use(work, unwanted):
    code = f"import sys, torch, jacprobe as jp; {work}; print([m for m in {unwanted!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
