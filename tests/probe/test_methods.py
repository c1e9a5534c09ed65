"""Every way to a spectrum, on one network, against the exact spectrum and against what its numbers claim."""

import math

import numpy as np
import pytest
import torch
from oracles import SiteOracle, randomized, seeded_normal, singular_values
from torch import nn

import jacprobe as jp
from jacprobe.probe import METHODS

NUM = 3


def _net():
    """Two convolutions, one of them circular, with batch norm, ReLU and pooling."""
    return randomized(nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1, padding_mode="circular"), nn.ReLU(), nn.Flatten(), nn.Linear(128, 4)))


def _inputs():
    return seeded_normal(NUM, 2, 8, 8)


@pytest.fixture(scope="module")
def expected():
    """Singular values of every layer and module in float64, by NumPy."""
    result = jp.spectra(_net(), _inputs(), kind=["layers", "modules", "end_to_end"])
    oracle = SiteOracle(_net(), _inputs())
    return {(s.segment, s.kind): singular_values(oracle.jacobian(s.source, s.target)) for s in result}


def _spectra(**options):
    return jp.spectra(_net(), _inputs(), kind=["layers", "modules", "end_to_end"], **options)


@pytest.mark.parametrize("method", ["auto", "exact", "svd", "gram"])
def test_exact_methods_agree_with_the_oracle(method, expected):
    for spectrum in _spectra(method=method):
        assert spectrum.label == "exact"
        error = np.abs(spectrum.values.numpy() - expected[spectrum.segment, spectrum.kind]).max()
        assert error <= spectrum.floor <= 1e-4 * spectrum.max
    assert {"svd": "svd", "gram": "gram"}.get(method, "") in spectrum.method


def test_a_density_estimates_what_is_exact_within_its_errors(expected):
    for spectrum in _spectra(method="density", num_probes=6, num_steps=128):
        truth = expected[spectrum.segment, spectrum.kind]
        assert (spectrum.label, spectrum.values) == ("estimated", None)
        slack = 1e-5 * truth.max()
        assert abs(spectrum.mean - truth.mean()) <= 4 * spectrum.standard_error("mean") + slack
        assert abs(spectrum.mean_square - (truth**2).mean()) <= 4 * spectrum.standard_error("mean_square") + slack
        assert spectrum.density.maximum <= truth.max() + slack
        assert (spectrum.density.zeros.numpy() <= (truth < 1e-6).sum(1)).all()
        low, high = spectrum.density.share_band(0.5, 1.5)
        assert low <= ((truth >= 0.5) & (truth <= 1.5)).mean() <= high
        assert math.isnan(spectrum.min) or spectrum.num_zeros


def test_a_density_knows_the_frobenius_norm_of_one_masked_factor():
    layer = _spectra(method="density")["4"]
    exact = _spectra(method="exact")["4"]
    np.testing.assert_allclose(layer.density.frobenius, exact.values.norm(dim=1), rtol=1e-5)
    assert layer.density.zeros.tolist() == exact.zeros.tolist()


def test_intervals_of_the_largest_values_hold(expected):
    for spectrum in _spectra(method="largest", num_values=3):
        truth = expected[spectrum.segment, spectrum.kind][:, :3]
        lower, upper = (ends.numpy() for ends in spectrum.bounds)
        assert spectrum.label == "bounded"
        assert spectrum.values.shape == truth.shape
        slack = spectrum.floor if spectrum.floor > 0 else 1e-5 * truth.max()
        assert (lower - slack <= truth).all()
        assert (truth <= upper + slack).all()
        np.testing.assert_allclose(spectrum.values, truth, atol=2e-3 * truth.max())


def test_bounds_hold_for_every_value_of_a_convolution(expected):
    for spectrum in _spectra(method="bounds"):
        truth = expected[spectrum.segment, spectrum.kind]
        if (spectrum.segment, spectrum.kind) in (("0", "module"), ("4", "module"), ("4", "layer")):
            lower, upper = (ends.numpy() for ends in spectrum.bounds)
            slack = 1e-5 * truth.max()
            assert (spectrum.label, spectrum.confidence) == ("bounded", 1)
            assert (lower - slack <= truth).all()
            assert (truth <= upper + slack).all()
            assert (lower[:, 0] >= 0.97 * truth[:, 0]).all()  # some Lanczos steps
        else:
            assert "needs one convolution" in spectrum.reason


