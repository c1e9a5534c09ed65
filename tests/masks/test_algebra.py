import copy
import hashlib
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jacprobe.errors import ArgumentError, DtypeError, ShapeError
from jacprobe.masks import Masks

KEPT = torch.tensor([[True, False, True], [False, False, True]])
SHAPES = {"fc1.weight": (2, 3), "fc1.bias": (2,), "fc2.weight": (1, 2), "scale": ()}
NUMBERS = st.integers(0, 2**11 - 1)  # a bit for each of the 11 weights


def made(number):
    """Masks whose kept weights are the bits of `number`: a set as an integer, the oracle of set operations."""
    masks, bit = {}, 0
    for name, shape in SHAPES.items():
        count = torch.zeros(shape).numel()
        masks[name] = torch.tensor([bool(number >> i & 1) for i in range(bit, bit + count)]).reshape(shape)
        bit += count
    return Masks(masks)


@given(NUMBERS, NUMBERS)
@settings(max_examples=50, deadline=None)
def test_operators_are_those_of_sets(first, second):
    a, b = made(first), made(second)
    assert a & b == made(first & second)
    assert a | b == made(first | second)
    assert a ^ b == made(first ^ second)
    assert a - b == made(first & ~second)
    assert ~a == made(first ^ (2**11 - 1))
    assert (a & b).num_kept == (first & second).bit_count()


@given(NUMBERS, NUMBERS, NUMBERS)
@settings(max_examples=50, deadline=None)
def test_the_laws_of_set_algebra_hold(first, second, third):
    a, b, c = made(first), made(second), made(third)
    assert a & (b | c) == (a & b) | (a & c)
    assert (a & b) & c == a & (b & c)
    assert a | (a & b) == a
    assert ~(a & b) == ~a | ~b
    assert a ^ b == (a | b) - (a & b)
    assert ~~a == a
    assert a & b <= a <= a | b


@given(NUMBERS, NUMBERS)
@settings(max_examples=50, deadline=None)
def test_nested_means_that_no_kept_weight_is_dropped(first, second):
    a, b = made(first), made(second)
    assert (a <= b) == (first & ~second == 0) == (b >= a)
    assert (a < b) == (a <= b and first != second) == (b > a)
    assert a <= a
    assert not a < a


@given(NUMBERS, NUMBERS)
@settings(max_examples=50, deadline=None)
def test_digest_and_hash_are_equal_where_the_masks_are(first, second):
    a, b = made(first), made(second)
    assert (a.digest == b.digest) == (a == b) == (first == second)
    if first == second:
        assert hash(a) == hash(b)


def test_the_digest_knows_no_order_and_no_provenance():
    masks = made(1234)
    reordered = Masks(dict(reversed(list(masks.items()))), {"method": "snip"})
    assert reordered.digest == masks.digest
    assert reordered == masks
    assert len(masks.digest) == 64


@pytest.mark.parametrize(
    "other",
    [{"b": KEPT}, {"a": KEPT.reshape(3, 2)}, {"a": ~KEPT}, {"a": KEPT, "b": KEPT}, {"a": KEPT.flatten()}],
    ids=["other name", "other shape", "other bits", "more names", "flat"],
)
def test_the_digest_sees_names_shapes_and_bits(other):
    assert Masks(other).digest != Masks({"a": KEPT}).digest


def test_names_and_shapes_cannot_run_together_in_the_digest():
    first = Masks({"a(1,)": torch.ones(1, dtype=torch.bool), "b": torch.ones(1, dtype=torch.bool)})
    second = Masks({"a": torch.ones(1, dtype=torch.bool), "(1,)b": torch.ones(1, dtype=torch.bool)})
    assert first.digest != second.digest


def test_the_digest_is_that_of_names_shapes_and_bits_written_out():  # so it is the same in every process
    masks = Masks({"b": torch.eye(3) > 0, "a": torch.tensor([True, False])})
    written_out = b"1:a(2,);" + bytes([0b10000000]) + b"1:b(3, 3);" + bytes([0b10001000, 0b10000000])
    assert masks.digest == hashlib.sha256(written_out).hexdigest()


def test_operators_leave_the_operands_and_drop_the_provenance():
    a, b = Masks({"a": KEPT}, {"method": "snip"}), Masks({"a": ~KEPT})
    assert (a | b).sparsity == 0
    assert a == Masks({"a": KEPT})
    assert (a | b).provenance == {}


def test_overlap_counts_by_parameter_and_in_total():
    a = Masks({"a": torch.tensor([True, True, False, False]), "b": torch.zeros(2, dtype=torch.bool)})
    b = Masks({"a": torch.tensor([True, False, True, False]), "b": torch.zeros(2, dtype=torch.bool)})
    table = a.overlap(b).set_index("parameter")
    assert list(table.index) == ["a", "b", "total"]
    assert table.loc["a"].tolist() == [4, 2, 2, 1, 1.0, 1 / 3, 0.5]
    assert table.loc["b"].tolist() == [2, 0, 0, 0, 0.0, 1.0, 1.0]  # nothing kept by either: the same mask
    assert table.loc["total"].tolist() == [6, 2, 2, 1, 1.0, 1 / 3, 4 / 6]


