import math
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import jacprobe as jp
from jacprobe.errors import JacprobeWarning

quiet = pytest.mark.filterwarnings("ignore::jacprobe.errors.JacprobeWarning")


def pruned_layer(fan_in, outputs, density, seed=0, method="orthogonal"):
    net = jp.initialize(nn.Linear(fan_in, outputs).double(), method, seed=seed)
    return jp.prune(net, "random", sparsity=1 - density, seed=seed).apply(net)


def residual(weight):
    """The definition in NumPy, of a matrix with a row per output."""
    W = weight.detach().double().numpy().reshape(len(weight), -1).T
    return np.linalg.norm(W.T @ W - np.eye(W.shape[1]))


def state(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


# what it reaches


@pytest.mark.parametrize(
    ("fan_in", "outputs", "density", "most"),
    [(120, 30, 0.4, 1e-5), (30, 120, 0.4, 1e-5), (40, 40, 0.25, 1e-3), (40, 40, 0.1, 1e-3), (40, 40, 0.05, 1e-3),
     (300, 24, 0.05, 1e-3), (1, 6, 1.0, 1e-5), (6, 1, 0.5, 1e-5)],
    ids=["tall", "wide", "square", "sparse", "below a permutation", "pairs", "one input", "one output"],
)
@quiet
def test_the_residual_is_that_of_the_structural_rank(fan_in, outputs, density, most):
    """Also where descents get stuck with singular values at 0 that the mask does not ask for.

    Near and below the dimension threshold solutions are degenerate, and the last digits are left where they are slow.
    """
    pruned = pruned_layer(fan_in, outputs, density)
    result = jp.isometrize(pruned)
    (row,) = result.table.to_dict("records")
    mask = jp.Masks.of(pruned)["weight"]
    random = torch.where(mask, torch.rand(mask.shape, dtype=torch.float64) + 0.5, 0)
    rank = int(np.linalg.matrix_rank(random.numpy()))
    assert row["floor"] == pytest.approx(math.sqrt(outputs - rank), abs=1e-12)
    assert residual(result.model.weight) == pytest.approx(row["floor"], abs=most)
    assert row["score_after"] == pytest.approx(residual(result.model.weight), abs=1e-7)
    assert row["score_before"] == pytest.approx(residual(pruned.weight), rel=1e-9)
    assert row["zeros"] == min(fan_in, outputs) - rank == (np.linalg.svd(result.model.weight.detach())[1] < 0.01).sum()
    assert row["converged"] and row["residual"] <= most
    jp.assert_masked(result.model, jp.Masks.of(pruned))


def test_a_tall_layer_with_room_for_an_isometry_is_one_by_default():
    result = jp.isometrize(pruned_layer(784, 100, 0.1))
    assert result.rows[0]["reason"] == "converged" and residual(result.model.weight) < 1e-5


def test_a_mask_of_one_weight_per_row_and_column_gives_a_signed_permutation():
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(20, 20, dtype=torch.bool)
    mask[torch.arange(20), order] = True
    net = jp.Masks({"weight": mask}).apply(jp.initialize(nn.Linear(20, 20), "vs-l", seed=0))
    weight = jp.isometrize(net).model.weight.detach()
    assert torch.equal(weight.abs().round(decimals=5) == 1, mask)
    assert torch.equal(weight.sign()[mask], net.weight.sign()[mask])


@pytest.mark.parametrize("is_masked", [False, True], ids=["no masks", "full masks"])
def test_an_orthogonal_network_that_is_not_pruned_stays_bit_for_bit(is_masked):
    net = jp.initialize(jp.build("mlp-3-tanh", input_shape=(1, 8, 8)), "orthogonal", seed=0)
    if is_masked:
        net = jp.prune(net, "random", sparsity=0.0).apply(net)
    result = jp.isometrize(net)
    assert all(torch.equal(tensor, state(result.model)[name]) for name, tensor in state(net).items())
    assert set(result.table["reason"]) == {"isometric already"} and set(result.table["steps"]) == {0}


def test_a_dense_gaussian_network_becomes_orthogonal():
    net = jp.initialize(jp.build("mlp-3-tanh", input_shape=(1, 8, 8)), "vs-h", seed=0)
    result = jp.isometrize(net)
    assert result.score_after == pytest.approx(math.sqrt(36) / 3, abs=1e-5)  # 100 outputs of 64 inputs
    assert result.score_after == pytest.approx(jp.orthogonality_score(result.model), abs=1e-6)
    assert result.score_before == pytest.approx(jp.orthogonality_score(net), abs=1e-6)
    assert result.warnings == ()


def test_the_default_is_nearer_than_the_papers_descent_in_every_layer():
    net = jp.initialize(jp.build("mlp-5-tanh", input_shape=(1, 8, 8), width=24), "orthogonal", seed=0)
    pruned = jp.prune(net, "random", sparsity=0.75, seed=0).apply(net)
    with warnings.catch_warnings(action="ignore"):
        ours, paper = jp.isometrize(pruned).table, jp.isometrize(pruned, method="paper-sgd", max_steps=1000).table
    assert (ours["score_after"] < paper["score_after"]).all()
    assert (paper["score_after"] > 0.02).all() and (ours["residual"] < 3e-3).all()


# convolutions


@quiet
def test_groups_are_isometries_of_their_own_and_depthwise_ones_have_unit_filters():
    net = jp.initialize(nn.Sequential(nn.Conv2d(6, 9, 3, groups=3), nn.Conv2d(9, 9, 3, groups=9),
                                      nn.ConvTranspose2d(9, 6, 2, groups=3)).double(), "vs-h", seed=0)
    pruned = jp.prune(net, "random", sparsity=0.4, seed=0).apply(net)
    result = jp.isometrize(pruned)
    grouped, depthwise, transposed = (layer.weight.detach() for layer in result.model)
    for g in range(3):
        assert residual(grouped[3 * g:3 * g + 3]) < 1e-5
        assert residual(transposed[3 * g:3 * g + 3].transpose(0, 1)) < 1e-5
    assert depthwise.flatten(1).norm(dim=1).numpy() == pytest.approx(np.ones(9), abs=1e-6)
    assert (result.table["score_after"] < 1e-5).all()


@pytest.mark.parametrize("layer", [nn.Conv2d(6, 6, 3, groups=6), nn.Conv2d(8, 16, 3, groups=4)], ids=repr)
@pytest.mark.parametrize("method", ["polar-cg", "paper-sgd", "rescale", "equilibrate"])
def test_a_group_that_keeps_nothing_stays_empty_beside_others(layer, method):
    net = jp.initialize(layer.double(), "vs-l", seed=0)
    mask = torch.ones(net.weight.shape, dtype=torch.bool)
    rows = len(mask) // layer.groups
    mask[:rows] = False
    result = jp.isometrize(jp.Masks({"weight": mask}).apply(net), method=method,
                           max_steps=1000 if method == "paper-sgd" else None)
    (row,), weight = result.rows, result.model.weight.detach()
    assert not weight[:rows].any() and row["floor"] == pytest.approx(math.sqrt(rows))
    assert row["zeros"] == rows
    if method == "polar-cg":
        assert row["score_after"] == pytest.approx(row["floor"], abs=1e-5)


def circular_values(weight, size=16):
    """Singular values of a circular convolution by NumPy's FFT."""
    return np.linalg.svd(np.fft.fft2(weight.detach().double().numpy(), (size, size), axes=(2, 3)).transpose(2, 3, 0, 1),
                         compute_uv=False)


def test_only_the_frequency_objective_makes_a_convolution_an_isometry():
    net = jp.initialize(nn.Conv2d(4, 10, 3).double(), "vs-l", seed=0)
    pruned = jp.prune(net, "random", sparsity=0.2, seed=0).apply(net)
    flat, exact = jp.isometrize(pruned), jp.isometrize(pruned, objective="frequency")
    assert residual(flat.model.weight) < 1e-5 < circular_values(flat.model.weight).std()
    assert circular_values(exact.model.weight) == pytest.approx(np.ones((16, 16, 4)), abs=1e-4)
    assert exact.table["residual"][0] < 1e-4
    mean = (circular_values(flat.model.weight) ** 2).sum((2,)).mean()  # only its mean gain is fixed
    assert mean == pytest.approx(10, abs=1e-4)


# gains and objectives


@quiet
def test_gains_are_the_singular_values_aimed_at():
    net = jp.initialize(jp.build("mlp-3-relu", input_shape=(1, 4, 4), width=20), "orthogonal", seed=0).double()
    pruned = jp.prune(net, "random", sparsity=0.3, seed=0).apply(net)
    values = {name: torch.linalg.svdvals(jp.isometrize(pruned, gain=gain).model.fc2.weight)
              for name, gain in {"number": 1.7, "by name": {"fc2.weight": 0.5}, "theory": "theory"}.items()}
    for name, expected in {"number": 1.7, "by name": 0.5, "theory": math.sqrt(2)}.items():
        assert values[name].detach().numpy() == pytest.approx(np.full(20, expected), abs=1e-4)
    last = jp.isometrize(pruned, gain="theory").table.iloc[-1]
    assert last["gain"] == 1.0  # no activation behind it


@quiet
def test_objectives_give_what_they_are_for():
    pruned = pruned_layer(40, 40, 0.3, method="vs-l")
    results = {name: jp.isometrize(pruned, objective=name) for name in ("gram", "nearest", "spread")}
    start = jp.isometrize(pruned, method="rescale").model.weight
    distance = {name: float((result.model.weight - start).norm().detach()) for name, result in results.items()}
    row = {name: result.rows[0] for name, result in results.items()}
    assert distance["nearest"] < 0.95 * distance["gram"]
    assert row["spread"]["participation_after"] > 2 * row["gram"]["participation_after"]
    assert row["gram"]["score_after"] < 1e-2 < row["nearest"]["score_after"] < row["nearest"]["score_before"]


def test_a_weaker_penalty_leaves_less_residual():
    pruned = pruned_layer(60, 20, 0.4)
    scores = [jp.isometrize(pruned, objective="nearest", strength=strength).score_after
              for strength in (1.0, 0.1, 0.01)]
    assert scores[0] > 3 * scores[1] > 9 * scores[2] > 0


@pytest.mark.parametrize("method", ["rescale", "equilibrate", "criticality"])
def test_controls_change_the_scale_and_keep_the_signs(method):
    pruned = pruned_layer(60, 20, 0.2)
    result = jp.isometrize(pruned, method=method, **({"gain": 2.0} if method == "criticality" else {}))
    weight = result.model.weight.detach()
    size = 4 * 20 if method == "criticality" else 20
    assert float(weight.square().sum()) == pytest.approx(size, rel=1e-9)
    assert torch.equal(weight.sign(), pruned.weight.sign())
    assert result.rows[0]["steps"] == 0 and result.rows[0]["reason"] == "one pass"


def test_criticality_takes_the_critical_variance_of_the_activation():
    net = jp.initialize(jp.build("mlp-3-relu", input_shape=(1, 4, 4), width=20), "orthogonal", seed=0).double()
    pruned = jp.prune(net, "random", sparsity=0.5, seed=0).apply(net)
    weight = jp.isometrize(pruned, method="criticality").model.fc1.weight
    assert float(weight.detach().square().mean()) * 16 == pytest.approx(2.0, rel=1e-9)


def test_a_gain_of_one_that_is_given_is_not_taken_for_none():
    net = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16))
    gains = {gain: [row["gain"] for row in jp.isometrize(net, method="criticality", gain=gain).rows]
             for gain in (None, 1.0)}
    assert gains == {None: [pytest.approx(math.sqrt(2)), 1.0], 1.0: [1.0, 1.0]}


