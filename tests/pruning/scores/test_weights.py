import numpy as np
import pytest
import torch
from torch import nn

from jacprobe.masks import Masks
from jacprobe.pruning.context import Scoring
from jacprobe.pruning.scores import SCORES


def layer_of(rows):
    net = nn.Linear(len(rows[0]), len(rows), bias=False)
    net.weight.data = torch.tensor(rows, dtype=torch.float64)
    return net


def test_magnitudes_are_absolute_values():
    rows = [[1.0, -2.0], [-0.0, 3.0]]
    assert SCORES["magnitude"](layer_of(rows), ["weight"], Scoring())["weight"].tolist() == [[1, 2], [0, 3]]


def test_random_scores_come_from_the_generator_alone():
    net = nn.Linear(3, 4)
    state = torch.get_rng_state()
    first, again, other = (SCORES["random"](net, ["weight"], Scoring(generator=torch.Generator().manual_seed(seed)))
                           ["weight"] for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.shape == (4, 3) and first.min() >= 0 and first.max() < 1


def lamp_by_numpy(weight, keep=None):
    """The definition, entry by entry."""
    squares = np.asarray(weight, dtype=np.float64).ravel() ** 2
    keep = np.ones(squares.size, dtype=bool) if keep is None else np.asarray(keep).ravel()
    found = [square / (squares[(squares >= square) & keep].sum() + (0 if kept else square)) if square else 0.0
             for square, kept in zip(squares, keep, strict=True)]
    return np.reshape(found, np.shape(weight))


@pytest.mark.parametrize("rows", [
    np.random.default_rng(0).normal(size=(7, 9)).tolist(),
    np.random.default_rng(1).integers(-2, 3, size=(6, 5)).astype(float).tolist(),
    [[0.0, 0.0], [0.0, 0.0]],
    [[3.0]],
], ids=["drawn", "with ties and zeros", "zeros", "one weight"])
@pytest.mark.parametrize("masked", [False, True])
def test_lamp_is_its_definition(rows, masked):
    mask = torch.tensor(np.random.default_rng(2).random(np.shape(rows)) < 0.6)
    masks = Masks({"weight": mask}) if masked else None
    found = SCORES["lamp"](layer_of(rows), ["weight"], Scoring(masks=masks))["weight"]
    assert np.allclose(found.numpy(), lamp_by_numpy(rows, mask.numpy() if masked else None), rtol=1e-13, atol=0)


def test_the_largest_weight_of_every_layer_has_the_highest_lamp_score():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3))
    with torch.no_grad():
        net[1].weight *= 1e-3
    for name, score in SCORES["lamp"](net, ["0.weight", "1.weight"], Scoring()).items():
        assert score.max() == 1
        assert score.flatten().argmax() == net.get_parameter(name).abs().flatten().argmax()


def test_lamp_does_not_know_the_scale_of_a_layer():
    rows = np.random.default_rng(0).normal(size=(4, 4))
    found = [SCORES["lamp"](layer_of((scale * rows).tolist()), ["weight"], Scoring())["weight"] for scale in (1, 1000)]
    assert torch.allclose(*found, rtol=1e-12)


def test_magnitudes_do_not_change_the_weights():
    net = layer_of([[-1.0, 2.0]])
    assert SCORES["magnitude"](net, ["weight"], Scoring())["weight"].tolist() == [[1.0, 2.0]]
    assert net.weight.tolist() == [[-1.0, 2.0]]
