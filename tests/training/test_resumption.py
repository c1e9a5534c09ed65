import os
import signal

import pandas as pd
import pytest
import torch
from trainable import make_convnet, make_mlp, make_samples, some_masks

import jacprobe as jp
from jacprobe.errors import ArgumentError, CheckpointError, OutputError

SETTINGS = {"iterations": 24, "batch_size": 16, "rate": 0.5, "drop_every": 9, "log_every": 3, "log_offset": 1,
            "evaluate_every": 5, "augmentation": ("flip", "translate"), "protocol": "paper"}
TRAINING = jp.Training(**SETTINGS)


def network():
    """Batch norm, dropout and masks."""
    return some_masks(make_convnet()).apply(make_convnet(dropout=0.4))


def trained(net=None, **changes):
    given = {"training": TRAINING, "test": make_samples(num=40, seed=1), "validation": make_samples(num=9, seed=2)}
    return jp.train(network() if net is None else net, make_samples(), **{**given, **changes})


def at_forward_pass(net, number, action):
    """Let the network do something within a forward pass of its training."""
    count = []

    def hook(module, inputs):
        if module.training:
            count.append(0)
            if len(count) == number:
                action()

    net.register_forward_pre_hook(hook)
    return net


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def assert_same_run(first, second):
    pd.testing.assert_frame_equal(first.history, second.history, check_exact=True)
    assert (first.selected, first.error, first.diverged) == (second.selected, second.error, second.diverged)
    states = first.model.state_dict(), second.model.state_dict()
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("number", [1, 2, 5, 9, 10, 15, 23, 24])
@pytest.mark.parametrize("every", [1, 7, 1_000])
def test_a_run_interrupted_anywhere_goes_on_to_the_very_bits(tmp_path, number, every):
    path = tmp_path / "run.pt"
    stopped = at_forward_pass(network(), number, interrupt)
    with pytest.raises(KeyboardInterrupt):
        trained(stopped, checkpoint=path, checkpoint_every=every)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert int(torch.load(path, weights_only=True)["contents"]["iteration"]) == number
    resumed = trained(checkpoint=path, checkpoint_every=every)
    assert_same_run(resumed, trained())


@pytest.mark.parametrize("settings", [{"momentum": 0.0}, {"protocol": "clean"}, {"augmentation": ()}, {"l2": 0.0}],
                         ids=lambda value: str(value))
def test_all_settings_resume(tmp_path, settings):
    training = jp.Training(**{**SETTINGS, **settings})
    with pytest.raises(KeyboardInterrupt):
        trained(at_forward_pass(network(), 13, interrupt), training=training, checkpoint=tmp_path / "run.pt")
    assert_same_run(trained(training=training, checkpoint=tmp_path / "run.pt"), trained(training=training))


def test_a_run_may_be_interrupted_often(tmp_path):
    path = tmp_path / "run.pt"
    for _ in range(6):
        with pytest.raises(KeyboardInterrupt):
            trained(at_forward_pass(network(), 4, interrupt), checkpoint=path)
    assert_same_run(trained(checkpoint=path), trained())


def test_a_run_that_dies_goes_on_from_what_was_written_last(tmp_path):
    path = tmp_path / "run.pt"

    def die():
        raise MemoryError

    with pytest.raises(MemoryError):
        trained(at_forward_pass(network(), 19, die), checkpoint=path, checkpoint_every=7)
    assert int(torch.load(path, weights_only=True)["contents"]["iteration"]) == 14
    assert_same_run(trained(checkpoint=path), trained())


def test_a_second_interrupt_does_not_wait(tmp_path):
    def twice():
        interrupt()
        interrupt()
        raise AssertionError("not reached")

    with pytest.raises(KeyboardInterrupt):
        trained(at_forward_pass(network(), 3, twice), checkpoint=tmp_path / "run.pt")
    assert not (tmp_path / "run.pt").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_a_file_an_interrupt_does_not_wait():
    reached = []

    def stop():
        interrupt()
        reached.append(True)

    with pytest.raises(KeyboardInterrupt):
        trained(at_forward_pass(network(), 3, stop))
    assert not reached and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_somebody_else_stays(tmp_path):
    seen = []
    signal.signal(signal.SIGINT, lambda *_: seen.append(True))
    try:
        run = trained(at_forward_pass(network(), 3, interrupt), checkpoint=tmp_path / "run.pt")
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert seen == [True] and run.selected is not None