def test_a_circular_convolution_is_solved_frequency_by_frequency(expected):
    result = _spectra(method="fourier")
    known = [s for s in result if s.reason is None]
    assert [(s.segment, s.kind) for s in known] == [("4", "module")]
    assert "fourier" in known[0].method
    np.testing.assert_allclose(known[0].values, expected["4", "module"], atol=known[0].floor)
    assert "fourier" in _spectra(method="auto").select("module")["4"].method
    assert "padding" in result.select("module")["0"].reason


def test_moments_are_estimated_within_their_errors(expected):
    for spectrum in _spectra(method="moments", num_probes=40):
        squares = expected[spectrum.segment, spectrum.kind] ** 2
        moments = spectrum.moments
        relative = squares.var(1) / squares.mean(1) ** 2
        assert spectrum.label == "estimated"
        for found, error, truth in (
            (moments.mean_square, moments.mean_square_standard_error, squares.mean(1)),
            (moments.relative_variance, moments.relative_variance_standard_error, relative),
        ):
            assert (np.abs(found.numpy() - truth) <= 5 * error.numpy() + 1e-4 * truth).all()


@pytest.mark.parametrize("method", ["density", "largest", "moments", "bounds"])
def test_the_same_seed_gives_the_same_numbers(method):
    options = {"num_probes": 2, "num_steps": 8} if method == "density" else {}
    first, again, other = (_spectra(method=method, seed=seed, **options).to_dict()["segments"] for seed in (1, 1, 2))
    for row in (*first, *again, *other):
        del row["seconds"]
    assert first == again
    assert method == "bounds" or first != other


@pytest.mark.parametrize("method", [m for m in METHODS if m != "auto"])
def test_threads_and_random_states_are_as_before(method):
    net = _net()
    before, state = torch.get_num_threads(), torch.get_rng_state()
    jp.spectra(net, _inputs(), kind=["layers", "modules"], method=method)
    assert torch.get_num_threads() == before
    assert torch.equal(torch.get_rng_state(), state)


def test_chunks_use_the_probes_of_the_whole():
    net = randomized(nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(144, 40)))
    inputs = seeded_normal(9, 2, 6, 6)
    whole = jp.spectra(net, inputs, kind="layers", method="density", num_probes=2, num_steps=10)
    parts = jp.spectra(net, inputs, kind="layers", method="density", num_probes=2, num_steps=10, memory="150kB")
    np.testing.assert_allclose(whole["0"].density.nodes, parts["0"].density.nodes, atol=1e-5)
    np.testing.assert_allclose(whole["0"].density.weights, parts["0"].density.weights, atol=1e-5)


def test_a_shared_convolution_that_is_too_large_is_bounded():
    net = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.Flatten())
    spectrum = jp.spectra(net, seeded_normal(2, 4, 12, 12), kind="modules", work=2e8)["0"]
    assert (spectrum.label, spectrum.reason) == ("bounded", None)
    assert "576 x 576 need" in spectrum.note


def test_what_fits_in_no_way_says_all_the_numbers():
    net = randomized(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Flatten()))
    reason = jp.spectra(net, seeded_normal(2, 4, 12, 12), kind="layers", work=1e3)["0"].reason
    assert "576 x 576" in reason
    assert "two moments needs" in reason or "two moments need" in reason


def test_moments_stand_in_for_a_density_that_does_not_fit():
    net = randomized(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Flatten()))
    spectrum = jp.spectra(net, seeded_normal(2, 4, 12, 12), kind="layers", work=2e7)["0"]
    assert spectrum.moments is not None
    assert "hutchinson" in spectrum.method


def test_relative_accuracy_finds_what_the_product_has_lost():
    """A chain of diagonal matrices has the powers of their entries, far below what float64 keeps beside 1."""
    entries, depth = torch.tensor([1.0, 0.5, 0.25, 0.1]), 30
    net = nn.Sequential(*[nn.Linear(4, 4, bias=False) for _ in range(depth)])
    turn = torch.linalg.qr(seeded_normal(4, 4)).Q
    for layer in net:
        layer.weight.data = turn @ torch.diag(entries) @ turn.T
    exact = jp.spectra(net, seeded_normal(2, 4), kind="end_to_end", accuracy="reference").end_to_end
    relative = jp.spectra(net, seeded_normal(2, 4), kind="end_to_end", accuracy="relative").end_to_end
    weight = net[0].weight.detach().double().numpy()  # as rounded to float32
    truth = np.sort(np.abs(np.linalg.eigvalsh((weight + weight.T) / 2)) ** depth)[::-1]
    np.testing.assert_allclose(relative.values[0], truth, rtol=1e-4)
    assert relative.relative_floor < 1e-6
    assert relative.num_under_floor == 0
    assert exact.num_under_floor > 0


