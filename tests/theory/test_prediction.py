import json
import math
import os

import numpy as np
import pytest
import torch
from torch import nn

import jacprobe as jp
from jacprobe.errors import ArgumentError, DtypeError, ModelError, NonFiniteError, ShapeError, UnknownNameError
from jacprobe.theory import Chain, LayerLaw, Prediction, Residual, SpectralLaw, product_law, residual_law, spectrum
from jacprobe.theory.weightkind import kind_of_weights

WIDTH, DEPTH = 300, 6


def network(activation=None, *, orthogonal, sigma_w2=1.0, seed=0, width=WIDTH, depth=DEPTH):
    """Return a chain of square layers without biases, and two inputs of mean square 1."""
    generator = torch.Generator().manual_seed(seed)
    modules = []
    for _ in range(depth):
        layer = nn.Linear(width, width, bias=False, dtype=torch.float64)
        if orthogonal:
            nn.init.orthogonal_(layer.weight, gain=math.sqrt(sigma_w2), generator=generator)
        else:
            nn.init.normal_(layer.weight, std=math.sqrt(sigma_w2 / width), generator=generator)
        modules += [layer] if activation is None else [layer, activation()]
    inputs = torch.randn(2, width, generator=generator, dtype=torch.float64)
    return nn.Sequential(*modules), inputs / inputs.pow(2).mean(1, keepdim=True).sqrt()


def distances(model, inputs, masks=None):
    """Return the prediction, and its distances to what is measured, by segment."""
    predicted = spectrum(model, masks, inputs=inputs)
    measured = jp.spectra(model if masks is None else masks.apply(model), inputs)
    return predicted, predicted.distance(measured).set_index("segment")


@pytest.mark.parametrize(
    ("activation", "orthogonal", "sigma_w2", "weights", "bound"),
    [
        pytest.param(None, False, 1.0, "gaussian", 0.02, id="linear Gaussian"),
        pytest.param(None, True, 1.0, "orthogonal", 1e-9, id="linear orthogonal"),
        pytest.param(nn.Tanh, False, 1.2, "gaussian", 0.025, id="tanh Gaussian"),
        pytest.param(nn.Tanh, True, 1.2, "orthogonal", 0.025, id="tanh orthogonal"),
        pytest.param(nn.ReLU, False, 2.0, "gaussian", 0.02, id="ReLU Gaussian"),
        pytest.param(nn.ReLU, True, 2.0, "orthogonal", 0.02, id="ReLU orthogonal"),
    ],
)
def test_dense_networks_have_the_predicted_spectrum(activation, orthogonal, sigma_w2, weights, bound):
    predicted, found = distances(*network(activation, orthogonal=orthogonal, sigma_w2=sigma_w2))
    end = found.loc["end_to_end"]
    # a finite ReLU network has the rank of its least active layer: that much of the distance is no disagreement
    assert end["distance"] - abs(end["zeros"] - end["expected_zeros"]) < bound
    assert set(predicted.table["label"]) == {"limit"}
    assert set(predicted.table["weights"].dropna()) == {weights}


@pytest.mark.parametrize("pattern", ["random", "magnitude"])
@pytest.mark.parametrize("orthogonal", [False, True], ids=["Gaussian", "orthogonal"])
def test_masks_without_structure_are_predicted(pattern, orthogonal):
    model, inputs = network(nn.Tanh, orthogonal=orthogonal, sigma_w2=2.0, depth=2)
    masks = jp.prune(model, pattern, sparsity=0.6, allocation="uniform", **({"seed": 1} if pattern == "random" else {}))
    predicted, found = distances(model, inputs, masks)
    assert found.loc["end_to_end", "distance"] < 0.03
    assert found["distance"].max() < 0.04  # of a layer alone the slopes are 300 draws for each of two inputs
    assert set(predicted.table["label"]) == {"limit"}
    assert dict(spectrum(masks.apply(model), inputs=inputs).to_dict()) == predicted.to_dict()  # masks that are carried
    expected = 0.4 if pattern == "random" else jp.theory.kept_energy(0.4)
    kept = predicted.table["kept_energy"][:-1]
    assert np.allclose(kept, expected if orthogonal else 0, atol=0.01)


