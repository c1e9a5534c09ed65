"""When a measured number matches a published one."""

import math

import pytest

from jacprobe.experiments.paper.verdicts import (
    DIFFERS,
    MATCH,
    MISSING,
    UNLIKE,
    UNPUBLISHED,
    Entry,
    Tolerance,
    claim_table,
    entry,
    entry_table,
    ordered,
)


@pytest.mark.parametrize(
    ("tolerance", "measured", "published", "holds"),
    [
        (Tolerance(absolute=0.02), 0.52, 0.5, True),  # at the limit, whatever rounding says
        (Tolerance(absolute=0.02), 0.5201, 0.5, False),
        (Tolerance(relative=0.12), 0.88, 1.0, True),
        (Tolerance(relative=0.12), 0.879, 1.0, False),
        (Tolerance(relative=0.12), -0.9, -1.0, True),
        (Tolerance(factor=2), 0.5, 1.0, True),
        (Tolerance(factor=2), 2.01, 1.0, False),
        (Tolerance(factor=2), 1.0, 0.0, False),
        (Tolerance(absolute=10, relative=0.25), 19, 10, True),
        (Tolerance(), 5, 5, True),
        (Tolerance(), 5, 6, False),
        (Tolerance(factor=2), math.inf, math.inf, True),
        (Tolerance(absolute=1e9), math.inf, 1.0, False),
        (Tolerance(relative=0.5), 1.0, math.inf, False),
    ],
)
def test_a_tolerance_holds_up_to_its_widest_limit(tolerance, measured, published, holds):
    assert tolerance.holds(measured, published) is holds


def test_a_tolerance_says_itself():
    assert str(Tolerance(10, 0.25, 2)) == "10 or 25 % or factor 2"
    assert str(Tolerance()) == "exact"


def test_an_entry_is_the_mean_with_its_standard_error():
    found = entry("x", [1.0, 2.0, 3.0], 2.1, Tolerance(relative=0.1))
    assert (found.measured, found.runs, found.verdict) == (2.0, 3, MATCH)
    assert found.error == pytest.approx(1 / math.sqrt(3))
    assert math.isnan(entry("x", [1.0], 1.0, Tolerance()).error)
    assert math.isnan(entry("x", [1.0, math.inf], 1.0, Tolerance()).error)


@pytest.mark.parametrize(
    ("values", "published", "options", "verdict"),
    [([1.0], 2.0, {}, DIFFERS), ([], 1.0, {}, MISSING), ([1.0], None, {}, UNPUBLISHED),
     ([1.0], math.nan, {}, UNPUBLISHED), ([1.0], 1.0, {"comparable": False}, UNLIKE),
     ([], 1.0, {"comparable": False}, MISSING)],
)
def test_a_verdict_says_why_there_is_none(values, published, options, verdict):
    assert entry("x", values, published, Tolerance(), **options).verdict == verdict


def test_an_order_holds_strictly_and_is_unknown_where_a_value_is_missing():
    assert ordered("x", {"a": 3.0, "b": 2.0, "c": 1.0}).holds is True
    assert ordered("x", {"a": 3.0, "b": 3.0}).holds is False
    assert ordered("x", {"a": math.inf, "b": 3.0}).holds is True
    assert ordered("x", {"a": 3.0, "b": math.nan}).holds is None
    assert ordered("x", {"a": 3.0}).holds is None
    assert ordered("x", {"a": 0.123456}, detail="{:.1f}").detail == "a 0.1"


def test_empty_tables_keep_their_columns():
    assert list(entry_table([]).columns) == list(Entry.__dataclass_fields__)
    assert list(claim_table([]).columns) == ["claim", "holds", "detail"]
