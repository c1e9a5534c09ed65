import os

import pytest
import torch
from torch import nn
from torch.nn.utils import prune as torch_prune

import jacprobe as jp
from jacprobe.errors import ArgumentError, DtypeError, ModelError, NonFiniteError, ShapeError, UnknownNameError
from jacprobe.masks import Masks
from jacprobe.pruning.controls import CONTROLS, controls

NAMES = ("0.weight", "0.bias", "3.weight")


def make_net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 6), nn.Linear(6, 3))


def make_masks(density=0.3):
    generator, parameters = torch.Generator().manual_seed(1), dict(make_net().named_parameters())
    return Masks({name: torch.rand(parameters[name].shape, generator=generator) < density for name in NAMES})


def weights(control):
    """Return parameters as the forward pass sees them."""
    model = control.model
    return {name: getattr(model[int(name[0])], name[2:]).detach() for name in (*NAMES, "3.bias", "4.weight")}


@pytest.mark.parametrize("density", [0.05, 0.3, 0.8])
def test_every_control_keeps_as_many_weights_of_each_parameter(density):
    masks = make_masks(density)
    panel = controls(make_net(), masks)
    assert tuple(panel) == CONTROLS
    for control in panel.values():
        assert {name: int(mask.sum()) for name, mask in control.masks.items()} == {
            name: int(mask.sum()) for name, mask in masks.items()}
        assert Masks.of(control.model) == control.masks
        assert control.model(torch.randn(2, 1, 4, 4)).shape == (2, 3)


def test_masks_move_and_weights_stay_in_original_shuffled_random_and_inverted():
    net, masks = make_net(), make_masks()
    dense = dict(net.named_parameters())
    panel = controls(net, masks)
    assert panel["original"].masks == masks
    for name in ("original", "shuffled", "random", "inverted"):
        for key, weight in weights(panel[name]).items():
            kept = panel[name].masks.get(key, torch.tensor(True))
            assert torch.equal(weight, torch.where(kept, dense[key], 0))


@pytest.mark.parametrize("seed", range(20))
def test_a_shuffled_mask_is_really_another_in_every_layer_that_allows_it(seed):
    net = nn.Sequential(nn.Linear(2, 1), nn.Linear(1, 2))
    masks = Masks({"0.weight": torch.tensor([[True, False]]), "1.weight": torch.tensor([[True], [True]])})
    shuffled = controls(net, masks, seed=seed, only="shuffled")["shuffled"].masks
    assert shuffled["0.weight"].tolist() == [[False, True]]
    assert shuffled["1.weight"].all()


def test_random_masks_are_uniform():
    net, masks = nn.Linear(4, 1), Masks({"weight": torch.tensor([[True, False, False, False]])})
    generator = torch.Generator().manual_seed(0)
    draws = [controls(net, masks, seed=generator, only="random")["random"].masks["weight"] for _ in range(400)]
    counts = torch.stack(draws).sum(0)
    assert ((counts - 100).abs() < 4 * (400 * 0.25 * 0.75) ** 0.5).all()


def test_inverted_masks_keep_removed_weights_first():
    net = nn.Linear(10, 1)
    few, many = (Masks({"weight": torch.arange(10).reshape(1, 10) < num}) for num in (3, 8))
    inverted = controls(net, few, only="inverted")["inverted"].masks["weight"]
    assert (inverted.sum(), inverted[:, :3].sum()) == (3, 0)
    inverted = controls(net, many, only="inverted")["inverted"].masks["weight"]
    assert (inverted.sum(), inverted[:, 8:].sum()) == (8, 2)


def test_with_scores_the_inverted_mask_keeps_the_lowest_of_each_layer():
    net = nn.Linear(6, 1)
    scores = {"weight": torch.tensor([[5.0, 1, 4, 2, 2, 3]])}
    masks = Masks({"weight": torch.tensor([[True, False, True, False, False, False]])})
    inverted = controls(net, masks, scores=scores)["inverted"].masks["weight"]
    assert inverted.tolist() == [[False, True, False, True, False, False]]


def test_reinitialised_weights_are_the_dense_ones_of_the_layer_in_another_order():
    net, masks = make_net(), make_masks()
    dense = dict(net.named_parameters())
    fresh = controls(net, masks, only="reinitialised")["reinitialised"]
    assert fresh.masks == masks
    hidden = dict(fresh.model.named_parameters())
    for name in NAMES:
        *path, last = name.split(".")
        original = hidden[f"{'.'.join(path)}.parametrizations.{last}.original"]
        assert not torch.equal(original, dense[name])
        assert torch.equal(original.flatten().sort().values, dense[name].flatten().sort().values)
    assert torch.equal(hidden["4.weight"], dense["4.weight"])


def test_fresh_weights_may_be_drawn_by_a_callable():
    net, masks = make_net(), make_masks()

    def draw(model, generator):
        return jp.initialize(model, "orthogonal", seed=generator)

    first, again = (controls(net, masks, initialise=draw, only="reinitialised")["reinitialised"] for _ in range(2))
    other = controls(net, masks, initialise=draw, seed=1, only="reinitialised")["reinitialised"]
    assert torch.equal(weights(first)["3.weight"], weights(again)["3.weight"])
    assert not torch.equal(weights(first)["3.weight"], weights(other)["3.weight"])
    assert (weights(first)["3.bias"] == 0).all()
    carried = controls(masks.apply(net), masks, initialise=draw, only="reinitialised")["reinitialised"]
    assert torch.equal(weights(first)["3.weight"], weights(carried)["3.weight"])


