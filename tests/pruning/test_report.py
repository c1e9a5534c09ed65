import math

import numpy as np
import pytest
import scipy.sparse
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import jacprobe as jp
from jacprobe.errors import ArgumentError, DtypeError, NonFiniteError, ShapeError
from jacprobe.masks import Masks
from jacprobe.pruning.report import mask_report


def dense_masks(model):
    return Masks({name: torch.ones(parameter.shape, dtype=torch.bool) for name, parameter in model.named_parameters()
                  if parameter.ndim > 1})


def random_masks(model, density, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Masks({name: torch.rand(mask.shape, generator=generator) < density
                  for name, mask in dense_masks(model).items()})


def kinds(report):
    return [flag.kind for flag in report.flags]


class Convolutions(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, groups=4),
            nn.ConvTranspose2d(16, 6, 2, stride=2, groups=2, bias=False), nn.Flatten(), nn.Linear(6 * 4 * 4, 10))


# the table


def test_counts_fans_and_dead_units_of_a_linear_layer_are_exact():
    mask = torch.tensor([[1, 1, 0, 0], [0, 0, 0, 0], [0, 1, 1, 0]]).bool()
    report = mask_report(nn.Linear(4, 3), Masks({"weight": mask, "bias": torch.tensor([True, True, False])}),
                         input_shape=(4,))
    weight, bias = report.table.to_dict("records")
    assert weight == {
        "parameter": "weight", "shape": "3x4", "total": 12, "kept": 4, "density": 4 / 12, "effective": 4,
        "dense_macs": 12, "sparse_macs": 4, "fan_in_min": 0, "fan_in_mean": 4 / 3, "fan_in_max": 2, "fan_out_min": 0,
        "fan_out_mean": 1.0, "fan_out_max": 2, "dead_inputs": 1, "dead_outputs": 1, "structural_rank": 2,
        "rank_shortfall": 1}
    assert (bias["total"], bias["kept"], bias["effective"], bias["dense_macs"]) == (3, 2, 1, 0)
    assert report.table.loc[1, ["fan_in_min", "fan_in_mean", "dead_inputs", "structural_rank"]].isna().all()


def test_units_of_convolutions_are_channels_of_their_group():
    net = Convolutions()
    masks = dense_masks(net)
    grouped, transposed = masks["3.weight"], masks["4.weight"]
    grouped[4:8, 1] = False  # the second group reads no channel 3 any more
    grouped[0] = False
    transposed[:8, 2] = False  # the first group writes no channel 2
    report = mask_report(net, Masks({**masks, "3.weight": grouped, "4.weight": transposed}), input_shape=(3, 8, 8))
    rows = report.table.set_index("parameter")
    assert rows.loc["3.weight", ["dead_inputs", "dead_outputs", "fan_in_max", "fan_out_max"]].tolist() == [1, 1, 18, 36]
    assert rows.loc["4.weight", ["dead_inputs", "dead_outputs", "fan_in_max", "fan_out_max"]].tolist() == [0, 1, 32, 12]
    assert rows.loc["0.weight", ["fan_in_min", "fan_out_min"]].tolist() == [27, 72]


@pytest.mark.parametrize("density", [0.02, 0.05, 0.2])
def test_structural_ranks_are_those_of_scipy_group_by_group(density):
    net = Convolutions()
    masks = random_masks(net, density)
    rows = mask_report(net, masks, input_shape=(3, 8, 8)).table.set_index("parameter")
    for name, groups, inputs_first in (("0.weight", 1, False), ("3.weight", 4, False), ("4.weight", 2, True),
                                       ("6.weight", 1, False)):
        matrices = []
        for part in masks[name].chunk(groups):
            part = part.transpose(0, 1) if inputs_first else part
            matrices.append(part.flatten(1).numpy())
        whole = scipy.sparse.csr_array(scipy.sparse.block_diag(matrices))
        whole.eliminate_zeros()
        rank = scipy.sparse.csgraph.structural_rank(whole)
        assert rows.loc[name, "structural_rank"] == rank
        assert rows.loc[name, "rank_shortfall"] == sum(min(matrix.shape) for matrix in matrices) - rank


@pytest.mark.parametrize("name", ["lenet-5", "resnet-20"])
def test_dense_operations_are_half_the_flops_that_torch_counts(name):
    net = jp.build(name, input_shape=(3, 32, 32), num_classes=10).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.randn(1, 3, 32, 32))
    report = mask_report(net, input_shape=(3, 32, 32))
    assert report.dense_macs == report.sparse_macs == counter.get_total_flops() // 2
    assert report.num_kept == report.num_effective == report.num_prunable
    assert report.flags == ()