def test_connection_sensitivity_on_gaussian_weights_gives_a_profile():
    model, inputs = network(nn.Tanh, orthogonal=False, sigma_w2=1.5, depth=2)
    generator = torch.Generator().manual_seed(1)
    data = torch.randn(4, WIDTH, generator=generator, dtype=torch.float64), torch.zeros(4, dtype=torch.long)
    masks = jp.prune(model, "snip", sparsity=0.8, data=data, loss="output-norm")
    predicted, found = distances(model, inputs, masks)
    assert found["distance"].max() < 0.05
    plain = Prediction.from_dict({**predicted.to_dict(), "stages": [
        {**stage, "rows": None, "columns": None} for stage in predicted.to_dict()["stages"]]})
    measured = jp.spectra(masks.apply(model), inputs, kind="layers")
    assert plain.distance(measured)["distance"].max() > 1.5 * found["distance"].max()  # without the profile it is wrong
    row = predicted.table.iloc[0]
    assert row["label"] == "approximate"
    assert row["reason"].startswith("the mask has structure: energies of rows and columns vary by CV^2")


@pytest.mark.data
@pytest.mark.skipif("JACPROBE_DATA" not in os.environ, reason="JACPROBE_DATA names no folder with MNIST")
def test_the_mean_singular_value_of_the_papers_network_is_predicted():
    images, _ = jp.load_data("mnist", num=100)
    model = jp.initialize(jp.build("mlp-7-tanh", input_shape=(1, 28, 28), num_classes=10), "orthogonal", seed=0)
    predicted, measured = spectrum(model, inputs=images), jp.spectra(model, images)
    assert predicted.end_to_end.mean == pytest.approx(measured.end_to_end.mean, rel=0.05)
    for name in measured.layers:
        assert predicted[name].mean == pytest.approx(measured[name].mean, rel=0.05), name


def test_circular_convolutions_follow_the_law_of_wide_channels():
    generator = torch.Generator().manual_seed(0)
    modules = [nn.Conv2d(60, 60, 3, padding=1, padding_mode="circular", bias=False, dtype=torch.float64)
               for _ in range(2)]
    for module in modules:
        nn.init.normal_(module.weight, std=math.sqrt(1.2 / 540), generator=generator)
    model = nn.Sequential(modules[0], nn.Tanh(), modules[1])
    predicted, found = distances(model, torch.randn(1, 60, 4, 4, generator=generator, dtype=torch.float64))
    assert found["distance"].max() < 0.02
    assert predicted.table["weights"].tolist()[:2] == ["gaussian"] * 2
    assert predicted.layers == ["0", "2"]


def test_lengths_start_from_the_inputs_and_follow_weights_and_biases():
    model, inputs = network(nn.Tanh, orthogonal=False, sigma_w2=1.3, depth=3)
    model[2].bias = nn.Parameter(torch.full((WIDTH,), 0.5, dtype=torch.float64))
    seen = []
    for module in model:
        if isinstance(module, nn.Linear):
            module.register_forward_hook(lambda module, args, out: seen.append(float(out.detach().pow(2).mean())))
    expected = spectrum(model, inputs=inputs).table["q"].tolist()[:-1]
    assert expected == pytest.approx(seen[:3], rel=0.1)


def test_a_chain_by_numbers_is_the_model_of_these_numbers():
    model, inputs = network(nn.Tanh, orthogonal=True, sigma_w2=1.2, depth=3)
    of_model = spectrum(model, inputs=inputs)
    of_numbers = spectrum(Chain([WIDTH] * 4, nn.Tanh(), "orthogonal", sigma_w2=1.2, output_activation=True))
    columns = ["sigma_w2", "gain", "relative_variance", "s_max", "mean"]
    expected = of_model.table[columns].to_numpy()
    assert np.allclose(of_numbers.table[columns].to_numpy(), expected, rtol=1e-6, equal_nan=True)


def test_given_layers_and_residual_networks_have_their_product_laws():
    layers = [LayerLaw(100, 100, "orthogonal", 2.0, ([0, 1], [0.5, 0.5]))] * 3
    predicted = spectrum(layers)
    assert list(predicted) == ["fc1", "fc2", "fc3", "end_to_end"]
    assert len(predicted) == 4
    assert predicted.end_to_end.s_max == pytest.approx(product_law(layers).s_max)
    assert list(spectrum({"a": layers[0]})) == ["a", "end_to_end"]
    assert spectrum(Residual(100, 4, 0.25)).end_to_end.s_max == pytest.approx(3.7225, abs=1e-4)
    fresh = spectrum(Residual(100, 50, 0.005, branch="fresh"))
    assert list(fresh) == ["end_to_end"]
    assert fresh.end_to_end.s_max == pytest.approx(residual_law(0.25).s_max)
    assert fresh.table["relative_variance"].tolist() == pytest.approx([0.5], abs=1e-4)


