"""The model comes back untouched, samples must not mix, and outputs must repeat."""

import importlib
import random

import numpy as np
import pytest
import torch
from oracles import seeded_normal
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune

import jacprobe as jp
from jacprobe.errors import ModelError

KINDS = ("layers", "modules", "cumulative", "end_to_end")


def _plain():
    return nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.ReLU(inplace=True), nn.Linear(4, 3))


def _stubborn():
    class Stubborn(nn.BatchNorm1d):
        def train(self, mode=True):
            return super().train(True)

    return nn.Sequential(nn.Linear(4, 4), Stubborn(4))


def _hooked():
    net = _plain()
    net[0].register_forward_hook(lambda module, args, result: result + 1)
    net[3].register_forward_pre_hook(lambda module, args: (args[0] * 2,))
    net[4].register_full_backward_hook(lambda module, inward, outward: None)
    return net


def _pruned():
    net = _plain()
    prune.l1_unstructured(net[0], "weight", 0.5)
    net(seeded_normal(3, 4))
    return net


def _parametrized():
    net = _plain()
    parametrizations.spectral_norm(net[0])
    parametrizations.weight_norm(net[4])
    return net


def _masked():
    return jp.Masks({"0.weight": seeded_normal(4, 4) > 0}).apply(_plain())


def _writing():
    class Writing(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.register, self.last = nn.Linear(4, 4), 0, None
            self.register_buffer("count", torch.zeros(()))

        def forward(self, x):
            self.register += 1
            self.last = self.fc(x)
            self.fresh = nn.Parameter(torch.zeros(2))
            self.extra = nn.Linear(2, 2)
            self.register_buffer("seen", torch.ones(3))
            self.count += 1
            self.fc.register_forward_hook(lambda *_: None)
            self.fc.requires_grad_(False)
            return self.last.tanh()

    return Writing()


def _frozen():
    net = _plain()
    net[0].requires_grad_(False)
    net(seeded_normal(5, 4)).sum().backward()
    return net


def _drawing():
    class Drawing(nn.Linear):
        def forward(self, x):
            random.random(), np.random.rand(), torch.rand(1)
            return super().forward(x)

    return Drawing(4, 4)


def _failing_late():
    class Failing(nn.Linear):
        def forward(self, x):
            random.random(), np.random.rand(), torch.rand(1)
            if x.requires_grad:
                raise RuntimeError("no gradients here")
            return super().forward(x)

    return nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), Failing(4, 4))


_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_forward_hooks_with_kwargs")


def _state(net):
    """Everything that the caller could see of a model, with copies of the tensors."""
    tensors = dict([*net.named_parameters(), *net.named_buffers()])
    modules = dict(net.named_modules())
    return {
        "tensors": {name: (id(t), t.detach().clone(), t.requires_grad, t._version) for name, t in tensors.items()},
        "grads": {name: None if t.grad is None else t.grad.clone() for name, t in tensors.items()},
        "modules": {name: (id(m), m.training, sorted(vars(m))) for name, m in modules.items()},
        "hooks": {name: [[*getattr(m, kind).items()] for kind in _HOOKS] for name, m in modules.items()},
        "random": (torch.get_rng_state(), random.getstate(), np.random.get_state()[1:3]),
    }


def _assert_same(one, other):
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            _assert_same(one[key], other[key])
    elif isinstance(one, (tuple, list)):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            _assert_same(a, b)
    elif isinstance(one, np.ndarray):
        assert (one == other).all()
    else:
        assert one == other


MODELS = {"plain": _plain, "with hooks": _hooked, "pruned by torch": _pruned, "parametrized": _parametrized,
          "masked": _masked, "writing in forward": _writing, "frozen, with gradients": _frozen, "drawing": _drawing}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("entry", ["spectra", "jacobian", "sites"])
def test_the_model_and_the_random_state_come_back_untouched(name, entry):
    net, inputs = MODELS[name](), seeded_normal(5, 4)
    copy, before = inputs.clone(), _state(net)
    arguments = {"kind": KINDS} if entry == "spectra" else {}
    result = getattr(jp, entry)(net, inputs, **arguments)
    if entry == "jacobian":
        result.dense()
    _assert_same(before, _state(net))
    assert torch.equal(inputs, copy)
    assert not inputs.requires_grad


@pytest.mark.parametrize("factory", [_stubborn, _failing_late])
def test_the_model_comes_back_untouched_when_the_probe_refuses_it(factory):
    net = factory()
    before = _state(net)
    with pytest.raises(ModelError):
        jp.spectra(net, seeded_normal(5, 4))
    _assert_same(before, _state(net))


def test_the_check_of_untouched_models_sees_a_change():
    net = _plain()
    before = _state(net)
    net.eval()
    with pytest.raises(AssertionError):
        _assert_same(before, _state(net))
    net = _plain()
    before = _state(net)
    net[1].running_mean += 1e-7
    with pytest.raises(AssertionError):
        _assert_same(before, _state(net))


