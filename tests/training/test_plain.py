import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune
from trainable import make_convnet, make_mlp, some_masks

import jacprobe as jp
from jacprobe.training.plain import PlainCopy

CPU = torch.device("cpu")


def masked_by_torch():
    net = make_mlp()
    prune.l1_unstructured(net[1], "weight", amount=0.6)
    return net


@pytest.mark.parametrize(
    "net", [some_masks(make_mlp()).apply(make_mlp()), some_masks(make_convnet()).apply(make_convnet()),
            masked_by_torch(), make_mlp()],
    ids=["masked", "masked convolutions", "masked by torch", "dense"],
)
def test_the_copy_that_is_trained_is_plain_and_computes_the_same(net):
    plain = PlainCopy(net, CPU)
    assert not any(nn.utils.parametrize.is_parametrized(module) for module in plain.net.modules())
    assert not any(module._forward_pre_hooks for module in plain.net.modules())
    images = torch.randn(5, 1, 6, 6)
    assert torch.equal(plain.net.eval()(images), net.eval()(images))
    for parameter, mask, penalised in plain.trained:
        assert mask is None or (mask.dtype == parameter.dtype and (parameter[mask == 0] == 0).all())
        assert penalised or parameter.shape == (4,)  # of the batch norm


def test_the_penalty_leaves_out_what_is_no_layer_of_weights():
    plain = PlainCopy(make_convnet(), CPU)
    names = [name for name, _ in plain.net.named_parameters()]
    counted = {name for name, entry in zip(names, plain.trained, strict=True) if entry.penalised}
    assert counted == {"0.weight", "0.bias", "5.weight", "5.bias"}
    masked = jp.Masks({"1.weight": torch.tensor([True, False, True, True])}).apply(make_convnet())
    assert sum(entry.penalised for entry in PlainCopy(masked, CPU).trained) == 5


def test_masks_stay_in_the_forward_pass_where_another_parametrisation_needs_them():
    net = make_mlp()
    parametrizations.weight_norm(net[3])
    net = jp.Masks({"1.weight": torch.rand(8, 36) < 0.5}).apply(net)
    parametrizations.spectral_norm(net[1])
    plain = PlainCopy(net, CPU)
    assert nn.utils.parametrize.is_parametrized(plain.net[1]) and nn.utils.parametrize.is_parametrized(plain.net[3])
    assert all(entry.mask is None for entry in plain.trained)


def test_what_was_never_trained_comes_back_as_it_was():
    for net in (some_masks(make_convnet()).apply(make_convnet()), masked_by_torch()):
        written = PlainCopy(net, CPU).written(net)
        assert all(torch.equal(tensor, written.state_dict()[name]) for name, tensor in net.state_dict().items())
        assert written is not net


def test_copies_of_tensors_are_taken_over():
    plain = PlainCopy(make_convnet(), CPU)
    saved = {name: tensor.clone() for name, tensor in plain.tensors().items()}
    for tensor in plain.tensors().values():
        tensor.zero_()
    plain.load(saved)
    assert all(torch.equal(tensor, saved[name]) for name, tensor in plain.tensors().items())
    assert torch.equal(plain.net[0].weight, saved["0.weight"]) and "1.running_mean" in saved
