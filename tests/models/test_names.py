import subprocess
import sys

import pytest

from jacprobe.errors import UnknownNameError
from jacprobe.models import model_names
from jacprobe.models.names import named_network


def test_every_network_of_the_paper_has_a_name():
    mlps = [f"mlp-{depth}-{act}" for depth in (3, 5, 7) for act in ("linear", "tanh", "relu", "lrelu")]
    others = ["lenet-300-100", "lenet-5", "vgg16", "vgg16-bn", "resnet-20", "resnet-32", "resnet-56", "resnet-110"]
    assert model_names() == [*mlps, *others, "wrn-16-6"]


@pytest.mark.parametrize("name", [name for name in model_names() if name.startswith("mlp")])
def test_an_mlp_name_says_its_depth_and_activation(name):
    _, depth, activation = name.split("-")
    assert named_network(name) == ("mlp", {"depth": int(depth), "activation": activation})


def test_the_list_of_names_is_a_copy():
    model_names().clear()
    named_network("resnet-20")[1].clear()
    assert "resnet-20" in model_names()
    assert named_network("resnet-20") == ("resnet", {"block_size": 3})


def test_names_come_without_torch():
    code = "import sys, jacprobe.models as m; m.model_names(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", ["alexnet", "", "wrn-16-0", "wrn-16-", "wrn-16-06", "WRN-16-6\n", None, 7, ["vgg16"]])
def test_an_unknown_name_lists_the_valid_ones(name):
    with pytest.raises(UnknownNameError, match="`model` must be one of mlp-3-linear, .*, vgg16, .*; got .*wrn-16-K"):
        named_network(name)


def test_a_misspelt_name_gets_a_suggestion():
    with pytest.raises(UnknownNameError, match=r"got 'resnet20'\. Did you mean 'resnet-20'\?"):
        named_network("resnet20")