def test_interruption_leaves_the_model_untouched(monkeypatch):
    net = _plain()
    before = _state(net)

    def interrupted(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib.import_module("jacprobe.solvers.exact").ExactSolver, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        jp.spectra(net, seeded_normal(5, 4))
    _assert_same(before, _state(net))


def test_precision_settings_come_back(monkeypatch):
    torch.set_float32_matmul_precision("high")
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    try:
        jp.spectra(_plain(), seeded_normal(3, 4))
        assert torch.get_float32_matmul_precision() == "high"
        assert torch.backends.cudnn.allow_tf32
    finally:
        torch.set_float32_matmul_precision("highest")


def test_autocast_of_the_caller_does_not_reach_the_probe():
    net, inputs = nn.Sequential(nn.Linear(4, 4), nn.Tanh()), seeded_normal(3, 4)
    plain = jp.spectra(net, inputs).end_to_end.values
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(jp.spectra(net, inputs).end_to_end.values, plain)


def test_training_mode_and_evaluation_mode_give_the_same_spectra():
    net, inputs = _plain(), seeded_normal(3, 4)
    training, evaluation = (jp.spectra(net.train(mode), inputs).end_to_end.values for mode in (True, False))
    assert torch.equal(training, evaluation)


def test_the_same_call_gives_the_same_bits():
    net, inputs = _plain(), seeded_normal(3, 4)
    one, other = jp.spectra(net, inputs, kind=KINDS), jp.spectra(net, inputs, kind=KINDS)
    assert all(torch.equal(a.values, b.values) and a.floor == b.floor for a, b in zip(one, other, strict=True))


class _Map(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.fc, self.function = nn.Linear(4, 4), function

    def forward(self, x):
        return self.function(self.fc(x))


@pytest.mark.parametrize("num_inputs", [1, 2, 6])
@pytest.mark.parametrize(
    "mixing",
    [
        pytest.param(lambda x: functional.batch_norm(x, None, None, training=True), id="batch norm in train mode"),
        pytest.param(lambda x: x - x.mean(0), id="mean removed"),
        pytest.param(lambda x: x - x.mean(0).detach(), id="detached mean removed"),
        pytest.param(lambda x: x.softmax(0), id="softmax over the batch"),
        pytest.param(lambda x: x + x.roll(1, 0), id="neighbour added"),
        pytest.param(lambda x: x.cumsum(0), id="earlier samples added"),
        pytest.param(lambda x: x.flip(0).cumsum(0).flip(0), id="later samples added"),
        pytest.param(lambda x: x * x.detach().cumsum(0).tanh(), id="earlier samples as a detached gate"),
    ],
)
def test_a_model_that_mixes_samples_is_refused(mixing, num_inputs):
    for entry in (jp.spectra, jp.jacobian, jp.sites):
        with pytest.raises(ModelError, match="`model` must treat samples one by one; changing one sample changes the"):
            entry(_Map(mixing), seeded_normal(num_inputs, 4))


def test_a_recurrent_net_with_time_first_is_refused():
    with pytest.raises(ModelError, match="`model` must treat samples one by one"):
        jp.spectra(nn.LSTM(3, 4), seeded_normal(5, 6, 3), output=lambda out: out[0])


def test_mixing_too_weak_for_the_forward_pass_is_seen_in_the_gradient():
    net = _Map(lambda x: x + 1e-6 * x.mean(0))
    with pytest.raises(ModelError, match="`model` must treat samples one by one"):
        jp.spectra(net, seeded_normal(5, 4), kind="end_to_end")
    with pytest.raises(ModelError, match=r"`model` must have one Jacobian per input .* samples mix"):
        jp.jacobian(net, seeded_normal(5, 4))


@pytest.mark.parametrize(
    "noise",
    [
        pytest.param(functional.dropout, id="functional dropout"),
        pytest.param(lambda x: x + torch.rand_like(x), id="added noise"),
        pytest.param(lambda x: x * float(np.random.rand()), id="noise of NumPy"),
        pytest.param(lambda x: x * random.random(), id="noise of Python"),
    ],
)
def test_a_model_whose_output_does_not_repeat_is_refused(noise):
    with pytest.raises(ModelError, match=r"`model` must repeat its output in evaluation mode; two calls .* differ"):
        jp.spectra(_Map(noise), seeded_normal(3, 4))


@pytest.mark.skipif(not hasattr(torch.backends, "fp32_precision"), reason="needs the precision settings of torch 2.9")
@pytest.mark.parametrize(
    ("owner", "value"),
    [(torch.backends, "tf32"), (torch.backends.cuda.matmul, "tf32"), (torch.backends.cudnn.conv, "ieee"),
     (torch.backends.mkldnn.matmul, "bf16")],
    ids=["all", "cuda products", "cudnn convolutions", "cpu products"],
)
def test_any_precision_setting_of_the_caller_is_set_aside_and_restored(owner, value):
    net, inputs = _plain(), torch.ones(2, 4)
    expected = jp.spectra(net, inputs)
    owners = [torch.backends, torch.backends.cuda.matmul, torch.backends.cudnn, torch.backends.cudnn.conv,
              torch.backends.cudnn.rnn, torch.backends.mkldnn, torch.backends.mkldnn.matmul,
              torch.backends.mkldnn.conv, torch.backends.mkldnn.rnn]
    before = [one.fp32_precision for one in owners]
    try:
        owner.fp32_precision = value
        during = [one.fp32_precision for one in owners]
        result = jp.spectra(net, inputs)
        assert [one.fp32_precision for one in owners] == during
    finally:
        for one, setting in zip(owners, before, strict=True):
            one.fp32_precision = setting
    for one, other in zip(expected, result, strict=True):
        assert torch.equal(one.values, other.values)