def test_operations_of_groups_strides_and_repeated_layers_are_counted():
    net = Convolutions().eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.randn(1, 3, 8, 8))
    assert mask_report(net, input_shape=(3, 8, 8)).dense_macs == counter.get_total_flops() // 2
    layer = nn.Linear(5, 5)
    twice = nn.Sequential(layer, nn.ReLU(), layer)
    masks = Masks({"0.weight": torch.eye(5, dtype=torch.bool)})
    report = mask_report(twice, masks, inputs=torch.randn(3, 5))
    assert (report.dense_macs, report.sparse_macs) == (50, 10)


def test_operations_of_parts_of_a_weight_are_counted_with_what_is_kept_of_each_part():
    class Parts(nn.Linear):
        def forward(self, inputs):
            return inputs @ self.weight[:2].T + (inputs.repeat(3, 1) @ self.weight[2:].T).sum(0)

    mask = torch.tensor([[1, 1, 1], [0, 0, 0], [1, 0, 0], [1, 1, 0]]).bool()
    report = mask_report(Parts(3, 4), Masks({"weight": mask}), input_shape=(3,))
    assert (report.dense_macs, report.sparse_macs) == (6 + 3 * 6, 3 + 3 * 3)


def test_quantiles_of_scores_are_those_of_numpy():
    net = nn.Linear(7, 5)
    scores = {"weight": torch.randn(5, 7)}
    row = mask_report(net, dense_masks(net), input_shape=(7,), scores=scores).table.iloc[0]
    found = row[["score_min", "score_q25", "score_median", "score_q75", "score_max"]].tolist()
    np.testing.assert_allclose(found, np.quantile(scores["weight"].double().numpy(), [0, 0.25, 0.5, 0.75, 1]))


def test_between_infinite_scores_the_nearer_one_is_the_quantile():
    scores = {"weight": torch.tensor([[-math.inf, 0.0], [1.0, math.inf]])}
    row = mask_report(nn.Linear(2, 2), input_shape=(2,), scores=scores).table.iloc[0]
    assert row[["score_min", "score_q25", "score_median", "score_q75", "score_max"]].tolist() == [
        -math.inf, 0, 0.5, 1, math.inf]


def test_the_masks_that_the_model_carries_are_the_default():
    net = Convolutions()
    masks = random_masks(net, 0.3)
    given = mask_report(net, masks, input_shape=(3, 8, 8))
    carried = mask_report(masks.apply(net), input_shape=(3, 8, 8))
    assert carried.table.equals(given.table)
    assert carried.summary == given.summary


def test_totals_agree_with_the_table():
    net = Convolutions()
    report = mask_report(net, random_masks(net, 0.1), input_shape=(3, 8, 8))
    sums = report.table[["total", "kept", "effective", "dense_macs", "sparse_macs"]].sum().tolist()
    assert sums == [report.num_prunable, report.num_kept, report.num_effective, report.dense_macs, report.sparse_macs]
    assert report.compression == pytest.approx(1 / (1 - report.sparsity))
    assert report.effective_compression == pytest.approx(1 / (1 - report.effective_sparsity))
    table = report.table
    table["kept"] = 0
    assert report.table["kept"].sum() == report.num_kept  # a caller may write to what it got


# flags


def test_a_lost_layer_collapses_a_chain():
    net = jp.build("mlp-3-relu", input_shape=(1, 4, 4), num_classes=3)
    masks = dense_masks(net)
    names = list(masks)
    masks = Masks({**masks, names[1]: torch.zeros_like(masks[names[1]])})
    report = mask_report(net, masks, input_shape=(1, 4, 4))
    assert kinds(report) == ["disconnected", "layer collapse", "empty layer"]
    assert not report.is_connected
    assert report.num_effective == 0
    assert report.effective_compression == math.inf
    assert report.flags[1].parameters == (names[1],)
    kept = masks.num_kept
    assert report.summary.splitlines()[3:] == [
        "disconnected: no path of kept weights leads from the input to the output",
        f"layer collapse: {names[1]} lost every weight while {kept} remain elsewhere",
        f"empty layer: {names[1]} keeps none of its 10000 weights",
    ]


def test_kept_weights_that_do_not_meet_disconnect_without_a_collapse():
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    masks = Masks({"0.weight": torch.tensor([[True, True], [False, False]]),
                   "2.weight": torch.tensor([[False, True], [False, True]])})
    assert kinds(mask_report(net, masks, input_shape=(2,))) == ["disconnected", "rank"]


def test_a_residual_branch_dies_without_cutting_the_network():
    net = jp.build("resnet-20", input_shape=(3, 16, 16), num_classes=10)
    masks = dense_masks(net)
    name = next(name for name in masks if name.startswith("stage2.1.") and masks[name].ndim == 4)
    report = mask_report(net, Masks({**masks, name: torch.zeros_like(masks[name])}), input_shape=(3, 16, 16))
    assert report.is_connected
    assert kinds(report) == ["empty layer", "dead branch"]
    (dead,) = (flag for flag in report.flags if flag.kind == "dead branch")
    assert len(dead.parameters) == 2
    assert all(parameter.startswith("stage2.1.") for parameter in dead.parameters)