def test_a_description_is_plain_and_gives_the_laws_back():
    chain = Chain([40, 30, 20], nn.LeakyReLU(0.3), "gaussian", density=[0.5, 1.0])
    predicted = spectrum(chain)
    again = Prediction.from_dict(json.loads(json.dumps(predicted.to_dict())))
    assert again.table.equals(predicted.table)
    assert isinstance(again["fc1"], SpectralLaw)
    assert repr(again).startswith("Prediction of 3 segments")
    assert "fc1" in again
    assert "fc9" not in again


def test_a_spectrum_set_carries_its_prediction_through_a_file(tmp_path):
    model, inputs = network(nn.Tanh, orthogonal=True, width=30, depth=2)
    measured = jp.spectra(model, inputs, theory=True)
    assert jp.spectra(model, inputs).theory is None
    drawn = [line.get_label() for line in jp.plotting.plot_spectrum(measured, theory=True).axes[0].lines]
    assert "theory" in drawn
    for suffix in (".npz", ".parquet"):
        measured.save(tmp_path / f"s{suffix}")
        carried = jp.SpectrumSet.load(tmp_path / f"s{suffix}").theory
        assert carried == measured.theory == spectrum(model, inputs=inputs).to_dict()


def test_functional_activations_are_found_and_checked():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(20, 20), nn.Linear(20, 20)

        def forward(self, x):
            return self.b(torch.relu(self.a(x)))

    inputs = torch.randn(2, 20)
    with pytest.raises(ModelError, match=r"changes the tensor between 'a' and 'b'. Pass for example activation='relu'"):
        spectrum(Net(), inputs=inputs)
    with pytest.raises(ModelError, match=r"what its forward pass does between 'a' and 'b' is not tanh"):
        spectrum(Net(), inputs=inputs, activation="tanh")
    assert spectrum(Net(), inputs=inputs, activation="relu")["a"].zero_mass == pytest.approx(0.5)


def test_other_weights_are_marked_as_approximations():
    generator = np.random.default_rng(0)
    spiked = generator.standard_normal((100, 100)) + 1.0
    (reason,) = kind_of_weights(spiked, None, name="fc").reasons
    assert reason.startswith("the weights have a relative variance of")
    turned, _ = np.linalg.qr(generator.standard_normal((100, 100)))
    baked = turned * (generator.random((100, 100)) < 0.8)  # a mask that nobody tells of
    kind = kind_of_weights(baked, None, name="fc")
    assert kind.weight == pytest.approx(0.8, abs=0.05)
    assert kind.reasons == ("neither orthogonal nor Gaussian: the kept energy is fitted to a moment",)


class Shortcut(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.act, self.b = nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6)

    def forward(self, x):
        return x + self.b(self.act(self.a(x)))


def image_model(*modules):
    return nn.Sequential(*modules), torch.randn(2, 4, 6, 6)


TWICE = nn.Linear(6, 6)


