import json

import numpy as np
import pytest

import jacprobe as jp
from jacprobe.errors import ArgumentError, DtypeError, UnknownNameError
from jacprobe.training import PROTOCOLS


def test_the_defaults_are_the_papers_for_mnist():
    training = jp.Training()
    assert (training.iterations, training.batch_size, training.rate, training.drop_every) == (80_000, 100, 0.1, 20_000)
    assert (training.momentum, training.l2, training.protocol) == (0.9, 0.00025, "clean")


def test_the_rate_drops_after_whole_periods():
    training = jp.Training(rate=0.5, drop_every=100, drop_factor=5)
    assert [training.rate_at(i) for i in (1, 100, 101, 200, 201)] == [0.5, 0.5, 0.1, 0.1, 0.02]
    assert jp.Training(drop_every=None).rate_at(10**6) == 0.1


@pytest.mark.parametrize(
    ("every", "offset", "expected"),
    [(10, 2, [2, 12, 22]), (1, 1, list(range(1, 26))), (10, 10, [10, 20]), (10, 0, [10, 20]), (20, 25, [25])],
    ids=["as published", "all", "whole tens", "from nought", "late"],
)
def test_batches_are_logged_from_the_offset_on(every, offset, expected):
    training = jp.Training(log_every=every, log_offset=offset)
    assert [i for i in range(1, 26) if training.logs(i)] == expected


def test_the_last_iteration_is_always_evaluated():
    training = jp.Training(iterations=25, evaluate_every=10)
    assert [i for i in range(1, 26) if training.evaluates(i)] == [10, 20, 25]


@pytest.mark.parametrize(
    "training",
    [jp.Training(), jp.Training(augmentation=["flip", "translate"], protocol="paper", drop_every=None, order_seed=7)],
    ids=["defaults", "others"],
)
def test_settings_go_through_json(training):
    assert jp.Training.of_settings(json.loads(json.dumps(training.to_settings()))) == training
    assert hash(training) == hash(jp.Training.of_settings(training.to_settings()))


def test_numbers_of_numpy_become_plain():
    training = jp.Training(iterations=np.int64(5), rate=np.float64(0.5), momentum=0)
    assert type(training.iterations) is int and type(training.rate) is float and type(training.momentum) is float


@pytest.mark.parametrize(
    ("settings", "message"),
    {
        "no iterations": ({"iterations": 0}, "`iterations` must be a whole number of at least 1; got 0"),
        "half a batch": ({"batch_size": 0.5}, "`batch_size` must be a whole number of at least 1; got 0.5"),
        "a yes as a number": ({"log_every": True}, "`log_every` must be a whole number"),
        "a negative offset": ({"log_offset": -1}, "`log_offset` must be a whole number of at least 0"),
        "no evaluation": ({"evaluate_every": 0}, "`evaluate_every` must be a whole number"),
        "a drop at once": ({"drop_every": 0}, "`drop_every` must .* Pass None for a constant rate"),
        "no rate": ({"rate": 0}, "`rate` must be a finite number above 0; got 0"),
        "an infinite rate": ({"rate": float("inf")}, "`rate` must be a finite number"),
        "a rate that is none": ({"rate": float("nan")}, "`rate` must be a finite number"),
        "a rate as text": ({"rate": "0.1"}, "`rate` must be a finite number above 0; got '0.1'"),
        "division by nought": ({"drop_factor": 0}, "`drop_factor` must be a finite number above 0"),
        "all momentum": ({"momentum": 1}, "`momentum` must be a finite number of at least 0 and below 1; got 1"),
        "a negative penalty": ({"l2": -1e-3}, "`l2` must be a finite number of at least 0; got -0.001"),
        "one kind twice": ({"augmentation": ("flip", "flip")}, "`augmentation` must name each kind once"),
        "a negative seed": ({"order_seed": -1}, "`order_seed` must be a whole number of at least 0"),
    }.values(),
    ids=lambda value: str(value),
)
def test_a_setting_outside_its_domain_is_refused(settings, message):
    with pytest.raises(ArgumentError, match=message):
        jp.Training(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"protocol": "honest"}, "`protocol` must be one of paper, clean; got 'honest'"),
        ({"precision": "half"}, "`precision` must be one of float32, mixed; got 'half'"),
        ({"augmentation": ("flop",)}, "`augmentation` must be one of flip, translate, crop-pad; got 'flop'. Did you"),
    ],
    ids=["protocol", "precision", "augmentation"],
)
def test_an_unknown_name_is_refused_with_the_known_ones(settings, message):
    with pytest.raises(UnknownNameError, match=message):
        jp.Training(**settings)


def test_augmentation_is_no_single_text():
    with pytest.raises(DtypeError, match="`augmentation` must be a sequence of names; got 'flip'"):
        jp.Training(augmentation="flip")


def test_settings_of_other_names_or_forms_are_refused():
    with pytest.raises(UnknownNameError, match="`settings` must be one of iterations.*got 'rates'. Did you mean"):
        jp.Training.of_settings({"rates": 0.1})
    with pytest.raises(DtypeError, match="`settings` must map names to values; got list"):
        jp.Training.of_settings([])


def test_protocols_say_what_they_choose():
    assert PROTOCOLS.keys() == {"paper", "clean"}