def test_rescaled_layers_have_their_dense_norm_and_direction():
    net, masks = make_net(), make_masks()
    dense, rescaled = dict(net.named_parameters()), controls(net, masks, only="rescaled")["rescaled"]
    for name in ("0.weight", "3.weight"):
        weight, kept = weights(rescaled)[name], torch.where(masks[name], dense[name], 0)
        assert weight.norm() == pytest.approx(dense[name].norm().item(), rel=1e-6)
        assert torch.allclose(weight / weight.norm(), kept / kept.norm())
    assert torch.equal(weights(rescaled)["0.bias"], torch.where(masks["0.bias"], dense["0.bias"], 0))


def test_a_model_pruned_by_torch_has_the_controls_of_the_dense_one():
    net, masks = make_net(), make_masks()
    theirs = make_net()
    for name, mask in masks.items():
        path, _, last = name.rpartition(".")
        torch_prune.custom_from_mask(theirs.get_submodule(path), last, mask)
    state = {name: tensor.clone() for name, tensor in theirs.state_dict().items()}
    panel, expected = controls(theirs, Masks.of(theirs), seed=3), controls(net, masks, seed=3)
    for name, control in panel.items():
        assert control.masks == expected[name].masks
        assert Masks.of(control.model) == control.masks
        assert all(torch.equal(weight, weights(expected[name])[key]) for key, weight in weights(control).items())
    assert theirs.state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in theirs.state_dict().items())


def test_an_empty_layer_stays_empty():
    net, masks = make_net(), Masks({**make_masks(), "3.weight": torch.zeros(6, 16, dtype=torch.bool)})
    for control in controls(net, masks).values():
        assert not weights(control)["3.weight"].any()
        assert all(weight.isfinite().all() for weight in weights(control).values())


def test_a_model_that_carries_the_masks_gives_the_same_panel():
    net, masks = make_net(), make_masks()
    panel, carried = controls(net, masks, seed=3), controls(masks.apply(net), masks, seed=3)
    for name in CONTROLS:
        assert carried[name].masks == panel[name].masks
        assert all(torch.equal(weight, weights(carried[name])[key]) for key, weight in weights(panel[name]).items())


def test_a_seed_repeats_each_control_whatever_else_is_made():
    net, masks = make_net(), make_masks()
    panel, alone = controls(net, masks, seed=5), controls(net, masks, seed=5, only=["random"])
    assert list(alone) == ["random"]
    assert alone["random"].masks == panel["random"].masks
    assert controls(net, masks, seed=6, only="random")["random"].masks != alone["random"].masks


def test_the_model_and_the_random_state_are_left_alone_and_controls_share_nothing():
    net, masks = make_net().train(), make_masks()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    state = torch.get_rng_state()
    panel = controls(net, masks)
    for control in panel.values():
        with torch.no_grad():
            for parameter in control.model.parameters():
                parameter.fill_(7)
            for buffer in control.model.buffers():
                buffer.zero_()
    assert torch.equal(torch.get_rng_state(), state)
    assert net.training
    assert net.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert panel["shuffled"].masks.num_kept == masks.num_kept


def test_tied_weights_are_drawn_and_rescaled_once():
    net = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
    net[2].weight = net[0].weight
    masks = Masks({name: torch.eye(4, dtype=torch.bool) for name in ("0.weight", "2.weight")})
    for control in controls(net, masks).values():
        assert control.masks["0.weight"].equal(control.masks["2.weight"])
    rescaled = controls(net, masks, only="rescaled")["rescaled"].model
    assert rescaled[0].weight.norm().item() == pytest.approx(net[0].weight.norm().item(), rel=1e-6)


NET = nn.Linear(2, 1)
HALF = Masks({"weight": torch.tensor([[True, False]])})


def baked():
    net = nn.Linear(2, 1)
    with torch.no_grad():
        net.weight[0, 1] = 0
    return net


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((3, HALF), {}, DtypeError, "`model` must be a torch.nn.Module; got int"),
        ((NET, {}), {}, DtypeError, "`masks` must be Masks; got dict"),
        ((NET, HALF | ~HALF), {}, ArgumentError, "`masks` must keep some weights of a layer and remove others"),
        ((NET, HALF), {"only": ["randon"]}, UnknownNameError, "`only` must be one of .*Did you mean 'random'"),
        ((NET, HALF), {"seed": 0.5}, DtypeError, "`seed` must be an integer"),
        ((NET, HALF), {"scores": {}}, ShapeError, r"`scores` must hold a tensor of shape \(1, 2\) for 'weight'"),
        ((NET, HALF), {"scores": {"weight": torch.full((1, 2), torch.nan)}}, NonFiniteError, "must not be NaN"),
        ((NET, HALF), {"initialise": lambda model, generator: None}, DtypeError, "`initialise` must return a torch"),
        ((baked(), HALF), {}, ModelError, "`model` must still hold the weights that `masks` remove; those of 'weight'"),
    ],
)
def test_bad_input_is_refused(arguments, options, error, message):
    with pytest.raises(error, match=message):
        controls(*arguments, **options)


@pytest.mark.data
@pytest.mark.skipif("JACPROBE_DATA" not in os.environ, reason="JACPROBE_DATA names no folder with MNIST")
def test_on_mnist_rescaling_restores_signals_and_shuffling_loses_them():
    # paper, section 5.1 and figure 2: mean singular values fall with pruning by connection sensitivity, more at random
    images, labels = jp.load_data("mnist", split="train", num=1000)
    net = jp.initialize(jp.build("mlp-7-tanh"), "orthogonal", seed=0)
    masks = jp.prune(net, "snip", sparsity=0.9, data=(images, labels), prunable="paper")
    panel = controls(net, masks, only=("original", "shuffled", "rescaled"))
    mean = {name: jp.spectra(control.model, images[:100], kind="end_to_end").end_to_end.mean
            for name, control in panel.items()}
    assert mean["rescaled"] > 2 * mean["original"] > 4 * mean["shuffled"]