def test_a_finished_run_is_read_and_not_trained_again(tmp_path):
    path = tmp_path / "run.pt"
    first = trained(checkpoint=path)

    def never():
        raise AssertionError("trained again")

    again = trained(at_forward_pass(network(), 1, never), checkpoint=path)
    assert_same_run(first, again)
    assert again.seconds >= first.seconds * 0.5


def test_a_diverged_run_stays_diverged(tmp_path):
    training = jp.Training(iterations=50, batch_size=16, rate=1e30, log_every=1)
    first, again = (jp.train(make_mlp(), make_samples(), training=training, checkpoint=tmp_path / "run.pt")
                    for _ in range(2))
    assert first.diverged == again.diverged is not None
    pd.testing.assert_frame_equal(first.history, again.history)


def other_weights():
    net = make_convnet(dropout=0.4)
    net[5].bias.data += 1e-7
    return some_masks(net).apply(net)


def other_masks():
    return some_masks(make_convnet(), seed=1).apply(make_convnet(dropout=0.4))


def partly_frozen():
    net = network()
    net[0].requires_grad_(False)
    return net


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"training": jp.Training(**{**SETTINGS, "rate": 0.25})}, "rate is 0.5 there and 0.25 here"),
        ({"training": jp.Training(**{**SETTINGS, "iterations": 30})}, "iterations is 24 there and 30 here"),
        ({"net": other_weights}, "the model's weights, masks or modules differ"),
        ({"net": other_masks}, "the model's weights, masks or modules differ"),
        ({"net": partly_frozen}, "the model's weights, masks or modules differ"),
        ({"test": make_samples(num=41, seed=1)}, "the test data differ"),
        ({"validation": None}, "one has no validation data"),
    ],
    ids=["rate", "iterations", "weights", "masks", "frozen parameters", "test data", "no validation"],
)
def test_the_file_of_another_training_is_refused(tmp_path, change, message):
    path = tmp_path / "run.pt"
    with pytest.raises(KeyboardInterrupt):
        trained(at_forward_pass(network(), 2, interrupt), checkpoint=path)
    before = path.read_bytes()
    net = change.pop("net", network)()
    with pytest.raises(ArgumentError, match=f"`checkpoint` must be of this training; in .*run.pt, .*{message}"):
        trained(net, checkpoint=path, **change)
    assert path.read_bytes() == before


def test_other_training_data_are_refused(tmp_path):
    path = tmp_path / "run.pt"
    images, labels = make_samples()
    training = jp.Training(iterations=2, batch_size=16)
    jp.train(make_mlp(), (images, labels), training=training, checkpoint=path)
    for other in ((images + 1, labels), (images, labels.flip(0))):
        with pytest.raises(ArgumentError, match="the training data differ"):
            jp.train(make_mlp(), other, training=training, checkpoint=path)


@pytest.mark.parametrize("content", [b"", b"junk", b"no checkpoint", "half", {"weight": 2}, [1, 2]],
                         ids=["empty", "four bytes", "text", "cut short", "a dict of torch", "a list of torch"])
def test_what_is_no_checkpoint_is_refused_and_kept(tmp_path, content):
    path = tmp_path / "run.pt"
    trained(checkpoint=path)
    if content == "half":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match="must be a whole checkpoint of a training; .* Remove it") as error:
        trained(checkpoint=path)
    assert "\n" not in str(error.value) and path.read_bytes() == before


def test_a_file_that_would_run_code_does_not(tmp_path):
    path = tmp_path / "run.pt"

    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "exploded"),))

    torch.save(Bomb(), path)
    with pytest.raises(CheckpointError, match="must be a whole checkpoint of a training"):
        trained(checkpoint=path)
    assert not (tmp_path / "exploded").exists()


def test_a_place_where_nothing_can_be_written_is_refused_before_training(tmp_path):
    net = at_forward_pass(network(), 1, lambda: pytest.fail("trained"))
    with pytest.raises(OutputError, match="must lie in an existing folder"):
        trained(net, checkpoint=tmp_path / "none" / "run.pt")
    with pytest.raises(OutputError, match="it is a folder"):
        trained(net, checkpoint=tmp_path)