@given(NUMBERS, NUMBERS)
@settings(max_examples=30, deadline=None)
def test_overlap_agrees_with_the_set_operations(first, second):
    a, b = made(first), made(second)
    total = a.overlap(b).iloc[-1]
    assert total["both"] == (a & b).num_kept
    assert total["agreement"] == pytest.approx(1 - (a ^ b).num_kept / a.num_prunable)
    union = (a | b).num_kept
    assert total["jaccard"] == pytest.approx((a & b).num_kept / union if union else 1.0)


def test_chance_overlap_is_the_mean_over_random_masks_of_the_same_counts():
    generator = torch.Generator().manual_seed(0)
    a = Masks({"a": torch.arange(40) < 10})
    found = [int((a["a"] & (torch.randperm(40, generator=generator) < 24)).sum()) for _ in range(2000)]
    expected = a.overlap(Masks({"a": torch.arange(40) < 24})).loc[0, "both_by_chance"]
    error = torch.tensor(found).double().std() / 2000**0.5
    assert abs(sum(found) / 2000 - expected) < 4 * error
    assert expected == 6.0


def test_no_masks_have_an_empty_overlap():
    table = Masks({}).overlap(Masks({}))
    assert table["parameter"].tolist() == ["total"]
    assert table.loc[0, "jaccard"] == 1.0


# provenance


def test_provenance_is_kept_by_copies_and_cannot_be_changed():
    given_ = {"method": "snip", "arguments": {"loss": "labels"}, "sparsity": 0.9, "seed": [1, 2]}
    masks = Masks({"a": KEPT}, given_)
    given_["seed"].append(3)
    masks.provenance["arguments"]["loss"] = "changed"
    with pytest.raises(TypeError, match="does not support item assignment"):
        masks.provenance["method"] = "grasp"
    for same in (masks, copy.deepcopy(masks), copy.copy(masks), pickle.loads(pickle.dumps(masks))):
        assert same.provenance == {"method": "snip", "arguments": {"loss": "labels"}, "sparsity": 0.9, "seed": [1, 2]}


def test_a_pickle_of_before_the_provenance_is_read():
    old = b"cjacprobe.masks\nMasks\n(}tR."  # Masks({}), by the path and arguments of version 0.1
    assert pickle.loads(old) == Masks({})


def test_provenance_must_be_plain():
    with pytest.raises(ArgumentError, match=r"`provenance` must hold what JSON can hold; .*Use numbers and strings"):
        Masks({"a": KEPT}, {"model": torch.nn.Linear(1, 1)})


# bad input


@pytest.mark.parametrize("operation", ["__and__", "__or__", "__xor__", "__sub__", "__le__", "__lt__", "overlap"])
def test_masks_of_other_names_cannot_be_combined(operation):
    with pytest.raises(ArgumentError, match=r"`other` must have the names and shapes of these masks; missing: 'a'; "
                                            r"extra: 'b'; shapes differ: 'c' is \(3, 2\) and these masks' \(2, 3\)\."):
        getattr(Masks({"a": KEPT, "c": KEPT}), operation)(Masks({"b": KEPT, "c": KEPT.reshape(3, 2)}))


def test_masks_of_another_shape_cannot_be_combined():
    with pytest.raises(ShapeError, match=r"shapes differ: 'a' is \(3, 2\) and these masks' \(2, 3\)\. Compare masks"):
        Masks({"a": KEPT}) & Masks({"a": KEPT.reshape(3, 2)})


def test_masks_combine_with_masks_only():
    with pytest.raises(TypeError, match="unsupported operand"):
        Masks({"a": KEPT}) & {"a": KEPT}
    with pytest.raises(TypeError, match="not supported between"):
        _ = Masks({"a": KEPT}) <= {"a": KEPT}
    with pytest.raises(DtypeError, match=r"`other` must be Masks; got dict\. Make them with Masks"):
        Masks({"a": KEPT}).overlap({"a": KEPT})


def test_what_does_not_fit_a_model_is_listed():
    net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 2))
    masks = Masks({"0.weight": KEPT, "0.bias": KEPT, "1.wieght": KEPT, "2.weight": KEPT})
    Masks({"0.weight": KEPT}).assert_fits(net)
    with pytest.raises(ArgumentError, match=r"`masks` must fit the model; not in the model: '1\.wieght', '2\.weight'; "
                                            r"weights of the model without a mask: '1\.weight'; shapes differ: "
                                            r"'0\.bias' is \(2, 3\) and the model's \(2,\)\. Use masks made"):
        masks.assert_fits(net)
    with pytest.raises(ShapeError, match=r"shapes differ: 'a' is .* and the model's .*, 'b' is"):
        Masks({"a": KEPT, "b": KEPT}).assert_fits(torch.nn.ParameterDict({"a": torch.ones(1), "b": torch.ones(2)}))
    with pytest.raises(DtypeError, match=r"`model` must be a torch\.nn\.Module; got str"):
        masks.assert_fits("net")


def test_a_long_list_is_cut():
    masks = Masks({f"{i}.weight": KEPT for i in range(8)})
    with pytest.raises(ArgumentError, match=r"'4\.weight' and 3 more"):
        masks.assert_fits(torch.nn.Identity())
