import pytest
import torch

from jacprobe.models import build
from jacprobe.models.mlp import fully_connected


def test_children_have_readable_names_in_forward_order():
    assert list(dict(build("mlp-3-tanh").named_children())) == ["flatten", "fc1", "act1", "fc2", "act2", "fc3"]


@pytest.mark.parametrize("depth", [3, 5, 7])
def test_an_mlp_has_as_many_weights_as_its_name_says(depth):
    net = build(f"mlp-{depth}-relu", width=30)
    shapes = [tuple(tensor.shape) for name, tensor in net.named_parameters() if name.endswith("weight")]
    assert shapes == [(30, 784), *[(30, 30)] * (depth - 2), (10, 30)]


def test_a_tanh_mlp_is_the_alternation_of_matrices_and_tanh():
    net = build("mlp-3-tanh", input_shape=(1, 4, 4), width=6).double()
    images = torch.randn(5, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    hidden = images.reshape(5, 16).numpy()
    for name in ("fc1", "fc2", "fc3"):
        hidden = hidden @ net.get_submodule(name).weight.detach().numpy().T
        if name != "fc3":
            hidden = torch.tensor(hidden).tanh().numpy()
    assert torch.allclose(net(images), torch.tensor(hidden), rtol=0, atol=1e-12)


def test_one_weight_layer_has_no_activation():
    assert list(dict(fully_connected([4, 2], activation="tanh").named_children())) == ["flatten", "fc1"]
