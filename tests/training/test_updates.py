import pytest
import torch
from torch import nn

from jacprobe.errors import ArgumentError
from jacprobe.training.plain import Trained
from jacprobe.training.precision import LossScale, Precision
from jacprobe.training.updates import Descent


def parameters(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator, dtype=dtype)) for shape in ((3, 4), (4,), (2, 2))]


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("l2", [0.0, 0.01])
def test_updates_are_those_of_sgd_with_twice_the_penalty_as_weight_decay(momentum, l2):
    ours, theirs = parameters(), parameters()
    mask = torch.tensor([[1, 0, 1, 0]] * 3, dtype=torch.float64)
    for net in (ours, theirs):
        net[0].data *= mask
    trained = [Trained(ours[0], mask, True), Trained(ours[1], None, True), Trained(ours[2], None, False)]
    descent = Descent(trained, momentum=momentum, l2=l2)
    groups = [{"params": theirs[:2], "weight_decay": 2 * l2}, {"params": theirs[2:]}]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=momentum)
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        gradients = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in ours]
        for parameter, gradient in zip(theirs, gradients, strict=True):
            parameter.grad = gradient.clone()
        theirs[0].grad *= mask
        optimizer.step()
        descent.step(gradients, 0.1)
    for own, other in zip(ours, theirs, strict=True):
        assert torch.allclose(own, other, rtol=0, atol=1e-14)
    assert (ours[0][:, 1::2] == 0).all() and (ours[0][:, ::2] != 0).all()


def test_a_network_without_masks_or_penalty_is_trained_too():
    (parameter,) = parameters()[:1]
    before = parameter.detach().clone()
    Descent([Trained(parameter, None, False)], momentum=0.5, l2=0.1).step([torch.ones(3, 4, dtype=torch.float64)], 2.0)
    assert torch.equal(parameter, before - 2)


def test_an_overflow_halves_the_scale_and_patience_doubles_it():
    scale = LossScale(factor=8.0, patience=2)
    assert scale.unscaled([torch.ones(2), torch.tensor([float("inf")])]) is None and scale.factor == 4
    (first,) = scale.unscaled([torch.tensor([4.0])])
    assert first == 1 and scale.factor == 4
    (second,) = scale.unscaled([torch.tensor([8.0])])
    assert second == 2 and scale.factor == 8 and scale.num_good == 0


def test_scaled_gradients_are_the_gradients():
    precision = Precision("float32", torch.device("cpu"))
    weight, unused = torch.tensor([3.0], requires_grad=True), torch.tensor([1.0], requires_grad=True)
    plain = precision.gradients((weight**2).sum(), [weight, unused])
    precision.scale = LossScale()
    scaled = precision.gradients((weight**2).sum(), [weight, unused])
    assert [float(g) for g in plain] == [float(g) for g in scaled] == [6.0, 0.0]


def test_mixed_precision_is_refused_without_a_gpu():
    with pytest.raises(ArgumentError, match="`precision` must be 'float32' on 'cpu'; got 'mixed'. Pass device='cuda'"):
        Precision("mixed", torch.device("cpu"))
