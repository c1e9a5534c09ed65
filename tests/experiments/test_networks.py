"""Networks of recipes, against the functions a user would call himself."""

import pytest
import torch

import jacprobe as jp
from jacprobe.errors import ArgumentError
from jacprobe.experiments.networks import Place, dense_network, make_network, masks_of, splits
from jacprobe.experiments.recipe import SIGNED, Recipe

HERE = Place()
SMALL = {"network": "mlp-3-tanh?width=12", "data": "digits"}


def by_hand(seed):
    net = jp.build("mlp-3-tanh", input_shape=(1, 8, 8), width=12, seed=seed)
    return jp.initialize(net, "orthogonal", seed=seed)


def test_nine_tenths_of_the_training_images_are_scored_and_trained():
    data = splits("digits", None)
    assert [len(part.images) for part in (data.train, data.validation, data.test)] == [1294, 143, 360]


@pytest.mark.parametrize("method", ["snip", "random", "synflow"])
def test_a_pruned_network_is_that_of_prune_and_apply(method):
    net = by_hand(3)
    data = splits("digits", None).train if method == "snip" else None
    masks = jp.prune(net, method, sparsity=0.8, data=data, prunable="paper", seed=3)
    expected = masks.apply(net).state_dict()
    found = make_network(Recipe(method=method, sparsity=0.8, seed=3, **SMALL), HERE).state_dict()
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_sparsities_share_their_scores_and_nest():
    low, high = (masks_of(Recipe(method="snip", sparsity=share, **SMALL), HERE) for share in (0.3, 0.9))
    assert all(bool((low[name] | ~high[name]).all()) for name in low)


def test_the_dense_network_is_shared_and_never_changed():
    recipe = Recipe(**SMALL)
    before = {name: value.clone() for name, value in dense_network(recipe, HERE).state_dict().items()}
    for fields in ({"repair": "paper-sgd", "repair_steps": 5}, {"control": "rescaled"}, {"reinit": "vs-g"}):
        make_network(Recipe(method="snip", sparsity=0.5, **fields, **SMALL), HERE)
    assert dense_network(recipe, HERE) is dense_network(Recipe(**SMALL), HERE)
    assert all(torch.equal(before[name], value) for name, value in dense_network(recipe, HERE).state_dict().items())


@pytest.mark.parametrize("control", ["shuffled", "random", "rescaled", "reinitialised"])
def test_controls_keep_as_many_weights_in_each_layer(control):
    recipe = Recipe(method="snip", sparsity=0.8, **SMALL)
    masks = jp.Masks.of(make_network(Recipe(method="snip", sparsity=0.8, control=control, **SMALL), HERE))
    counts = {name: int(mask.sum()) for name, mask in masks_of(recipe, HERE).items()}
    assert {name: int(mask.sum()) for name, mask in masks.items()} == counts


def test_fresh_weights_lie_under_the_mask_of_the_old_ones():
    old = make_network(Recipe(method="snip", sparsity=0.8, **SMALL), HERE)
    fresh = make_network(Recipe(method="snip", sparsity=0.8, reinit="vs-g", **SMALL), HERE)
    assert jp.Masks.of(old) == jp.Masks.of(fresh)
    assert not torch.equal(old.fc1.weight, fresh.fc1.weight)


def test_repair_lowers_the_orthogonality_score():
    pruned = Recipe(method="snip", sparsity=0.5, **SMALL)
    repaired = Recipe(method="snip", sparsity=0.5, repair="polar-cg", **SMALL)
    assert jp.orthogonality_score(make_network(repaired, HERE)) < jp.orthogonality_score(make_network(pruned, HERE))


def test_signed_magnitude_keeps_the_largest_signed_weights():
    net = dense_network(Recipe(**SMALL), HERE)
    masks = masks_of(Recipe(method=SIGNED, sparsity=0.5, **SMALL), HERE)
    kept = torch.cat([parameter[masks[name]] for name, parameter in net.named_parameters()])
    removed = torch.cat([parameter[~masks[name]] for name, parameter in net.named_parameters()])
    assert kept.min() >= removed.max()


def test_pretraining_is_kept_beside_the_cells_and_gives_the_same_bits(tmp_path):
    recipe = Recipe(method="magnitude", sparsity=0.5, pretraining=30, **SMALL)
    first = make_network(recipe, Place(scratch=tmp_path / "a"))
    (file,) = tmp_path.glob("pretraining-*.pt")
    stamp = file.stat().st_mtime_ns
    again = make_network(recipe, Place(scratch=tmp_path / "b"))
    assert file.stat().st_mtime_ns == stamp
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True))


def test_pretraining_that_diverges_is_refused():
    with pytest.raises(ArgumentError, match=r"`pretraining_rate` must let mlp-3-tanh.*diverged at iteration"):
        make_network(Recipe(method="magnitude", sparsity=0.5, pretraining=60, pretraining_rate=1e30, **SMALL), HERE)
