"""On a CUDA device: the training of the CPU, and mixed precision."""

import os
import signal

import pytest
import torch
from trainable import make_convnet, make_mlp, make_samples, some_masks

import jacprobe as jp

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]

TRAINING = jp.Training(iterations=120, batch_size=16, log_every=1, log_offset=1, evaluate_every=40)


def pruned():
    return some_masks(make_convnet()).apply(make_convnet())


def test_losses_on_the_device_are_those_of_the_cpu():
    net, samples = some_masks(make_mlp()).apply(make_mlp(dtype=torch.float64)), make_samples(dtype=torch.float64)
    net = net.double()
    here, there = (jp.train(net, samples, test=samples, training=TRAINING, device=device) for device in ("cpu", "cuda"))
    assert there.history["loss"].tolist() == pytest.approx(here.history["loss"].tolist(), rel=1e-6)
    assert next(there.model.parameters()).device.type == "cpu"
    jp.assert_masked(there.model)


def test_mixed_precision_learns_and_keeps_the_mask():
    samples, changes = make_samples(), {"precision": "mixed", "augmentation": ["flip"]}
    training = jp.Training.of_settings({**TRAINING.to_settings(), **changes})
    before = torch.cuda.get_rng_state()
    run = jp.train(pruned().cuda(), samples, test=samples, training=training)
    assert torch.equal(torch.cuda.get_rng_state(), before)
    assert run.diverged is None and run.error < 40
    jp.assert_masked(run.model)
    for tensor in run.model.state_dict().values():
        assert tensor.is_cuda and tensor.is_contiguous() and tensor.dtype != torch.bfloat16


def test_a_run_on_the_device_diverges_at_the_iteration_of_the_cpu():
    training = jp.Training(iterations=100, batch_size=16, rate=1e30, log_every=1, log_offset=1, evaluate_every=100)
    here, there = (jp.train(make_mlp(), make_samples(), training=training, device=device) for device in ("cpu", "cuda"))
    assert here.diverged == there.diverged and len(there.history) == there.diverged - 1


def test_a_run_on_the_device_resumes(tmp_path):
    net, count = some_masks(make_mlp()).apply(make_mlp()), []
    expected = jp.train(net, make_samples(), training=TRAINING, device="cuda")

    def hook(module, inputs):
        count.append(module.training)
        if sum(count) == 57:
            os.kill(os.getpid(), signal.SIGINT)

    handle = net.register_forward_pre_hook(hook)
    with pytest.raises(KeyboardInterrupt):
        jp.train(net, make_samples(), training=TRAINING, device="cuda", checkpoint=tmp_path / "run.pt")
    handle.remove()
    resumed = jp.train(net, make_samples(), training=TRAINING, device="cuda", checkpoint=tmp_path / "run.pt")
    assert resumed.history["loss"].tolist() == pytest.approx(expected.history["loss"].tolist(), rel=1e-6)
