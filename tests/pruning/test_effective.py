import itertools

import numpy as np
import pytest
import scipy.sparse
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.nn.utils import prune as torch_prune

import jacprobe as jp
from jacprobe.errors import DtypeError, ModelError, ShapeError, UnknownNameError
from jacprobe.masks import Masks
from jacprobe.pruning.effective import effective_masks

# an oracle that knows nothing of autograd: units are nodes, every place of every kept weight is an edge


class Graph:
    """Edges between units, each with the parameter entry that it uses, or None."""

    def __init__(self, masks):
        self.masks, self.edges, self.num_units = masks, [], 0

    def units(self, *shape):
        first, self.num_units = self.num_units, self.num_units + int(np.prod(shape))
        return np.arange(first, self.num_units).reshape(shape)

    def wire(self, source, target, entry=None):
        if entry is None or entry[0] not in self.masks or self.masks[entry[0]][entry[1]]:
            self.edges.append((int(source), int(target), entry))

    def linear(self, sources, name, out):
        targets = self.units(out)
        for i, j in itertools.product(range(out), range(sources.size)):
            self.wire(sources.flat[j], targets[i], (name, (i, j)))
        return targets

    def conv(self, sources, name, module):
        """Every tap of every filter at every place of the image, padding left out."""
        (channels, height, width), (stride, padding, dilation) = sources.shape, (
            module.stride[0], module.padding[0], module.dilation[0])
        reach = dilation * (module.kernel_size[0] - 1) + 1
        sides = [(side + 2 * padding - reach) // stride + 1 for side in (height, width)]
        targets = self.units(module.out_channels, *sides)
        per_in, per_out = channels // module.groups, module.out_channels // module.groups
        for out, y, x, c, ky, kx in itertools.product(*map(range, (*targets.shape, per_in, *module.kernel_size))):
            row, column = y * stride + ky * dilation - padding, x * stride + kx * dilation - padding
            if 0 <= row < height and 0 <= column < width:
                source = sources[out // per_out * per_in + c, row, column]
                self.wire(source, targets[out, y, x], (name, (out, c, ky, kx)))
        return targets

    def pool(self, sources, kernel, stride, sides):
        channels, height, width = sources.shape
        targets = self.units(channels, *sides)
        for c, y, x, ky, kx in itertools.product(*map(range, (*targets.shape, kernel, kernel))):
            if y * stride + ky < height and x * stride + kx < width:
                self.wire(sources[c, y * stride + ky, x * stride + kx], targets[c, y, x])
        return targets

    def add(self, first, second):
        targets = self.units(*first.shape)
        for sources in (first, second):
            for source, target in zip(sources.flat, targets.flat, strict=True):
                self.wire(source, target)
        return targets

    def effective(self, inputs, outputs):
        """Entries on an edge whose start is reached from an input and whose end reaches an output."""
        starts, ends = (np.array([edge[side] for edge in self.edges], dtype=int) for side in (0, 1))
        matrix = scipy.sparse.csr_array((np.ones(len(starts)), (starts, ends)), shape=(self.num_units,) * 2)
        reached, useful = _reached(matrix, inputs.flat), _reached(matrix.T.tocsr(), outputs.flat)
        found = {name: torch.zeros_like(mask) for name, mask in self.masks.items()}
        for start, end, entry in self.edges:
            if entry is not None and entry[0] in found and start in reached and end in useful:
                found[entry[0]][entry[1]] = True
        return Masks(found)


def _reached(matrix, starts):
    search = scipy.sparse.csgraph.breadth_first_order
    return set().union(*(search(matrix, int(start), return_predecessors=False).tolist() for start in starts))


def random_masks(model, density, seed=0, kinds=("weight",)):
    generator = torch.Generator().manual_seed(seed)
    return Masks({name: torch.rand(parameter.shape, generator=generator) < density
                  for name, parameter in model.named_parameters() if name.rpartition(".")[2] in kinds})


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("density", [0.1, 0.25, 0.6])
def test_of_an_mlp_exactly_the_weights_on_a_path_of_kept_ones_are_effective(density, seed):
    net = nn.Sequential(nn.Linear(7, 6), nn.Tanh(), nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5), nn.GELU(),
                        nn.Linear(5, 3))
    masks = random_masks(net, density, seed)
    graph = Graph(masks)
    inputs = units = graph.units(7)
    for name, out in (("0", 6), ("2", 8), ("4", 5), ("6", 3)):
        units = graph.linear(units, f"{name}.weight", out)
    assert effective_masks(net, masks, torch.randn(4, 7)) == graph.effective(inputs, units)


def test_of_a_tiny_net_every_path_can_be_walked():
    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3), nn.Linear(3, 2))
    names = ("0.weight", "2.weight", "3.weight")
    for seed in range(20):
        masks = random_masks(net, 0.35, seed)
        found = {name: torch.zeros_like(mask) for name, mask in masks.items()}
        for path in itertools.product(range(3), range(3), range(3), range(2)):
            steps = [(name, (path[k + 1], path[k])) for k, name in enumerate(names)]
            if all(masks[name][entry] for name, entry in steps):
                for name, entry in steps:
                    found[name][entry] = True
        assert effective_masks(net, masks, torch.ones(1, 3)) == Masks(found)


class ConvNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, stride=2, padding=2, dilation=2)
        self.norm = nn.BatchNorm2d(4)
        self.depthwise = nn.Conv2d(4, 8, 3, padding=1, groups=4, bias=False)
        self.grouped = nn.Conv2d(8, 4, 3, padding=1, groups=2)
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.deep = nn.Conv2d(4, 3, 3, padding=1)
        self.fc = nn.Linear(3 * 4, 2)

    def forward(self, images):
        out = F.relu(self.norm(self.stem(images)))
        out = self.pool(F.gelu(self.grouped(torch.tanh(self.depthwise(out)))))
        return self.fc(self.deep(out).sigmoid().flatten(1))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("density", [0.08, 0.2, 0.5])
def test_of_a_convolutional_net_the_explicit_matrices_tell_the_same(density, seed):
    net = ConvNet()
    masks = random_masks(net, density, seed)
    masks = Masks({name: mask for name, mask in masks.items() if not name.startswith("norm")})
    graph = Graph(masks)
    inputs = graph.units(2, 6, 6)
    units = graph.conv(graph.conv(inputs, "stem.weight", net.stem), "depthwise.weight", net.depthwise)
    units = graph.pool(graph.conv(units, "grouped.weight", net.grouped), 2, 2, (2, 2))
    units = graph.linear(graph.conv(units, "deep.weight", net.deep), "fc.weight", 2)
    assert effective_masks(net, masks, torch.randn(1, 2, 6, 6)) == graph.effective(inputs, units)


def test_taps_that_only_meet_padding_are_not_effective():
    net = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.Flatten(), nn.Linear(3, 2))
    dense = Masks({"0.weight": torch.ones(3, 2, 3, 3, dtype=torch.bool)})
    effective = effective_masks(net, dense, torch.ones(1, 2, 1, 1))["0.weight"]
    assert effective[:, :, 1, 1].all()
    assert effective.sum() == 6


