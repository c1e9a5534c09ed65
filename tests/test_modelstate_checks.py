import warnings

import pytest
import torch
from torch import nn

from jacprobe.errors import DtypeError, ModelError, NonFiniteError
from jacprobe.modelstate import check_is_module, check_model, check_module


@pytest.fixture
def net():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 2))


@pytest.mark.parametrize("check", [check_is_module, check_module, check_model])
def test_a_model_must_be_a_module(check):
    with pytest.raises(DtypeError, match=r"`model` must be a torch\.nn\.Module; got dict\. Load or build one first"):
        check({"weight": torch.ones(2)})


@pytest.mark.parametrize("check", [check_is_module, check_module, check_model])
def test_a_model_must_be_of_python(check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated
        scripted = torch.jit.script(nn.Linear(3, 2))
    with pytest.raises(ModelError, match=r"be a module of Python; got RecursiveScriptModule of TorchScript, which"):
        check(scripted)


@pytest.mark.parametrize("check", [check_module, check_model])
def test_a_lazy_model_must_have_run_once(check):
    with pytest.raises(ModelError, match=r"must be initialised; '0\.weight' has no shape yet\. Run one batch"):
        check(nn.Sequential(nn.LazyLinear(3)))


def test_a_lazy_buffer_must_have_run_once():
    net = nn.LazyBatchNorm1d(affine=False)
    with pytest.raises(ModelError, match="'running_mean' has no shape yet"):
        check_model(net)


def test_a_buffer_may_hold_the_infinity_of_an_attention_mask():
    net = nn.Linear(2, 2)
    net.register_buffer("mask", torch.tensor([0, -float("inf")]))
    check_model(net)


@pytest.mark.parametrize(
    ("name", "value"),
    [("0.weight", float("nan")), ("0.weight", float("inf")), ("0.weight", -float("inf")),
     ("1.running_var", float("nan"))],
)
def test_weights_must_be_finite_and_buffers_numbers(net, name, value):
    with torch.no_grad():
        net.state_dict()[name].view(-1)[1] = value
    numel = net.state_dict()[name].numel()
    with pytest.raises(NonFiniteError, match=rf"'{name}' has 1 NaN or infinite of {numel} entries\. Repair or reload"):
        check_model(net)


def test_a_module_need_not_be_finite():
    net = nn.Linear(2, 2)
    nn.init.constant_(net.weight, float("nan"))
    check_module(net)


@pytest.mark.parametrize("net", [nn.Linear(3, 2), nn.Embedding(3, 2), nn.ReLU(), nn.Linear(2, 2).half()], ids=str)
def test_a_sound_model_passes(net):
    check_model(net)


def test_a_model_made_in_inference_mode_passes():
    with torch.inference_mode():
        net = nn.Linear(3, 2)
    check_model(net)
