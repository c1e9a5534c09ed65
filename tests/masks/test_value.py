import copy
import pickle

import pytest
import torch
from masked import KEPT

from jacprobe.errors import ArgumentError, DtypeError
from jacprobe.masks import Masks


def test_counts_are_exact():
    masks = Masks({"a": KEPT, "b": torch.zeros(4, dtype=torch.bool)})
    assert (masks.num_prunable, masks.num_kept, masks.sparsity) == (10, 3, 0.7)
    assert masks.layer_sparsity() == {"a": 0.5, "b": 1.0}
    assert repr(masks) == "Masks(2 parameters, 3 of 10 kept, sparsity 0.7)"


@pytest.mark.parametrize("num_removed", range(11))
def test_sparsity_is_the_nearest_float_to_the_removed_share(num_removed):
    masks = Masks({"a": torch.arange(10) >= num_removed})
    assert masks.sparsity == num_removed / 10
    assert masks.layer_sparsity() == {"a": num_removed / 10}


def test_no_masks_and_empty_masks_remove_nothing():
    assert (len(Masks({})), Masks({}).sparsity, Masks({}).layer_sparsity()) == (0, 0.0, {})
    empty = Masks({"a": torch.ones(0, 3, dtype=torch.bool)})
    assert (empty.sparsity, empty.layer_sparsity()) == (0.0, {"a": 0.0})


def test_masks_are_a_mapping_in_the_given_order():
    masks = Masks({"b": KEPT, "a": KEPT})
    assert list(masks) == ["b", "a"]
    assert "a" in masks
    assert "c" not in masks
    with pytest.raises(KeyError):
        masks["c"]


def test_masks_cannot_be_assigned_to():
    masks = Masks({"a": KEPT})
    with pytest.raises(TypeError, match="does not support item assignment"):
        masks["a"] = KEPT
    with pytest.raises(TypeError, match="does not support item assignment"):
        masks._masks["a"] = KEPT
    with pytest.raises(TypeError, match="does not support item deletion"):
        del masks["a"]


def test_nothing_that_went_in_or_came_out_leads_back_into_the_masks():
    given = {"a": KEPT.clone()}
    masks = Masks(given)
    given["a"].fill_(True)
    given["b"] = KEPT
    masks["a"].fill_(True)
    for mask in masks.values():
        mask.fill_(True)
    assert torch.equal(masks["a"], KEPT)
    assert list(masks) == ["a"]


def test_equal_masks_are_equal_whatever_their_order():
    first, second = Masks({"a": KEPT, "b": ~KEPT}), Masks({"b": ~KEPT, "a": KEPT})
    assert first == second
    assert hash(first) == hash(second)
    assert len({first, second}) == 1


@pytest.mark.parametrize(
    "other",
    [
        Masks({"a": ~KEPT}),
        Masks({"b": KEPT}),
        Masks({"a": KEPT, "b": KEPT}),
        Masks({"a": KEPT.reshape(3, 2)}),
        {"a": KEPT},
    ],
    ids=["other entries", "other name", "more names", "other shape", "a dict"],
)
def test_different_masks_differ(other):
    assert Masks({"a": KEPT}) != other


def test_masks_can_be_copied_and_pickled_as_for_workers():
    masks = Masks({"a": KEPT})
    assert copy.deepcopy(masks) == masks
    assert copy.copy(masks) == masks
    assert pickle.loads(pickle.dumps(masks)) == masks


@pytest.mark.parametrize(
    ("mask", "got"),
    [(torch.ones(2), r"torch\.float32"), (torch.ones(2).to(torch.uint8), r"torch\.uint8"), ([True], "list")],
)
def test_masks_must_be_bool_tensors(mask, got):
    with pytest.raises(DtypeError, match=rf"`masks` must hold bool tensors; got {got} for 'fc\.weight'\. Convert with"):
        Masks({"fc.weight": mask})


@pytest.mark.parametrize(("masks", "got"), [([("a", KEPT)], "list"), (KEPT, "Tensor"), (None, "NoneType")])
def test_masks_are_made_of_a_mapping(masks, got):
    with pytest.raises(DtypeError, match=rf"`masks` must map parameter names to bool tensors; got {got}\. Pass a dict"):
        Masks(masks)


def test_masks_go_by_texts():
    with pytest.raises(DtypeError, match=r"`masks` must go by parameter names; got 1 \(int\)\. Use the names of model"):
        Masks({1: KEPT})


@pytest.mark.parametrize(("mask", "got"), [(KEPT.to_sparse(), r"torch\.sparse_coo"), (KEPT.to("meta"), "meta")])
def test_masks_hold_all_their_entries(mask, got):
    with pytest.raises(ArgumentError, match=rf"`masks` must hold dense tensors; 'a' is a {got} tensor\. Pass one with"):
        Masks({"a": mask})


def test_a_transposed_mask_is_laid_out_anew():
    masks = Masks({"a": KEPT.T})
    assert masks["a"].is_contiguous()
    assert masks == Masks({"a": KEPT.T.contiguous()})