class Residual(nn.Module):
    """A shortcut, a concatenation, and one convolution used twice."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(2, 3, 1)
        self.branch = nn.Conv2d(3, 3, 3, padding=1)
        self.twice = nn.Conv2d(3, 3, 2, padding=1, dilation=2)
        self.fc = nn.Linear(5 * 9, 2)

    def forward(self, images):
        out = self.first(images)
        out = out + F.silu(self.branch(out), inplace=True)
        out = self.twice(F.leaky_relu(self.twice(out)))
        return self.fc(torch.cat([out, images], 1).flatten(1))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("density", [0.05, 0.15, 0.4])
def test_shortcuts_concatenations_and_tied_weights_are_followed(density, seed):
    net = Residual()
    masks = random_masks(net, density, seed)
    graph = Graph(masks)
    inputs = graph.units(2, 3, 3)
    units = graph.conv(inputs, "first.weight", net.first)
    units = graph.add(units, graph.conv(units, "branch.weight", net.branch))
    for _ in range(2):
        units = graph.conv(units, "twice.weight", net.twice)
    units = graph.linear(np.concatenate([units, inputs]), "fc.weight", 2)
    assert effective_masks(net, masks, torch.randn(2, 2, 3, 3)) == graph.effective(inputs, units)


def test_a_resnet_agrees_with_the_gradient_of_its_positive_twin():
    net = jp.build("resnet-20", input_shape=(3, 16, 16), num_classes=10)
    names = [name for name, parameter in net.named_parameters() if parameter.ndim > 1]
    masks = Masks({name: random_masks(net, 0.02)[name] for name in names})
    twin = net.eval().double()  # with positive weights and inputs relu is no threshold, so gradients cannot cancel
    weights = dict(twin.named_parameters())
    with torch.no_grad():
        for name in names:
            weights[name].copy_((torch.rand(weights[name].shape) + 0.5) * masks[name])
    twin(torch.rand(1, 3, 16, 16).double() + 0.5).sum().backward()
    expected = Masks({name: masks[name] & (weights[name].grad > 0) for name in names})
    assert 0 < expected.num_kept < masks.num_kept
    assert effective_masks(net, masks, torch.randn(1, 3, 16, 16)) == expected


def test_no_depth_under_or_overflows():
    torch.manual_seed(0)
    layers = [nn.Linear(60, 60) for _ in range(300)]
    net = nn.Sequential(*(part for layer in layers for part in (layer, nn.Sigmoid())))
    masks = Masks({f"{2 * k}.weight": torch.rand(60, 60) < (0.06 if k % 2 else 0.9) for k in range(300)})
    reached, useful = [np.ones(60, bool)], [np.ones(60, bool)]
    for mask in masks.values():
        reached.append((mask.numpy() & reached[-1]).any(1))
    for mask in reversed(list(masks.values())):
        useful.insert(0, (mask.numpy() & useful[0][:, None]).any(0))
    expected = {name: mask & torch.from_numpy(useful[k + 1][:, None] & reached[k])
                for k, (name, mask) in enumerate(masks.items())}
    found = effective_masks(net, masks, torch.ones(1, 60))
    assert found == Masks(expected)
    assert 0 < found.num_kept < masks.num_kept


@pytest.mark.parametrize(
    "name", ["mlp-5-relu", "lenet-300-100", "lenet-5", "vgg16", "vgg16-bn", "resnet-20", "wrn-16-1"])
def test_where_nothing_is_pruned_everything_is_effective(name):
    net = jp.build(name, input_shape=(3, 32, 32), num_classes=10)
    dense = random_masks(net, 2.0, kinds=("weight", "bias"))
    assert effective_masks(net, dense, torch.randn(1, 3, 32, 32)) == dense


@pytest.mark.parametrize("seed", range(3))
def test_effective_weights_are_kept_and_finding_them_again_changes_nothing(seed):
    net, inputs = Residual(), torch.randn(1, 2, 3, 3)
    masks = random_masks(net, 0.2, seed)
    effective = effective_masks(net, masks, inputs)
    assert effective <= masks
    assert effective_masks(net, effective, inputs) == effective


# operations


class Function(nn.Module):
    """Two layers with a function between them."""

    def __init__(self, function, width=6):
        super().__init__()
        self.function, self.first, self.last = function, nn.Linear(4, 6), nn.Linear(width, 2)

    def forward(self, inputs):
        return self.last(self.function(self.first(inputs)))


ONE_PATH = {"first.weight": torch.arange(24).reshape(6, 4) == 0}  # from the first input to unit 0


def reached_units(function, width=6):
    """Return the units behind `function` that depend on unit 0 before it."""
    net = Function(function, width)
    kept = Masks({**ONE_PATH, "last.weight": torch.ones(2, width, dtype=torch.bool)})
    return effective_masks(net, kept, torch.randn(2, 4))["last.weight"][0].nonzero().flatten().tolist()


ELEMENTWISE = [
    F.relu, F.relu_, torch.tanh, torch.sigmoid, F.gelu, F.silu, F.mish, F.elu, F.selu, F.celu, F.leaky_relu,
    F.hardtanh, F.hardswish, F.hardsigmoid, F.softplus, F.softsign, F.logsigmoid, F.relu6, F.tanhshrink, torch.abs,
    torch.exp, torch.square, F.dropout, nn.PReLU(), nn.RReLU(), nn.AlphaDropout(), nn.BatchNorm1d(6),
    lambda x: 2 - x / 3, lambda x: x**2, lambda x: x.clamp(-1, 1), lambda x: torch.where(x > 0, x, 0.1 * x),
    lambda x: x.masked_fill(x < 0, 0), lambda x: torch.maximum(x, torch.zeros(6)), lambda x: x * torch.rand(6),
    lambda x: x.add_(1).mul_(2), lambda x: x.clone().contiguous(), lambda x: F.dropout(x, 0.99),
    lambda x: x.double().float(),
    lambda x: F.pad(x, (1, 0))[:, 1:], lambda x: x.reshape(-1, 2, 3).transpose(1, 2).transpose(1, 2).flatten(1),
    lambda x: torch.stack(x.unbind(1), 1), lambda x: torch.cat(x.chunk(3, 1), 1), lambda x: x @ torch.eye(6),
]


@pytest.mark.parametrize("function", ELEMENTWISE, ids=[str(k) for k in range(len(ELEMENTWISE))])
def test_what_acts_on_each_entry_keeps_units_apart(function):
    assert reached_units(function) == [0]


MIXING = {
    "softmax": lambda x: x.softmax(1),
    "log softmax": lambda x: x.log_softmax(1),
    "layer norm": nn.LayerNorm(6),
    "rms norm": nn.RMSNorm(6),
    "one group": nn.GroupNorm(1, 6),
    "length": F.normalize,
    "gate of all": lambda x: x * x.mean(1, keepdim=True).sigmoid(),
    "standardised": lambda x: (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True),
    "maximum": lambda x: x + x.amax(1, keepdim=True),
    "a dense matrix": lambda x: torch.einsum("bi,ji->bj", x, torch.ones(6, 6)),
    "outer product": lambda x: (x[:, :, None] @ x[:, None, :]).sum(1) + x,
}


@pytest.mark.parametrize("function", MIXING.values(), ids=MIXING)
def test_what_takes_units_together_connects_them(function):
    assert reached_units(function) == list(range(6))


def test_operations_connect_what_they_move():
    assert reached_units(lambda x: x.flip(1)) == [5]
    assert reached_units(lambda x: x.roll(2, 1)) == [2]
    assert reached_units(lambda x: x[:, torch.tensor([3, 0, 0])], width=3) == [1, 2]
    assert reached_units(lambda x: x.cumsum(1)) == list(range(6))
    assert reached_units(lambda x: x.roll(4, 1).cumsum(1)) == [4, 5]
    assert reached_units(nn.GroupNorm(2, 6)) == [0, 1, 2]
    assert reached_units(lambda x: F.glu(x.roll(4, 1)), width=3) == [1]
    assert reached_units(lambda x: F.max_pool1d(x[:, None], 3, 1, 1)[:, 0]) == [0, 1]
    assert reached_units(lambda x: F.adaptive_max_pool1d(x[:, None], 3)[:, 0], width=3) == [0]
    assert reached_units(lambda x: F.avg_pool1d(x[:, None], 2)[:, 0], width=3) == [0]
    assert reached_units(lambda x: F.interpolate(x[:, None], scale_factor=2)[:, 0], width=12) == [0, 1]
    assert reached_units(lambda x: F.pad(x, (2, 0), mode="circular" if x.ndim > 2 else "constant"), width=8) == [2]
    assert reached_units(lambda x: F.pad(x[:, None], (2, 0), mode="replicate")[:, 0], width=8) == [0, 1, 2]
    assert reached_units(lambda x: x * torch.tensor([0.0, 1, 1, 1, 1, 1])) == []


def set_first(x):
    x[:, 2] = x[:, 0] * 2
    return x


def test_writing_into_a_part_moves_its_signal():
    assert reached_units(set_first) == [0, 2]


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(9, 8)
        self.place = nn.Parameter(torch.randn(5, 8))
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.fc = nn.Linear(8, 3)

    def forward(self, tokens):
        return self.fc(self.layer(self.embed(tokens) + self.place).mean(1))


def test_a_transformer_on_tokens_is_followed():
    net, tokens = Attention(), torch.tensor([[1, 2, 3, 4, 5]])
    dense = random_masks(net, 2.0, kinds=("weight", "in_proj_weight"))
    assert effective_masks(net, dense, tokens) == dense
    cut = Masks({**dense, "layer.linear2.weight": torch.zeros(8, 16, dtype=torch.bool)})
    effective = effective_masks(net, cut, tokens)
    assert not effective["layer.linear1.weight"].any()
    assert effective["layer.self_attn.in_proj_weight"].all()


def test_a_transposed_convolution_has_the_connections_of_its_explicit_matrix():
    net = nn.Sequential(nn.ConvTranspose2d(2, 2, 2, stride=2, bias=False), nn.Flatten(), nn.Linear(32, 1, bias=False))
    kept = torch.zeros(1, 32, dtype=torch.bool)
    kept[0, 0] = True  # channel 0, first pixel: only the first tap of the first filter reaches it
    masks = Masks({"0.weight": torch.ones(2, 2, 2, 2, dtype=torch.bool), "2.weight": kept})
    assert effective_masks(net, masks, torch.ones(1, 2, 2, 2))["0.weight"].nonzero().tolist() == [
        [0, 0, 0, 0], [1, 0, 0, 0]]


class Gate(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.gate, self.fc = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, inputs):
        return self.fc(self.body(inputs) * torch.sigmoid(self.gate(inputs)))


def test_either_factor_of_a_product_carries_a_signal():
    net = Gate()
    dense = random_masks(net, 2.0)
    closed = Masks({**dense, "gate.weight": torch.zeros(4, 4, dtype=torch.bool)})
    assert effective_masks(net, dense, torch.ones(1, 4)) == dense
    assert effective_masks(net, closed, torch.ones(1, 4)) == closed  # the gate is 1/2 then, and lets all pass


def test_an_operation_without_a_stand_in_is_refused_by_name_or_connects_everything():
    net = Function(lambda x: torch.fft.fft(x).real)
    masks = Masks({**ONE_PATH, "last.weight": torch.ones(2, 6, dtype=torch.bool)})
    with pytest.raises(ModelError, match=r"`model` must consist of operations .*'_fft_r2c' has none\. Pass unknown="):
        effective_masks(net, masks, torch.randn(1, 4))
    assert effective_masks(net, masks, torch.randn(1, 4), unknown="connected") == masks


def test_places_that_depend_on_the_input_are_refused():
    net = Function(lambda x: x.gather(1, x.argsort(1)))
    masks = Masks({**ONE_PATH, "last.weight": torch.ones(2, 6, dtype=torch.bool)})
    with pytest.raises(ModelError, match="'sort' has none"):
        effective_masks(net, masks, torch.randn(1, 4))
    chosen = Function(lambda x: x.gather(1, x.argmax(1, keepdim=True).expand(-1, 6)))
    with pytest.raises(ModelError, match="'gather' has none"):
        effective_masks(chosen, masks, torch.randn(1, 4))
    assert effective_masks(chosen, masks, torch.randn(1, 4), unknown="connected") == masks


def test_a_known_operation_in_an_unknown_form_is_refused():
    net = Function(lambda x: x.scatter(1, torch.zeros(1, 6).long(), 2.0, reduce="add"))
    masks = Masks({**ONE_PATH, "last.weight": torch.ones(2, 6, dtype=torch.bool)})
    with pytest.raises(ModelError, match=r"must use operations in a form .* aten\.scatter\.value_reduce raised"):
        effective_masks(net, masks, torch.randn(1, 4))


def test_signals_and_volumes_are_followed_like_images():
    line = nn.Sequential(nn.Conv1d(2, 3, 3, padding=1), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(12, 2))
    volume = nn.Sequential(nn.Conv3d(1, 2, 3, padding=1), nn.MaxPool3d(2), nn.AdaptiveAvgPool3d(1), nn.Flatten(),
                           nn.Linear(2, 2))
    for net, inputs in ((line, torch.ones(1, 2, 8)), (volume, torch.ones(1, 1, 4, 4, 4))):
        dense = random_masks(net, 2.0)
        assert effective_masks(net, dense, inputs) == dense


def test_every_tensor_of_the_output_is_an_end():
    net = Function(lambda x: x)
    net.forward = lambda inputs: {"first": net.first(inputs), "both": (net.last(net.first(inputs)),)}
    masks = Masks({"first.weight": torch.ones(6, 4, dtype=torch.bool), "last.weight": torch.eye(6)[:2].bool()})
    assert effective_masks(net, masks, torch.ones(1, 4)) == masks


def test_half_precision_models_are_followed():
    net, masks = ConvNet(), random_masks(ConvNet(), 0.3, kinds=("weight",))
    inputs = torch.randn(1, 2, 6, 6)
    assert effective_masks(net.bfloat16(), masks, inputs) == effective_masks(ConvNet(), masks, inputs)


# biases and other constants


def test_a_bias_on_its_own_starts_no_path_unless_constants_are_alive():
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    kept = torch.tensor([[True, False], [False, False]])
    masks = Masks({"0.weight": kept, "0.bias": torch.ones(2, dtype=torch.bool),
                   "2.weight": torch.ones(1, 2, dtype=torch.bool), "2.bias": torch.ones(1, dtype=torch.bool)})
    dead = effective_masks(net, masks, torch.ones(1, 2))
    assert {name: mask.int().tolist() for name, mask in dead.items()} == {
        "0.weight": [[1, 0], [0, 0]], "0.bias": [1, 0], "2.weight": [[1, 0]], "2.bias": [1]}
    assert effective_masks(net, masks, torch.ones(1, 2), constants="alive") == masks


def test_a_bias_counts_only_where_its_unit_is_read():
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 1))
    masks = Masks({"0.bias": torch.ones(2, dtype=torch.bool), "1.bias": torch.ones(2, dtype=torch.bool),
                   "1.weight": torch.ones(2, dtype=torch.bool), "2.weight": torch.tensor([[True, False]])})
    for constants in ("dead", "alive"):
        found = effective_masks(net, masks, torch.ones(1, 2), constants=constants)
        assert all(found[name].tolist() == [True, False] for name in ("0.bias", "1.bias", "1.weight"))


# masks that the model carries, derived weights, tied names


def test_masks_may_be_carried_by_the_model_in_either_way():
    net, inputs = Residual(), torch.randn(1, 2, 3, 3)
    masks = random_masks(net, 0.3)
    expected = effective_masks(net, masks, inputs)
    assert effective_masks(masks.apply(net), masks, inputs) == expected
    dense = random_masks(net, 2.0)
    assert effective_masks(masks.apply(net), dense, inputs) == expected
    pruned = Residual()
    for name, mask in masks.items():
        torch_prune.custom_from_mask(pruned.get_submodule(name.rpartition(".")[0]), "weight", mask)
    assert effective_masks(pruned, dense, inputs) == expected


def test_derived_weights_keep_the_zeros_of_their_masks():
    net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    masks = random_masks(net, 0.4, seed=3)
    expected = effective_masks(net, masks, torch.ones(1, 4))
    net[0] = parametrizations.spectral_norm(net[0])
    assert effective_masks(net, masks, torch.ones(1, 4)) == expected


def test_tied_parameters_are_seen_from_all_their_places():
    net = nn.Sequential(nn.Linear(3, 3, bias=False), nn.ReLU(), nn.Linear(3, 3, bias=False))
    net[2].weight = net[0].weight
    mask = torch.tensor([[0, 1, 0], [0, 0, 1], [0, 0, 0]]).bool()  # 2 -> 1 -> 0, used in both layers
    assert effective_masks(net, Masks({"0.weight": mask}), torch.ones(1, 3))["0.weight"].equal(mask)


def test_the_values_of_weights_do_not_matter():
    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    masks = random_masks(net, 0.6)
    expected = effective_masks(net, masks, torch.randn(5, 3))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    assert effective_masks(net, masks, torch.zeros(1, 3)) == expected


def test_a_parameter_that_nothing_uses_is_not_effective():
    net = nn.Linear(2, 2)
    net.unused = nn.Linear(2, 2)
    effective = effective_masks(net, random_masks(net, 2.0), torch.ones(1, 2))
    assert effective.layer_sparsity() == {"weight": 0.0, "unused.weight": 1.0}


def test_the_model_and_the_random_state_are_left_alone():
    net = ConvNet().train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    torch.manual_seed(3)
    state = torch.get_rng_state()
    with torch.inference_mode():
        effective_masks(net, random_masks(net, 0.5), torch.randn(2, 2, 6, 6, generator=torch.Generator()))
    assert torch.equal(torch.get_rng_state(), state)
    assert net.training and net.pool.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())


# bad input

NET = nn.Linear(2, 1)
MASKS = Masks({"weight": torch.ones(1, 2, dtype=torch.bool)})


class Deciding(nn.Linear):
    def forward(self, inputs):
        return super().forward(inputs if inputs.sum() > 0 else -inputs)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((NET, MASKS, [1.0, 2.0]), {}, DtypeError, "`inputs` must be a tensor; got list"),
        ((NET, MASKS, torch.ones(0, 2)), {}, ShapeError, r"`inputs` must hold at least one sample; got shape \(0, 2\)"),
        ((NET, MASKS, torch.ones(1, 3)), {}, ModelError, r"`model` must run on `inputs` .* shape \(1, 3\) raised"),
        ((Deciding(2, 1), MASKS, torch.ones(1, 2)), {}, ModelError, "do the same whatever their values"),
        ((NET, dict(MASKS), torch.ones(1, 2)), {}, DtypeError, "`masks` must be Masks; got dict"),
        ((NET, Masks({"w": torch.ones(1, 2).bool()}), torch.ones(1, 2)), {}, UnknownNameError, "`masks` must be one"),
        ((NET, Masks({"weight": torch.ones(2).bool()}), torch.ones(1, 2)), {}, ShapeError, "must match the model's"),
        ((NET, MASKS, torch.ones(1, 2)), {"constants": "no"}, UnknownNameError, "`constants` must be one of dead, al"),
        ((NET, MASKS, torch.ones(1, 2)), {"unknown": "no"}, UnknownNameError, "`unknown` must be one of refuse, "),
    ],
)
def test_bad_input_is_refused(arguments, options, error, message):
    with pytest.raises(error, match=message):
        effective_masks(*arguments, **options)