# what it tells


def test_concentration_is_counted_and_below_the_dimension_threshold_a_warning_says_what_it_means():
    pruned = pruned_layer(40, 40, 0.2)
    with pytest.warns(JacprobeWarning, match=r"of weight have collapsed towards signed permutations: \d+% .* below 5 %"
                                             r" of their root mean square \(\d+% before\)\. The mask says density"
                                             r" 20\.00%, but only \d+\.\d+% is active\."):
        result = jp.isometrize(pruned)
    (row,) = result.rows
    for when, model in {"before": pruned, "after": result.model}.items():
        kept = model.weight.detach().numpy()[jp.Masks.of(pruned)["weight"].numpy()]
        assert row[f"small_{when}"] == (np.abs(kept) < 0.05 * np.sqrt((kept**2).mean())).mean()
        share = (kept**2).sum() ** 2 / (len(kept) * (kept**4).sum())
        assert row[f"participation_{when}"] == pytest.approx(share, rel=1e-9)
    assert row["small_after"] > 0.6 > 0.1 > row["small_before"]
    assert len(result.warnings) == 1


def test_the_table_has_a_row_per_layer_with_shapes_and_counts():
    net = jp.initialize(nn.Sequential(nn.Conv2d(2, 6, 3), nn.Flatten(), nn.Linear(6, 3)), "orthogonal", seed=0)
    masks = jp.prune(net, "random", sparsity=0.5, seed=0)
    table = jp.isometrize(masks.apply(net), method="rescale").table
    assert table["layer"].tolist() == ["0.weight", "2.weight"]
    assert table["shape"].tolist() == ["6x2x3x3", "3x6"]
    assert table["kept"].tolist() == [int(mask.sum()) for mask in masks.values()]
    assert table["density"].tolist() == [int(mask.sum()) / mask.numel() for mask in masks.values()]


