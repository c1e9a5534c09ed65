"""What cells measure, against the functions of the other packages and NumPy."""

import numpy as np
import pytest
import torch

import jacprobe as jp
from jacprobe.errors import ArgumentError, UnknownNameError
from jacprobe.experiments.measures import measure_cell
from jacprobe.experiments.measures.layers import unpacked
from jacprobe.experiments.networks import Place, connection_scores, dense_network, make_network, splits
from jacprobe.experiments.recipe import Recipe
from jacprobe.experiments.sweeping import Cell

SMALL = {"network": "mlp-3-tanh?width=12", "data": "digits", "method": "snip", "sparsity": 0.8}


def measured(measure, **settings):
    return measure_cell(Cell(measure, SMALL | settings), None)


def network():
    return make_network(Recipe(**SMALL), Place())


def test_statistics_are_those_of_all_singular_values_of_all_inputs():
    (row,) = measured("spectra", num_images=20).to_dict("records")
    inputs = splits("digits", None).train.images[:20]
    net = network().double()
    jacobians = [torch.autograd.functional.jacobian(lambda x: net(x[None])[0], image).reshape(10, -1)
                 for image in inputs.double()]
    values = np.concatenate([np.linalg.svd(jacobian.numpy(), compute_uv=False) for jacobian in jacobians])
    expected = [values.mean(), values.std(), values.min(), values.max(), values.max() / values.min()]
    assert [row[name] for name in ("mean", "std", "min", "max", "cond")] == pytest.approx(expected, rel=1e-4)
    assert row["orthogonality_score"] == jp.orthogonality_score(network())


def test_segments_may_be_layers():
    found = measured("spectra", num_images=5, segments=["layers", "end_to_end"])
    assert found["kind"].tolist() == ["layer", "layer", "layer", "end_to_end"]


def test_layers_are_counted_exactly():
    found = measured("layers").set_index("layer")
    masks = jp.Masks.of(network())
    assert found["kept"].to_dict() == {name: int(masks[f"{name}.weight"].sum()) for name in ("fc1", "fc2", "fc3")}
    assert set(found["num_prunable"]) == {masks.num_prunable} == {64 * 12 + 12 + 12 * 12 + 12 + 12 * 10 + 10}
    assert found["score"].mean() == pytest.approx(found["orthogonality_score"].iloc[0])


def test_layers_of_a_dense_network_are_whole():
    found = measure_cell(Cell("layers", {"network": "mlp-3-tanh?width=12", "data": "digits"}), None)
    assert set(found["removed"]) == {0.0}
    assert set(found["num_prunable"]) == {1066}


def test_patterns_give_the_masks_back():
    masks = jp.Masks.of(network())
    for row in measured("patterns", layers=["fc2", "fc3"]).to_dict("records"):
        assert np.array_equal(unpacked(row), masks[f"{row['layer']}.weight"].numpy())


def test_scores_are_over_their_sum():
    found = measured("scores")
    assert found["share"].sum() == pytest.approx(1)
    assert found["size"].sum() == 1066
    ordered = found[["min", "quantile_01", "quantile_25", "quantile_50", "quantile_75", "quantile_99", "max"]]
    assert (ordered.diff(axis=1).iloc[:, 1:] >= 0).all(axis=None)


def test_a_sample_of_all_points_is_all_scores():
    found = measured("sample", layers=["fc3"], num_points=1000)
    recipe = Recipe(**SMALL)
    scores = connection_scores(dense_network(recipe.dense(), Place()), recipe, Place())
    total = sum(float(values.double().sum()) for values in scores.values())
    assert sorted(found["score"]) == pytest.approx(sorted((scores["fc3.weight"].double() / total).flatten().tolist()))


def test_training_gives_its_history_and_what_it_came_to(tmp_path):
    cell = Cell("training", SMALL | {"iterations": 40, "batch_size": 50, "evaluate_every": 20, "protocol": "paper"})
    found = measure_cell(cell, tmp_path / "cell")
    tests = found[found["split"] == "test"]
    assert tests["iteration"].tolist() == [20, 40]
    assert set(found["final_error"]) == {tests["error"].min()}
    assert set(found["selected"]) <= {20, 40}
    assert (tmp_path / "cell" / "training.pt").exists()  # from which an interrupted cell goes on


def test_curves_of_the_batch_loss_need_no_evaluation():
    found = measured("training", iterations=12, batch_size=50, evaluated=False)
    assert set(found["split"]) == {"batch"}
    assert found["iteration"].tolist() == [2, 12]


@pytest.mark.parametrize("measure", ["patterns", "scores", "sample"])
def test_a_dense_network_has_no_masks_and_no_scores(measure):
    with pytest.raises(ArgumentError, match="`method` must be given"):
        measure_cell(Cell(measure, {"network": "mlp-3-tanh", "data": "digits"}), None)


def test_unknown_measures_and_settings_are_named():
    with pytest.raises(UnknownNameError, match="`measure` must be one of spectra.*got 'spectrum'"):
        measure_cell(Cell("spectrum", {}), None)
    with pytest.raises(UnknownNameError, match="`settings of spectra` must be one of.*got 'iterations'"):
        measure_cell(Cell("spectra", {"iterations": 3}), None)


def test_condition_numbers_of_a_saturating_network_are_those_of_numpy():
    recipe = {"network": "mlp-7-tanh", "data": "digits", "init": "sg", "gamma": 0.1, "seed": 0}
    found = measure_cell(Cell("spectra", {**recipe, "num_images": 40, "accuracy": "relative"}), None)
    net = jp.initialize(jp.build("mlp-7-tanh", input_shape=(1, 8, 8)), "sg", gamma=0.1, seed=0).double()
    images = jp.training.split_validation(jp.load_data("digits"), share=0.1, seed=0)[0].inputs[:40].double()
    rows = [torch.autograd.functional.jacobian(lambda x: net(x[None])[0], image).flatten(1).numpy() for image in images]
    values = np.linalg.svd(np.stack(rows), compute_uv=False)
    assert found["cond"].item() == pytest.approx(values.max() / values.min(), rel=1e-6)
    assert found["min"].item() == pytest.approx(values.min(), rel=1e-6)
