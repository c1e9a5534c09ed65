import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils import prune as torch_prune

from jacprobe.errors import ArgumentError, DtypeError, ModelError, UnknownNameError
from jacprobe.masks import Masks
from jacprobe.pruning.prunable import describe_choice, prunable_names


def make_net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 6, bias=False), nn.Linear(6, 3)
    )


def make_tied():
    net = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
    net[2].weight = net[0].weight
    return net


class Language(nn.Module):
    """The rows of the embedding are those of the last layer."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.body = nn.Linear(4, 4)
        self.head = nn.Linear(4, 7)
        self.head.weight = self.embedding.weight


CHOICES = {
    "weights": ("weights", ["0.weight", "4.weight", "5.weight"]),
    "the paper's": ("paper", ["0.weight", "0.bias", "4.weight", "5.weight", "5.bias"]),
    "names": (["5.weight", "1.weight", "5.weight"], ["5.weight", "1.weight"]),
    "an iterator": (iter(["5.weight", "0.weight"]), ["5.weight", "0.weight"]),
    "a pattern": (["[05].*"], ["0.weight", "0.bias", "5.weight", "5.bias"]),
    "a type": (nn.Linear, ["4.weight", "5.weight"]),
    "types and names": ([nn.BatchNorm2d, "5.bias"], ["1.weight", "5.bias"]),
    "a predicate on names": (lambda name, module, parameter: name.endswith("bias"), ["0.bias", "1.bias", "5.bias"]),
    "a predicate on modules": (lambda name, module, parameter: isinstance(module, nn.Conv2d), ["0.weight", "0.bias"]),
    "a predicate on parameters": (lambda name, module, parameter: parameter.numel() > 20, ["0.weight", "4.weight"]),
}


@pytest.mark.parametrize(("prunable", "expected"), CHOICES.values(), ids=CHOICES)
def test_the_set_is_what_was_chosen(prunable, expected):
    assert prunable_names(make_net(), prunable) == expected


PROTECTED = {
    "a name": ("4.weight", ["0.weight", "5.weight"]),
    "names": (["0.weight", "5.weight"], ["4.weight"]),
    "a module": ("0", ["4.weight", "5.weight"]),
    "a pattern": ("[45].*", ["0.weight"]),
    "a type": (nn.Conv2d, ["4.weight", "5.weight"]),
    "a type that does not occur": (nn.Embedding, ["0.weight", "4.weight", "5.weight"]),
    "types and names": ([nn.Conv2d, "5"], ["4.weight"]),
}


@pytest.mark.parametrize(("protected", "expected"), PROTECTED.values(), ids=PROTECTED)
def test_what_is_protected_is_not_in_the_set(protected, expected):
    assert prunable_names(make_net(), "weights", protected) == expected


def test_protecting_a_type_protects_its_biases():
    assert prunable_names(make_net(), "paper", nn.Linear) == ["0.weight", "0.bias"]


@pytest.mark.parametrize(
    "prunable", ["weights", ["2.weight"], ["2.weight", "0.weight"], nn.Linear, lambda name, module, tensor: "2" in name
                 and tensor.ndim == 2])
def test_tied_parameters_are_in_the_set_once_under_their_first_name(prunable):
    assert prunable_names(make_tied(), prunable) == ["0.weight"]


def test_protecting_one_name_of_a_tied_parameter_protects_it():
    net = nn.Sequential(make_tied(), nn.Linear(3, 2))
    assert prunable_names(net, "weights", "0.2.weight") == ["1.weight"]


def test_embeddings_are_in_the_set_only_where_they_are_chosen():
    assert prunable_names(Language()) == ["body.weight"]
    assert prunable_names(Language(), "paper") == ["body.weight", "body.bias", "head.bias"]
    assert prunable_names(Language(), nn.Embedding) == ["embedding.weight"]
    assert prunable_names(Language(), ["head.weight"]) == ["embedding.weight"]


@pytest.mark.parametrize(
    "layer", [nn.Linear(2, 3), nn.Conv1d(1, 1, 2), nn.Conv3d(1, 1, 2), nn.ConvTranspose2d(1, 1, 2)], ids=str
)
def test_a_single_layer_is_a_model(layer):
    assert prunable_names(layer, "weights") == ["weight"]
    assert prunable_names(layer, "paper") == ["weight", "bias"]


@pytest.mark.parametrize("prunable", ["weights", "paper", nn.Linear, lambda name, module, tensor: tensor.ndim > 1])
def test_masked_and_torch_pruned_models_have_the_set_of_the_dense_one(prunable):
    dense, net = prunable_names(make_net(), prunable), make_net()
    everything = {name: torch.ones_like(tensor, dtype=torch.bool) for name, tensor in net.named_parameters()}
    assert prunable_names(Masks(everything).apply(net), prunable) == dense
    for module, attribute in ((net[0], "weight"), (net[5], "weight"), (net[5], "bias")):
        torch_prune.random_unstructured(module, attribute, 0.5)
    assert sorted(prunable_names(net, prunable)) == sorted(dense)
    assert prunable_names(nn.DataParallel(make_net()), prunable) == dense


def test_a_choice_is_described_in_plain_words():
    assert describe_choice(["5.bias", nn.Conv2d]) == ["5.bias", "Conv2d"]
    assert describe_choice(make_net) == "make_net"


# bad input


@pytest.mark.parametrize("prunable", ["all", 3])
def test_a_set_must_be_known(prunable):
    with pytest.raises(UnknownNameError, match=rf"`prunable` must be one of weights, paper; got {prunable!r}\. Or"):
        prunable_names(make_net(), prunable)


def test_a_name_must_be_a_parameter():
    with pytest.raises(
        UnknownNameError, match=r"`prunable` must be one of 0\.weight, .+; got '5\.wieght'\. Did you mean"
    ):
        prunable_names(make_net(), ["0.weight", "5.wieght"])
    with pytest.raises(UnknownNameError, match=r"`protected` must be one of 0\.weight, .+; got 'conv\*'"):
        prunable_names(make_net(), "weights", "conv*")


@pytest.mark.parametrize("argument", ["prunable", "protected"])
def test_an_entry_must_be_a_name_or_a_type(argument):
    with pytest.raises(DtypeError, match=rf"`{argument}` must hold parameter names, patterns or .+ types; got 3\. "):
        prunable_names(make_net(), **{argument: ["0.weight", 3]})


@pytest.mark.parametrize(
    ("net", "prunable"), [(nn.ReLU(), "weights"), (nn.BatchNorm1d(3), "paper"), (nn.Linear(2, 2), []),
                          (nn.Linear(2, 2), nn.Conv2d), (nn.Linear(2, 2), lambda *_: False)], ids=range(5))
def test_the_set_must_not_be_empty(net, prunable):
    with pytest.raises(ArgumentError, match=r"`prunable` must name at least one parameter; .+ Pass parameter names"):
        prunable_names(net, prunable)


def test_something_must_be_left_unprotected():
    with pytest.raises(ArgumentError, match=r"`protected` must leave parameters .+ the whole .+, 0\.weight, 4.+\. Pro"):
        prunable_names(make_net(), "weights", "*")


def test_a_layer_with_a_computed_weight_is_not_left_out_silently():
    net = nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 3)), nn.Linear(3, 2))
    with pytest.raises(ModelError, match=r"must own the weights to prune; '0\.weight' is computed from other"):
        prunable_names(net)
    names = ["0.weight.original1", "1.weight"]
    assert prunable_names(net, names) == names