def test_steps_that_run_out_are_said():
    row = jp.isometrize(pruned_layer(20, 20, 0.6), max_steps=5).rows[0]
    assert row["reason"] == "max_steps" and not row["converged"]


# contracts


@quiet
@pytest.mark.parametrize("method", ["polar-cg", "paper-sgd", "equilibrate"])
def test_the_model_and_the_random_state_are_untouched(method):
    net = jp.initialize(nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 4)), "vs-l", seed=0).train()
    pruned = jp.prune(net, "random", sparsity=0.5, seed=0, min_kept=5).apply(net)
    before, random = state(pruned), torch.get_rng_state()
    result = jp.isometrize(pruned, method=method, **({"max_steps": 20} if method == "paper-sgd" else {}))
    assert all(torch.equal(tensor, before[name]) for name, tensor in pruned.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random) and pruned.training and result.model.training
    hidden = result.model[0].parametrizations.weight
    assert torch.equal(hidden.original[~hidden[0].mask], pruned[0].parametrizations.weight.original[~hidden[0].mask])
    assert torch.equal(result.model[0].bias, pruned[0].bias)
    assert jp.Masks.of(result.model) == jp.Masks.of(pruned)


@quiet
def test_layers_pruned_by_torch_and_tied_ones_are_repaired():
    net = jp.initialize(nn.Sequential(nn.Linear(12, 12, bias=False), nn.Linear(12, 12, bias=False)).double(), "vs-l",
                        seed=0)
    net[1].weight = net[0].weight
    tied = jp.isometrize(net)
    assert tied.model[0].weight is tied.model[1].weight and len(tied.rows) == 1
    prune.random_unstructured(nn_layer := nn.Linear(30, 10).double(), "weight", amount=0.3)
    repaired = jp.isometrize(nn_layer).model
    assert residual(repaired.weight) < 1e-5
    assert residual(repaired.weight_orig * repaired.weight_mask) < 1e-5