@pytest.mark.parametrize(
    ("model", "message"),
    {
        "a shortcut": ((Shortcut(), torch.randn(2, 6)), "changes the tensor between 'b' and 'the output'"),
        "zero padding": (image_model(nn.Conv2d(4, 4, 3, padding=1)), r"'0' \(Conv2d\) is padded with zeros"),
        "a stride": (image_model(nn.Conv2d(4, 4, 1, stride=2)), r"'0' \(Conv2d\) has a stride"),
        "groups": (image_model(nn.Conv2d(4, 4, 1, groups=2)), r"'0' \(Conv2d\) has groups"),
        "a cut margin": (image_model(nn.Conv2d(4, 4, 3)), r"'0' \(Conv2d\) is not circular"),
        "pooling": (image_model(nn.Conv2d(4, 4, 1), nn.AvgPool2d(2)), r"'1' \(AvgPool2d\) pools"),
        "normalisation": (image_model(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)), r"'1' \(BatchNorm2d\) normalises"),
        "softmax": ((nn.Sequential(nn.Linear(6, 6), nn.Softmax(1)), torch.randn(2, 6)), r"'1' \(Softmax\) mixes the"),
        "weights used twice": ((nn.Sequential(TWICE, nn.Tanh(), TWICE), torch.randn(2, 6)), "'0' .* is used twice"),
        "tokens": ((nn.Sequential(nn.Linear(6, 6)), torch.randn(2, 3, 6)), r"'0' \(Linear\) acts on tokens one by one"),
        "another module": ((nn.Sequential(nn.GRU(6, 6)), torch.randn(2, 6)), r"'0' \(GRU\) takes or returns something"),
        "an activation first": ((nn.Sequential(nn.Tanh(), TWICE), torch.randn(2, 6)), "must start with a linear"),
        "two activations": ((nn.Sequential(TWICE, nn.Tanh(), nn.ReLU()), torch.randn(2, 6)),
                            "must have one activation behind '0'; '2' is a second one"),
        "no weights": ((nn.Sequential(nn.Flatten()), torch.randn(2, 6)), "must have a linear or convolutional layer"),
        "another shape": ((nn.Sequential(TWICE), torch.randn(2, 5)), r"must accept `inputs` of shape \(2, 5\)"),
    }.values(),
    ids=lambda value: None if isinstance(value, tuple) else value[:30],
)
def test_what_is_no_chain_is_refused_by_name(model, message):
    with pytest.raises(ModelError, match=message) as caught:
        spectrum(model[0], inputs=model[1])
    assert "\n" not in str(caught.value)


def test_bad_arguments_are_refused_in_one_line():
    model, inputs = network(nn.Tanh, orthogonal=True, width=10, depth=2)
    chain = Chain([10, 10])
    dead = jp.Masks({"0.weight": torch.zeros(10, 10, dtype=torch.bool)})
    for error, message, call in (
        (ArgumentError, "`inputs` must be given with a model; got None", lambda: spectrum(model)),
        (DtypeError, "`inputs` must be a floating tensor or array; got list", lambda: spectrum(model, inputs=[1.0])),
        (ShapeError, "`inputs` must hold at least one sample", lambda: spectrum(model, inputs=torch.ones(10))),
        (NonFiniteError, "`inputs` must be finite; got NaN", lambda: spectrum(model, inputs=inputs * math.nan)),
        (ArgumentError, "`inputs` must reach every layer; .*'0' are all 0", lambda: spectrum(model, inputs=inputs * 0)),
        (DtypeError, "`masks` must be jacprobe Masks; got dict", lambda: spectrum(model, {}, inputs=inputs)),
        (ArgumentError, "must keep a weight in every layer; got none in '0'",
         lambda: spectrum(model, dead, inputs=inputs)),
        (ArgumentError, "`inputs` must be left out without a model; got it with a Chain",
         lambda: spectrum(chain, inputs=inputs)),
        (DtypeError, "`network` must be a model, a Chain, a Residual or LayerLaws; got int", lambda: spectrum(3)),
        (UnknownNameError, "`segment` must be one of fc1, end_to_end; got 'fc2'", lambda: spectrum(chain)["fc2"]),
        (DtypeError, "`result` must be a SpectrumSet; got int", lambda: spectrum(chain).distance(3)),
        (ArgumentError, "`result` must hold one of fc1, end_to_end; got nothing",
         lambda: spectrum(chain).distance(jp.SpectrumSet(()))),
        (ArgumentError, r"`widths` must be at least two, input and output; got \[3\]", lambda: Chain([3])),
        (UnknownNameError, "`weights` must be one of gaussian, orthogonal", lambda: Chain([3, 3], weights="haar")),
        (UnknownNameError, "`activation` must be one of", lambda: Chain([3, 3], "tan")),
        (ArgumentError, "`q0` must be a finite number that is positive; got 0", lambda: Chain([3, 3], q0=0)),
        (ArgumentError, "`density` must be positive; got 0.0", lambda: Chain([3, 3], density=0)),
        (ArgumentError, "`sigma_w2` must be one number or one for each of 1 layers; got 2",
         lambda: Chain([3, 3], sigma_w2=[1.0, 2.0])),
        (UnknownNameError, "`branch` must be one of linear, fresh", lambda: Residual(3, 2, 0.1, "relu")),
        (ArgumentError, "`depth` must be a positive integer; got 0", lambda: Residual(3, 0, 0.1)),
        (ArgumentError, "`gain` must be positive and finite; got 0", lambda: Residual(3, 2, 0)),
    ):
        with pytest.raises(error, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)
