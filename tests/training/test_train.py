import math

import pandas as pd
import pytest
import torch
from masked import assert_same, snapshot
from torch import nn
from torch.nn.utils import parametrizations, prune
from trainable import eager_losses, make_convnet, make_mlp, make_samples, some_masks

import jacprobe as jp
from jacprobe.errors import ArgumentError, DtypeError, ModelError, NonFiniteError, ShapeError, UnknownNameError
from jacprobe.masks import KeepMask

DOUBLE = torch.float64


def torch_pruned(dtype):
    net = make_mlp(dtype=dtype)
    for index in (1, 3):
        prune.l1_unstructured(net[index], "weight", amount=0.6)
    prune.random_unstructured(net[3], "bias", amount=2)
    return net


class Tied(nn.Module):
    """One weight in two modules, and one module twice."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.third = nn.Linear(36, 36), nn.Linear(36, 36), nn.Linear(36, 3)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.third(self.second(self.first(x.flatten(1)).tanh()).tanh())


def tied(dtype):
    net = Tied().to(dtype)
    return some_masks(net, names=["first.weight", "third.weight"]).apply(net)


def tied_with_two_masks(dtype):
    net = tied(dtype)
    net.second.parametrizations.weight[0].mask.copy_(some_masks(Tied(), seed=5, names=["first.weight"])["first.weight"])
    return net


def twice_masked(dtype):
    net = some_masks(make_mlp(dtype=dtype)).apply(make_mlp(dtype=dtype))
    nn.utils.parametrize.register_parametrization(net[1], "weight", KeepMask(torch.rand(8, 36) < 0.7))
    return net


def under_a_weight_norm(dtype):
    net = make_mlp(dtype=dtype)
    parametrizations.orthogonal(net[3])
    masks = jp.Masks({"1.weight": torch.rand(8, 36) < 0.5})
    return masks.apply(net)


def masked_over_a_spectral_norm(dtype):
    net = make_mlp(dtype=dtype)
    parametrizations.spectral_norm(net[1])
    return jp.Masks({"1.weight": torch.rand(8, 36) < 0.5}).apply(net)


def frozen(dtype):
    net = some_masks(make_mlp(dtype=dtype)).apply(make_mlp(dtype=dtype))
    net[1].requires_grad_(False)
    return net


NETS = {
    "dense": lambda dtype: make_mlp(dtype=dtype),
    "masked with biases": lambda dtype: some_masks(make_mlp()).apply(make_mlp(dtype=dtype)),
    "weights masked": lambda dtype: some_masks(make_mlp(), names=["1.weight", "5.weight"]).apply(make_mlp(dtype=dtype)),
    "a layer removed": lambda dtype: jp.Masks({"3.weight": torch.zeros(8, 8).bool()}).apply(make_mlp(dtype=dtype)),
    "convolutions and batch norm": lambda dtype: some_masks(make_convnet()).apply(make_convnet(dtype=dtype)),
    "masked by torch": torch_pruned,
    "tied": tied,
    "tied, with a mask each": tied_with_two_masks,
    "masked twice": twice_masked,
    "another parametrisation": under_a_weight_norm,
    "masked over a spectral norm": masked_over_a_spectral_norm,
    "first layer frozen": frozen,
}
TRAINING = jp.Training(iterations=25, batch_size=16, rate=0.2, drop_every=10, drop_factor=4, l2=0.01, log_every=1,
                       log_offset=1, evaluate_every=10)


def penalised(net):
    """The parameters of linear and convolutional layers; of a weight norm and the like only what is masked."""
    found = []
    for module in net.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            found += module._parameters.values()
            for entries in getattr(module, "parametrizations", {}).values():
                found += [entries.original]
    return found


@pytest.mark.parametrize("momentum", [0.0, 0.9], ids=["plain", "momentum"])
@pytest.mark.parametrize("make", NETS.values(), ids=NETS.keys())
def test_training_is_that_of_an_eager_loop_over_the_masked_network(make, momentum):
    samples = make_samples(dtype=DOUBLE)
    training = jp.Training(**{**TRAINING.to_settings(), "momentum": momentum})
    net, eager = make(DOUBLE), make(DOUBLE)
    losses = eager_losses(eager, samples, training, penalised=penalised(eager))
    run = jp.train(net, samples, training=training)
    assert run.history["loss"].tolist() == pytest.approx(losses, rel=1e-9)
    with torch.no_grad():  # as the forward pass sees them
        eager(samples[0][:1]), run.model.train()(samples[0][:1])
    for (name, module), other in zip(run.model.named_modules(), eager.modules(), strict=True):
        for kind in ("weight", "bias", "running_mean", "running_var"):
            found, expected = getattr(module, kind, None), getattr(other, kind, None)
            if isinstance(expected, torch.Tensor):
                largest = float(expected.detach().abs().max())
                assert torch.allclose(found, expected, rtol=0, atol=1e-8 * largest), (name, kind)


@pytest.mark.parametrize("make", NETS.values(), ids=NETS.keys())
def test_the_model_and_the_random_states_are_untouched_and_the_masks_stay(make):
    net = make(torch.float32)
    before, flags = snapshot(net), [module.training for module in net.modules()]
    run = jp.train(net, make_samples(), training=TRAINING, test=make_samples(seed=1))
    assert_same(snapshot(net), before)
    assert jp.Masks.of(run.model) == jp.Masks.of(net)
    assert run.model.state_dict().keys() == net.state_dict().keys()
    assert [module.training for module in run.model.modules()] == flags
    assert [p.requires_grad for p in run.model.parameters()] == [p.requires_grad for p in net.parameters()]
    if jp.Masks.of(net) and make is not tied_with_two_masks:  # whose weight one place removes and the other keeps
        jp.assert_masked(run.model)


def test_weights_that_a_mask_hides_stay_what_they_were():
    net, masks = make_mlp(), some_masks(make_mlp())
    run = jp.train(masks.apply(net), make_samples(), training=TRAINING)
    hidden, kept = run.model[1].parametrizations.weight.original, masks["1.weight"]
    assert torch.equal(hidden[~kept], net[1].weight[~kept])
    assert (hidden[kept] != net[1].weight[kept]).all()


def test_tied_weights_stay_tied_and_frozen_ones_still():
    run = jp.train(tied(torch.float32), make_samples(), training=TRAINING)
    first, second = (layer.parametrizations.weight.original for layer in (run.model.first, run.model.second))
    assert first is second
    net = frozen(torch.float32)
    run = jp.train(net, make_samples(), training=TRAINING)
    assert torch.equal(run.model[1].weight, net[1].weight) and torch.equal(run.model[1].bias, net[1].bias)
    assert not torch.equal(run.model[3].weight, net[3].weight)


def test_a_network_masked_by_torch_shows_its_new_weights_before_any_forward_pass():
    run = jp.train(torch_pruned(torch.float32), make_samples(), training=TRAINING)
    assert torch.equal(run.model[1].weight, run.model[1].weight_orig * run.model[1].weight_mask)


def test_evaluations_are_those_of_the_network_in_evaluation_mode():
    net = some_masks(make_convnet()).apply(make_convnet(dropout=0.3))
    test, validation = make_samples(num=1500, seed=1), make_samples(num=7, seed=2)  # more and fewer than a chunk
    run = jp.train(net, make_samples(), training=TRAINING, test=test, validation=validation)
    for split, (inputs, labels) in {"test": test, "validation": validation}.items():
        outputs = run.model.eval()(inputs)
        (last,) = run.history.query(f"split == '{split}' and iteration == 25").itertuples()
        assert last.loss == pytest.approx(float(nn.functional.cross_entropy(outputs, labels).detach()), rel=1e-5)
        assert last.error == pytest.approx(100 * float((outputs.argmax(1) != labels).float().mean()), abs=1e-3)
    evaluated = run.history.query("split != 'batch'").groupby("split")["iteration"].agg(list)
    assert evaluated.to_dict() == {"test": [10, 20, 25], "validation": [10, 20, 25]}
    assert run.error == last_error(run, "test", 25) and run.selected == 25


def last_error(run, split, iteration):
    return run.history.query(f"split == '{split}' and iteration == {iteration}")["error"].iloc[0]


def test_the_history_has_its_columns_and_can_be_drawn():
    run = jp.train(make_mlp(), make_samples(), training=jp.Training(iterations=30, batch_size=16, log_every=10))
    assert run.history.dtypes.astype(str).to_dict() == {
        "iteration": "int64", "split": "object", "loss": "float64", "error": "float64"}
    assert run.history["iteration"].tolist() == [2, 12, 22] and set(run.history["split"]) == {"batch"}
    assert (run.history["error"] * 16 / 100 % 1 < 1e-4).all()
    jp.plot_training(run.history.query("split == 'batch'"), x="iteration")


def test_the_penalty_is_not_in_the_logged_loss():
    settings = {**TRAINING.to_settings(), "iterations": 1}
    losses = [jp.train(make_mlp(), make_samples(), training=jp.Training(**{**settings, "l2": l2})).history["loss"][0]
              for l2 in (0, 10)]
    assert losses[0] == losses[1]


def test_the_paper_reports_the_lowest_test_error_and_the_clean_protocol_the_last():
    settings = {**TRAINING.to_settings(), "iterations": 40, "evaluate_every": 1, "rate": 1.0, "drop_every": None}
    samples, test = make_samples(num=30), make_samples(num=200, seed=9)
    paper, clean = (jp.train(make_mlp(), samples, test=test, training=jp.Training(**{**settings, "protocol": protocol}))
                    for protocol in ("paper", "clean"))
    errors = paper.history.query("split == 'test'").set_index("iteration")["error"]
    assert paper.selected == errors.idxmin() < 40 and paper.error == errors.min()
    assert clean.selected == 40 and clean.error == errors[40] > paper.error
    outputs = paper.model.eval()(test[0])
    assert 100 * float((outputs.argmax(1) != test[1]).float().mean()) == pytest.approx(paper.error, abs=1e-3)
    pd.testing.assert_frame_equal(paper.history, clean.history)


def test_a_run_that_diverges_stops_and_says_when():
    training = jp.Training(iterations=50, batch_size=16, rate=1e30, log_every=1, log_offset=1, evaluate_every=50)
    run = jp.train(make_mlp(), make_samples(), test=make_samples(seed=1), training=training)
    assert 1 < run.diverged < 50 and run.selected is None and math.isnan(run.error)
    assert run.history["iteration"].tolist() == list(range(1, run.diverged))
    assert f"diverged at iteration {run.diverged} of 50: the loss is not finite" in repr(run)


def test_a_run_that_diverges_in_its_last_update_is_found_out():
    training = jp.Training(iterations=1, batch_size=16, rate=1e38, momentum=0)
    net = make_mlp()
    net[5].weight.data *= 1e3
    run = jp.train(net, make_samples(), training=jp.Training(**{**training.to_settings(), "l2": 1e3}))
    assert run.diverged == 1 and math.isnan(run.error)


def test_a_result_says_in_words_what_it_is():
    training = jp.Training(iterations=1_000, batch_size=16, protocol="paper", evaluate_every=500)
    samples = make_samples()
    run = jp.train(make_mlp(), samples, test=samples, training=training)
    said = f"TrainingRun(Sequential, 1,000 iterations, test error {run.error:.2f} % at iteration 500, "
    assert run.selected == 500 and repr(run).startswith(said)
    assert "<table" in run._repr_html_() and said in run._repr_html_()
    short = jp.train(make_mlp(), samples, training=jp.Training(iterations=2, batch_size=16))
    assert repr(short).startswith("TrainingRun(Sequential, 2 iterations, no test data, ")
    assert math.isnan(short.error) and short.seconds > 0 and short.diverged is None


def test_the_order_of_batches_is_that_of_its_seed_alone():
    def losses(seed, network_seed=0):
        training = jp.Training(**{**TRAINING.to_settings(), "order_seed": seed})
        return jp.train(make_convnet(network_seed, dropout=0.5), make_samples(), training=training).history["loss"]

    first = losses(0)
    torch.manual_seed(99)
    torch.rand(3)
    assert losses(0).equals(first) and not losses(1).equals(first)


def test_training_works_where_gradients_are_off_and_from_arrays():
    images, labels = make_samples()
    with torch.no_grad():
        run = jp.train(make_mlp(), (images.double().numpy(), labels.numpy()), training=TRAINING)
    assert run.history["loss"].iloc[-1] < run.history["loss"].iloc[0]
    expected = jp.train(make_mlp(), (images, labels), training=TRAINING).history
    pd.testing.assert_frame_equal(run.history, expected)


def test_a_wrapped_network_is_trained_inside_its_wrapper():
    run = jp.train(nn.DataParallel(make_mlp()), make_samples(), training=TRAINING)
    assert isinstance(run.model, nn.DataParallel)
    expected = jp.train(make_mlp(), make_samples(), training=TRAINING)
    assert torch.equal(run.model.module[1].weight, expected.model[1].weight)


def test_augmented_images_are_what_is_learnt():
    settings = {**TRAINING.to_settings(), "augmentation": ["flip", "translate", "crop-pad"]}
    plain, changed = (jp.train(make_convnet(), make_samples(), training=jp.Training.of_settings(given)).history["loss"]
                      for given in (TRAINING.to_settings(), settings))
    assert not changed.equals(plain) and changed.equals(
        jp.train(make_convnet(), make_samples(), training=jp.Training.of_settings(settings)).history["loss"])


def test_a_recurrent_network_is_trained_too():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.rnn, self.out = nn.GRU(6, 5, batch_first=True), nn.Linear(5, 3)

        def forward(self, x):
            return self.out(self.rnn(x.flatten(1, 2))[0][:, -1])

    masks = some_masks(Recurrent(), names=["rnn.weight_hh_l0", "out.weight"])
    run = jp.train(masks.apply(Recurrent()), make_samples(), training=TRAINING)
    jp.assert_masked(run.model, masks)
    assert run.history["loss"].iloc[-1] < run.history["loss"].iloc[0]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    {
        "no module": ({"model": make_mlp}, DtypeError, "`model` must be a torch.nn.Module"),
        "a NaN weight": ({"model": nn.Linear(36, 3).requires_grad_(False).apply(
            lambda m: nn.init.constant_(m.weight, math.nan))}, NonFiniteError, "`model` must hold finite weights"),
        "nothing to train": ({"model": make_mlp().requires_grad_(False)}, ModelError, "that require gradients"),
        "settings as a dict": ({"training": {"rate": 0.1}}, DtypeError, "`training` must be a jacprobe.Training"),
        "no pair": ({"data": torch.rand(3, 4)}, DtypeError, r"`data` must be a pair \(inputs, labels\)"),
        "a loader's batches": ({"data": [make_samples()]}, DtypeError, "`data` must be a pair"),
        "too large batches": ({"training": jp.Training(batch_size=61)}, ArgumentError, "at most the 60 samples"),
        "flat images augmented": ({"data": (torch.rand(20, 36), torch.zeros(20).long()), "training": jp.Training(
            batch_size=5, augmentation=("flip",))}, ShapeError, "images .* to be augmented; got shape"),
        "another test shape": ({"test": make_samples(shape=(1, 5, 5))}, ShapeError, "`test` must have inputs of the"),
        "no test data": ({"training": jp.Training(batch_size=9, protocol="paper")}, ArgumentError, "`test` must be"),
        "other inputs": ({"data": make_samples(shape=(1, 5, 5))}, ModelError, "it raised RuntimeError: mat1 and mat2"),
        "a map as output": ({"model": nn.Conv2d(1, 3, 3)}, ModelError, r"\(num, num_classes\); got \(2, 3, 4, 4\)"),
        "a class too many": ({"data": make_samples(num_classes=4)}, ArgumentError, "labels from 0 to 2, .* got 0 to 3"),
        "classes from one": ({"test": (torch.rand(3, 1, 6, 6), torch.tensor([1, 2, 3]))}, ArgumentError,
                             "`test` must have labels from 0 to 2, one per output of the model; got 1 to 3"),
        "no such device": ({"device": "quantum"}, UnknownNameError, "`device` must be one of cpu"),
        "a device without numbers": ({"device": "meta"}, UnknownNameError, "`device` must be one of cpu"),
        "never written": ({"checkpoint_every": 0}, ArgumentError, "`checkpoint_every` must be a whole number"),
    }.values(),
    ids=["no module", "a NaN weight", "nothing to train", "settings as a dict", "no pair", "a loader's batches",
         "too large batches", "flat images augmented", "another test shape", "no test data", "other inputs",
         "a map as output", "a class too many", "classes from one", "no such device",
         "a device without numbers", "never written"],
)
def test_a_wrong_argument_is_refused_in_one_line(change, error, message):
    given = {"model": make_mlp(), "data": make_samples(), "training": TRAINING, **change}
    with pytest.raises(error, match=message) as caught:
        jp.train(given.pop("model"), given.pop("data"), **given)
    assert "\n" not in str(caught.value)


def test_progress_is_shown_where_it_is_asked_for(capsys):
    jp.train(make_mlp(), make_samples(), training=TRAINING, progress=True)
    assert "25/25" in capsys.readouterr().err
    jp.train(make_mlp(), make_samples(), training=TRAINING, progress=False)
    assert capsys.readouterr().err == ""
