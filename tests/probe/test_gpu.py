"""On a CUDA device: the same spectra as on the CPU."""

import pytest
import torch
from architectures import ARCHITECTURES
from oracles import assert_spectrum_close, randomized, seeded_normal

import jacprobe as jp

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


@pytest.mark.parametrize("name", ["lenet-5", "resnet-20", "in-place relu"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_spectra_on_the_device_are_those_on_the_cpu(name, dtype):
    factory, shape, output = ARCHITECTURES[name]
    net, inputs = randomized(factory()), seeded_normal(3, *shape)
    expected = jp.spectra(net, inputs, output=output, accuracy="reference")
    moved = jp.spectra(net.cuda(), inputs, output=output, dtype=dtype)
    assert moved.provenance["device"].startswith("cuda")
    for one, other in zip(expected, moved, strict=True):
        assert_spectrum_close(other.values, one.values, floor=other.floor + one.floor)


def test_pruning_on_the_device_gives_the_masks_of_the_cpu():
    net = jp.build("mlp-3-tanh", input_shape=(1, 8, 8)).double()
    images, labels = jp.load_data("digits", num=64)
    data = (images.double(), labels)
    masks = jp.prune(net, "snip", sparsity=0.9, data=data)
    assert jp.prune(net.cuda(), "snip", sparsity=0.9, data=data) == masks
