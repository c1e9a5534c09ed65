"""A monitor records what ``jp.spectra`` says at that moment, and training never notices."""

import copy
import math
import warnings

import numpy as np
import pytest
import torch
from oracles import seeded_normal
from torch import nn
from torch.nn.utils import prune

import jacprobe as jp
from jacprobe.errors import ArgumentError, DtypeError, JacprobeWarning, UnknownNameError
from jacprobe.monitoring import STATISTICS
from jacprobe.monitoring.pacing import Pace

INPUTS = seeded_normal(4, 6)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Dropout(0.2), nn.Linear(5, 3))


def masked():
    return jp.Masks({"0.weight": seeded_normal(5, 6) > 0}).apply(network())


def convolutional():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 3))


def train(net, num_steps, after=lambda: None, shape=(6,)):
    """Train on random data that are drawn from the global state, as is dropout."""
    torch.manual_seed(1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    for _ in range(num_steps):
        optimizer.zero_grad()
        net(torch.randn(8, *shape)).square().sum().backward()
        optimizer.step()
        after()


def values(monitor, step, statistic):
    frame = monitor.frame()
    return frame[(frame["step"] == step) & (frame["statistic"] == statistic)].set_index("segment")["value"]


@pytest.mark.parametrize(
    ("make", "inputs"),
    [(network, INPUTS), (masked, INPUTS), (convolutional, seeded_normal(4, 1, 6, 6)),
     (lambda: network().double(), INPUTS.double())],
    ids=["perceptron", "masked", "convolutional", "float64"],
)
def test_every_record_is_what_a_fresh_probe_finds(make, inputs):
    net = make().float() if inputs.dtype == torch.float32 else make()
    monitor = jp.Monitor(net, inputs, every=1, statistics=STATISTICS, max_share=None)
    for step in range(3):
        assert monitor.num_steps == step
        fresh = jp.spectra(net, inputs, kind="layers", work=1e10)
        frame = monitor.frame().query("step == @step").pivot(index="segment", columns="statistic", values="value")
        expected = fresh.summary().set_index("segment")
        for statistic in STATISTICS:
            if statistic != "median":
                np.testing.assert_array_equal(frame.loc[fresh.layers, statistic], expected[statistic].astype(float))
        assert set(monitor.frame()["label"]) <= {"exact", "none"}
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.mul_(1.3)
        monitor.step()


def test_training_is_bit_for_bit_the_same_with_a_monitor():
    def left_by(monitored):
        net = network()
        call = jp.Monitor(net, INPUTS, every=2, max_share=None).step if monitored else (lambda: None)
        train(net, 6, call)
        return [*net.state_dict().values(), *(p.grad for p in net.parameters()), torch.get_rng_state()], net

    (plain, _), (watched, net) = left_by(False), left_by(True)
    assert all(torch.equal(a, b) for a, b in zip(plain, watched, strict=True))
    assert all(module.training for module in net.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_records_come_at_multiples_and_where_steps_jump_over_one():
    monitor = jp.Monitor(network(), INPUTS, every=3, max_share=None)
    assert [monitor.step() for _ in range(4)] == [False, False, True, False]
    assert not monitor.step(5) and monitor.step(7)
    assert monitor.record() is False  # is there already
    assert monitor.step() is False and monitor.record() is True
    assert monitor.frame()["step"].unique().tolist() == [0, 3, 7, 8] and monitor.num_steps == 8


def test_records_are_left_out_while_they_would_cost_too_much(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("jacprobe.monitoring.pacing.time.perf_counter", lambda: clock[0])
    pace, taken = Pace(10, 0.05), []
    pace.charge(4.0)
    for step in range(1, 1001):
        if pace.is_due(step - 1, step):
            taken.append(step)
            with pace.recording():
                clock[0] += 2.0
        clock[0] += 1.0
    assert taken[:3] == [180, 230, 270]  # 4 seconds, and 4 more if the next is alike, are 4.5 % of 178
    assert {later - sooner for sooner, later in zip(taken[2:], taken[3:], strict=False)} == {40, 50}
    assert 0.04 * 1000 <= pace.spent <= 0.045 * 1000


def test_recording_stays_within_its_share_where_some_records_are_slow_and_calls_cost_time(monkeypatch):
    clock, spent = [0.0], 0.0
    monkeypatch.setattr("jacprobe.monitoring.pacing.time.perf_counter", lambda: clock[0])
    pace = Pace(10, 0.05)
    for step in range(1, 10_001):
        clock[0] += 1.0  # the step itself
        clock[0] += 0.001  # the call, which the pace does not see
        spent += 0.001
        if pace.is_due(step - 1, step):
            seconds = 4.0 if step % 100 == 0 else 2.0
            with pace.recording():
                clock[0] += seconds
            spent += seconds
        assert step < 200 or spent <= 0.05 * step


def test_masks_that_come_during_training_are_seen():
    net = network()
    monitor = jp.Monitor(net, INPUTS, every=1, statistics="zeros", max_share=None)
    prune.custom_from_mask(net[0], "weight", torch.zeros(5, 6))
    monitor.step()
    assert values(monitor, 0, "zeros")["0"] == 0 and values(monitor, 1, "zeros")["0"] == 4 * 5


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_models_are_recorded_as_they_are():
    net = network()
    monitor = jp.Monitor(torch.compile(net, backend="eager"), INPUTS, every=1, max_share=None)
    expected = jp.Monitor(copy.deepcopy(net), INPUTS, every=1, max_share=None).frame()
    assert monitor.frame().equals(expected) and "Sequential" in repr(monitor)
    inside = network()
    inside.compile(backend="eager")
    inside.eval()(INPUTS)
    assert jp.Monitor(inside, INPUTS, every=1, max_share=None).frame().equals(expected)


def test_large_layers_have_estimates_with_their_errors():
    monitor = jp.Monitor(convolutional(), seeded_normal(4, 1, 6, 6), method="moments", num_probes=4, max_share=None)
    frame = monitor.frame().set_index(["segment", "statistic"])
    assert frame.loc[("0", "mean_square"), "label"] == "estimated"
    assert frame.loc[("0", "mean_square"), "standard_error"] > 0
    assert frame.loc[("0", "mean"), "label"] == "none" and math.isnan(frame.loc[("0", "mean"), "value"])


def test_only_the_first_inputs_are_probed():
    net, inputs = network().eval(), seeded_normal(9, 6)
    few, same = jp.Monitor(net, inputs, num_inputs=2), jp.Monitor(net, inputs[:2], num_inputs=None)
    assert few.frame().equals(same.frame())


def test_where_nothing_can_be_recorded_there_is_no_monitor():
    with pytest.raises(ArgumentError, match="`kind` must name something that the model has; got nothing to record"):
        jp.Monitor(nn.Sequential(nn.ReLU()), INPUTS)
    monitor = jp.Monitor(nn.Sequential(nn.ReLU()), INPUTS, kind="end_to_end")
    assert monitor.latest()["segment"].tolist() == ["end_to_end"]


def test_layers_of_another_shape_have_no_values_and_training_goes_on():
    net = network()
    monitor = jp.Monitor(net, INPUTS, every=1, max_share=None)
    net[0], net[1], net[4] = nn.Linear(6, 7), nn.BatchNorm1d(7), nn.Linear(7, 3)
    with pytest.warns(JacprobeWarning, match="no statistics at step 1: `model` must keep the shapes of its layers;"
                                             " segment '0' is 7x6 and was 5x6. Probe it anew."):
        assert monitor.step()
    assert monitor.latest()[["mean", "max"]].isna().all(axis=None) and set(monitor.latest()["label"]) == {"none"}


def test_sites_that_are_gone_have_no_values_and_training_goes_on():
    net = nn.Sequential()
    for name, module in {"fc1": nn.Linear(6, 5), "act1": nn.Tanh(), "fc2": nn.Linear(5, 3)}.items():
        net.add_module(name, module)
    monitor = jp.Monitor(net, INPUTS, every=1, max_share=None)
    del net.act1
    with pytest.warns(JacprobeWarning, match="no statistics at step 1: "):
        assert monitor.step()
    assert set(monitor.latest()["label"]) == {"none"}


def test_numbers_of_numpy_are_numbers(tmp_path):
    monitor = jp.Monitor(network(), INPUTS, every=1, start=np.int64(3), max_share=np.float32(0.5),
                         path=tmp_path / "values.csv")
    monitor.step(np.int64(7))
    assert monitor.num_steps == 7 and type(monitor.num_steps) is int
    assert jp.monitoring.read_records(tmp_path / "values.csv")["step"].min() == 3


def test_kinds_of_one_name_are_told_apart():
    monitor = jp.Monitor(network(), INPUTS, kind=("layers", "modules"), statistics="max")
    assert monitor.frame()["segment"].tolist() == ["layer 0", "layer 4", "module 0", "module 4"]


def test_training_goes_on_where_weights_are_not_finite_any_more():
    net = network()
    monitor = jp.Monitor(net, INPUTS, every=1, max_share=None)
    with torch.no_grad():
        net[0].weight[0, 0] = math.nan
    with pytest.warns(JacprobeWarning, match="no statistics at step 1: `model` must hold finite weights"):
        assert monitor.step()
    last = monitor.frame().query("step == 1")
    assert last["value"].isna().all() and set(last["label"]) == {"none"}
    with torch.no_grad():
        net[0].weight[0, 0] = 0.0
    monitor.step()
    assert values(monitor, 2, "mean").notna().all()


def test_a_monitor_shows_its_last_record_and_escapes_names():
    net = nn.Sequential()
    net.add_module("<b>fc</b>", nn.Linear(6, 2))
    monitor = jp.Monitor(net, INPUTS, statistics=("mean", "max"))
    assert repr(monitor) == ("Monitor of Sequential: mean, max of 1 segments every 100 steps; 1 records, the last at"
                             " step 0")
    page = monitor._repr_html_()
    assert "&lt;b&gt;fc" in page and "<b>fc" not in page and f"{monitor.latest().loc[0, 'max']:.4g}" in page


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"every": 0}, ArgumentError, "`every` must be"),
        ({"statistics": ("mean", "maxx")}, UnknownNameError, "`statistics` must be one of .*Did you mean 'max'"),
        ({"statistics": ()}, ArgumentError, "`statistics` must name at least one"),
        ({"max_share": 0}, ArgumentError, "`max_share` must be a positive number; got 0"),
        ({"max_share": True}, ArgumentError, "`max_share` must be a positive number; got True"),
        ({"num_inputs": 0}, ArgumentError, "`num_inputs` must be"),
        ({"start": -1}, ArgumentError, "`start` must be a number of steps; got -1"),
        ({"epsilon": 0}, ArgumentError, "`epsilon` must be"),
        ({"kind": "layer"}, UnknownNameError, "`kind` must be one of layers"),
        ({"tensorboard": 3}, DtypeError, "`tensorboard` must be a folder or a SummaryWriter; got int"),
        ({"path": "values.txt"}, ArgumentError, r"`path` must end in .csv; got 'values.txt'"),
    ],
)
def test_bad_arguments_are_one_line(arguments, kind, message):
    with pytest.raises(kind, match=message) as caught:
        jp.Monitor(network(), INPUTS, **arguments)
    assert "\n" not in str(caught.value)


def test_what_is_no_model_and_steps_that_go_back_are_refused():
    with pytest.raises(DtypeError, match="`model` must be a torch.nn.Module"):
        jp.Monitor("net", INPUTS)
    monitor = jp.Monitor(network(), INPUTS)
    for number in (3.5, "3", True):
        with pytest.raises(ArgumentError, match=f"`number` must be a number of steps; got {number!r}"):
            monitor.step(number)
    monitor.step(7)
    with pytest.raises(ArgumentError, match="`number` must be larger than the 7 steps so far; got 7"):
        monitor.step(7)


def test_no_warning_comes_from_a_quiet_run():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net = network()
        train(net, 2, jp.Monitor(net, INPUTS, every=1, max_share=None).step)
