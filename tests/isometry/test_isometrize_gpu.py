"""On a CUDA device: the same repair as on the CPU, by other polar factors."""

import pytest
import torch
from torch import nn

import jacprobe as jp

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
              pytest.mark.filterwarnings("ignore::jacprobe.errors.JacprobeWarning")]


@pytest.mark.parametrize("objective", ["gram", "frequency", "spread"])
def test_layers_on_the_device_come_as_near_to_isometry_as_on_the_cpu(objective):
    net = jp.initialize(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(40, 40), nn.Linear(40, 200)).double(),
                        "vs-l", seed=0)
    pruned = jp.prune(net, "random", sparsity=0.7, seed=0).apply(net)
    here, there = (jp.isometrize(model, objective=objective) for model in (pruned, pruned.cuda()))
    assert next(there.model.parameters()).is_cuda
    assert there.table["floor"].tolist() == here.table["floor"].tolist()
    assert there.table["score_after"].tolist() == pytest.approx(here.table["score_after"].tolist(), rel=0.2, abs=1e-3)


def test_a_sparse_layer_reaches_its_floor_on_the_device():
    net = jp.initialize(nn.Linear(40, 40).double(), "orthogonal", seed=0)
    row = jp.isometrize(jp.prune(net, "random", sparsity=0.95, seed=0).apply(net).cuda()).rows[0]
    assert row["score_after"] == pytest.approx(row["floor"], abs=1e-5) and row["converged"]