def test_dead_branches_are_seen_in_a_model_that_carries_its_masks():
    net = jp.build("resnet-20", input_shape=(3, 16, 16), num_classes=10)
    masks = dense_masks(net)
    name = next(name for name in masks if name.startswith("stage2.1.") and masks[name].ndim == 4)
    pruned = Masks({**masks, name: torch.zeros_like(masks[name])}).apply(net)
    assert kinds(mask_report(pruned, input_shape=(3, 16, 16))) == ["empty layer", "dead branch"]


def test_of_a_deep_net_ranks_and_empty_layers_are_one_short_line_each_with_the_worst_first():
    net = nn.Sequential(*(nn.Linear(4, 4) for _ in range(30)))
    masks = {f"{k}.weight": torch.eye(4, dtype=torch.bool) & (torch.arange(4) > k % 3) for k in range(30)}
    report = mask_report(net, Masks(masks), input_shape=(4,))
    (flag,) = report.flags
    assert flag.kind == "rank"
    assert len(flag.parameters) == 30
    assert str(flag) == ("rank: zeros alone lower it to 1 of 4 in 2.weight, 1 of 4 in 5.weight, 1 of 4 in 8.weight"
                         " and 27 more")
    empty = Masks({name: torch.zeros_like(mask) for name, mask in masks.items()})
    assert [str(flag) for flag in mask_report(net, empty, input_shape=(4,)).flags[1:]] == [
        "empty layer: 0.weight, 1.weight, 2.weight, 3.weight, 4.weight and 25 more keep none of their 480 weights"]


@pytest.mark.filterwarnings("ignore:Initializing zero-element")
def test_a_layer_without_weights_has_a_row():
    net = nn.Sequential(nn.Linear(4, 0), nn.Linear(0, 4))
    report = mask_report(net, dense_masks(net), input_shape=(4,))
    assert report.table["total"].tolist() == [0, 0]
    assert report.table["structural_rank"].tolist() == [0, 0]
    assert kinds(report) == ["disconnected"]


def test_a_weight_that_nothing_uses_is_no_dead_branch():
    net = nn.Linear(2, 2)
    net.unused = nn.Linear(2, 2)
    assert kinds(mask_report(net, dense_masks(net), input_shape=(2,))) == []


# published


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("sparsity", "num_kept"), [(0.99, 2662), (0.999, 266)])
def test_random_masks_of_lenet_compress_at_least_twice_as_much_as_they_seem(sparsity, num_kept, seed):
    # Vysogorets and Kempe 2021: effective sparsity of random masks runs far ahead of direct sparsity
    net = jp.build("lenet-300-100", seed=seed)
    masks = jp.prune(net, "random", sparsity=sparsity, seed=seed)
    report = mask_report(net, masks, input_shape=(1, 28, 28))
    assert report.num_kept == num_kept
    assert report.effective_compression >= 2 * report.compression
    assert report.is_connected or sparsity == 0.999  # 266 weights seldom make a path


@pytest.mark.parametrize("seed", range(3))
def test_extreme_connection_sensitivity_is_flagged_as_collapse(seed):
    images, labels = jp.load_data("digits", num=500)
    net = jp.initialize(jp.build("mlp-7-tanh", input_shape=(1, 8, 8)), "sg", gamma=1.0, seed=seed)
    masks = jp.prune(net, "snip", sparsity=0.995, data=(images, labels))
    report = mask_report(net, masks, inputs=images)
    assert {"disconnected", "layer collapse", "empty layer"} <= set(kinds(report))
    assert "layer collapse" in report.summary


# bad input


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ArgumentError, "`inputs` must be given, or `input_shape`; got neither"),
        ({"inputs": torch.ones(1, 2), "input_shape": (2,)}, ArgumentError, "or `input_shape`; got both"),
        ({"input_shape": (0,)}, ShapeError, r"`input_shape` must hold positive integers; got \(0,\)"),
        ({"input_shape": 2}, ShapeError, r"`input_shape` must hold positive integers; got 2\. It is the shape of one"),
        ({"input_shape": (2,), "scores": [1]}, DtypeError, "`scores` must be a dict of tensors by name; got list"),
        ({"input_shape": (2,), "scores": {}}, ShapeError, r"must hold a tensor of shape \(1, 2\) for 'weight'"),
        ({"input_shape": (2,), "scores": {"weight": torch.tensor([[math.nan, 1]])}}, NonFiniteError, "must not be NaN"),
    ],
)
def test_bad_input_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        mask_report(nn.Linear(2, 1), **options)


def test_a_model_without_weights_to_prune_needs_masks():
    with pytest.raises(ArgumentError, match="`masks` must be given for a model whose linear and convolutional layers"):
        mask_report(nn.ReLU(), input_shape=(2,))