def test_relative_accuracy_needs_a_chain():
    net = nn.Sequential(nn.Linear(4, 4), nn.Softmax(1), nn.Linear(4, 2))
    result = jp.spectra(net, seeded_normal(2, 4), accuracy="relative")
    assert "accuracy 'relative' needs a chain" in result["0"].reason
    assert result["2"].reason is None


def test_a_network_without_second_derivatives_has_no_products():
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.tanh().cumsum(1)

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, grad):
            return grad.flip(1).cumsum(1).flip(1) * (1 - ctx.saved_tensors[0].tanh() ** 2)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x):
            return Once.apply(self.fc(x))

    result = jp.spectra(Net(), seeded_normal(2, 4), kind="end_to_end", method="density")
    assert "has no second derivative" in result.end_to_end.reason
    assert jp.spectra(Net(), seeded_normal(2, 4), kind="end_to_end").end_to_end.label == "exact"


def test_signals_follow_their_formulas():
    net = randomized(nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 7), nn.Tanh()))
    net[0].weight.data[2] = 0
    inputs = seeded_normal(40, 5)
    spectrum = jp.spectra(net, inputs)["0"]
    hidden = net[:2].eval()(inputs).detach().double().numpy()

    def cosine(rows):
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-300)
        gram = unit @ unit.T
        return gram[~np.eye(len(gram), dtype=bool)].mean()

    assert spectrum.cosine_in == pytest.approx(cosine(inputs.double().numpy()), abs=1e-6)
    assert spectrum.cosine_out == pytest.approx(cosine(hidden), abs=1e-6)
    assert spectrum.dead_units == pytest.approx((hidden == hidden[0]).all(0).mean())
    assert spectrum.dead_units > 0
    jacobians = SiteOracle(net, inputs)
    ends = (jacobians.jacobian(site, "output").norm() for site in ("input", "1"))
    ratio = float(next(ends) / next(ends))
    assert spectrum.gradient_ratio == pytest.approx(ratio, rel=0.3)  # one random gradient per input


def test_a_jacobian_is_a_block_operator_for_torch_and_scipy():
    import scipy.sparse.linalg

    operator = jp.jacobian(_net(), _inputs(), target="4")
    dense = operator.dense()
    block = seeded_normal(NUM, operator.shape[2], 2)
    torch.testing.assert_close(operator @ block, dense @ block, rtol=1e-4, atol=1e-4)
    rows = seeded_normal(NUM, operator.shape[1], 2)
    torch.testing.assert_close(operator.T @ rows, dense.mT @ rows, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(operator.T.dense(), dense.mT)
    top = scipy.sparse.linalg.svds(operator.to_scipy(1), k=1, return_singular_vectors=False,
                                   rng=np.random.default_rng(0))
    assert top[0] == pytest.approx(float(torch.linalg.svdvals(dense[1])[0]), rel=1e-4)
    with pytest.raises(jp.errors.ArgumentError, match="`index` must name one of 3 inputs; got None"):
        operator.to_scipy()
    with pytest.raises(jp.errors.ArgumentError, match="`index` must be one of 3 inputs; got 3"):
        operator.to_scipy(3)


@pytest.mark.parametrize("scale", [1.0, 1e20, 1e-25])
def test_cosines_know_no_scale(scale):
    inputs = torch.tensor([[1.0, 1, 0], [1, 1, 0], [0, 0, 1]]) * scale
    spectrum = jp.spectra(nn.Linear(3, 2, bias=False), inputs, kind="layers")["model"]
    assert spectrum.cosine_in == pytest.approx(1 / 3, abs=1e-6)


def test_inputs_without_direction_are_in_no_cosine():
    inputs = torch.tensor([[1.0, 0, 0], [0, 0, 0], [1, 0, 0]])
    spectrum = jp.spectra(nn.Linear(3, 2, bias=False), inputs, kind="layers")["model"]
    assert spectrum.cosine_in == pytest.approx(1, abs=1e-6)
    dead = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    dead[0].bias.data.fill_(-100.0)
    assert math.isnan(jp.spectra(dead, inputs, kind="layers")["0"].cosine_out)