@quiet
def test_the_same_layers_side_by_side_and_alone_are_repaired_alike():
    layers = [pruned_layer(24, 24, 0.3, seed=seed) for seed in range(2)]
    together = jp.isometrize(nn.Sequential(*layers)).model
    for layer, found in zip(layers, together, strict=True):
        alone = jp.isometrize(layer).model.weight
        assert found.weight.detach().numpy() == pytest.approx(alone.detach().numpy(), abs=1e-4)


@quiet
@pytest.mark.parametrize("objective", ["gram", "nearest", "spread", "frequency"])
def test_the_default_device_and_dtype_of_the_user_change_nothing(objective):
    net = jp.initialize(nn.Sequential(nn.Conv1d(3, 4, 3), nn.Flatten(), nn.Linear(8, 6)), "vs-l", seed=0)
    pruned = jp.prune(net, "random", sparsity=0.4, seed=0).apply(net)
    expected = jp.isometrize(pruned, objective=objective, max_steps=50).model
    dtype = torch.get_default_dtype()
    try:
        torch.set_default_device("meta")
        torch.set_default_dtype(torch.float16)
        found = jp.isometrize(pruned, objective=objective, max_steps=50).model
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(dtype)
    assert all(torch.equal(tensor, state(expected)[name]) for name, tensor in state(found).items())


def test_numbers_of_numpy_are_numbers():
    net = pruned_layer(9, 9, 0.9)
    found = jp.isometrize(net, gain=np.float32(2), tolerance=np.float64(1e-3), max_steps=np.int64(50))
    assert found.rows[0]["gain"] == 2.0 and type(found.rows[0]["gain"]) is float
    assert torch.equal(found.model.weight, jp.isometrize(net, gain=2.0, tolerance=1e-3, max_steps=50).model.weight)
