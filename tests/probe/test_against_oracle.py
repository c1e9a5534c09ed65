"""Every segment of every architecture against autograd row by row in float64 and the SVD of NumPy."""

import functools
import itertools

import pytest
import torch
from architectures import ARCHITECTURES
from oracles import SiteOracle, assert_spectrum_close, randomized, seeded_normal, singular_values
from torch import nn

import jacprobe as jp

KINDS = ("layers", "modules", "cumulative", "end_to_end")
_KEPT_WEIGHTS = ("pruned by torch", "parametrized", "old spectral norm")  # their tensors are not free to be drawn
# relative to the largest value; float64 sees more than the rounding of the oracle
_FLOORS = {torch.float32: 1e-3, torch.float64: 2e-10}


def _network(name):
    factory, shape, output = ARCHITECTURES[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = factory()
    net = net if name in _KEPT_WEIGHTS else randomized(net)
    return net, seeded_normal(2, *shape), output


@functools.cache
def _spectra(name, dtype):
    """Of all kinds, once for all tests that look at them."""
    net, inputs, output = _network(name)
    return jp.spectra(net, inputs, kind=KINDS, output=output, dtype=dtype)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_segment_is_within_its_floor_of_the_oracle(name):
    oracle, found = SiteOracle(*_network(name)), {}
    for dtype, largest_floor in _FLOORS.items():
        for spectrum in _spectra(name, dtype):
            if spectrum.reason is not None:
                continue
            ends = spectrum.source, spectrum.target
            if ends not in found:
                found[ends] = singular_values(oracle.jacobian(*ends))
            assert_spectrum_close(spectrum.values, found[ends], floor=spectrum.floor)
            if name != "mixed precision":
                assert spectrum.floor <= largest_floor * spectrum.max, spectrum
            assert ((found[ends] <= spectrum.floor).sum(1) >= spectrum.zeros.numpy()).all()
            assert (spectrum.values == 0).sum() >= spectrum.num_zeros


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_layers_multiply_to_the_input_output_jacobian(name):
    net, inputs, output = _network(name)
    result = _spectra(name, torch.float64)
    layers = [result[segment] for segment in result.layers]
    product, previous = None, "input"
    for layer, cumulative in zip(layers, result.select("cumulative"), strict=True):
        assert layer.source == previous
        ends = {"source": layer.source, "target": layer.target}
        dense = jp.jacobian(net, inputs, **ends, output=output, dtype="float64").dense()
        product = dense if product is None else dense @ product
        assert product.shape[1:] == (cumulative.out_dim, cumulative.in_dim)
        previous = layer.target
    assert previous == "output"
    whole = jp.jacobian(net, inputs, output=output, dtype="float64").dense()
    # rounding of up to twenty products relative to the sum of their absolute terms, hence the slack
    assert torch.allclose(product, whole, rtol=0, atol=1e-10 * float(whole.abs().max()))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_weighted_module_appears_once_with_values_or_a_reason(name):
    net, result = _network(name)[0], _spectra(name, torch.float32)
    rows = [(s.kind, s.segment) for s in result]
    assert len(rows) == len(set(rows))
    named = {module.partition("#")[0] for s in result if s.kind == "module" for module in s.modules}
    own = {name or "model" for name, module in net.named_modules()
           if isinstance(module, (torch.nn.Linear, torch.nn.modules.conv._ConvNd, torch.nn.LSTM))}
    assert own <= named
    assert all((s.values is None) == (s.reason is not None) for s in result)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_half_precision_model_runs_in_float32(dtype):
    net, inputs, _ = _network("mlp")
    net = net.to(dtype)
    result = jp.spectra(net, inputs.to(dtype), kind="end_to_end")
    assert result.provenance["dtype"] == "float32"
    expected = SiteOracle(net, inputs.to(dtype)).jacobian("input", "output")
    assert_spectrum_close(result.end_to_end.values, singular_values(expected), floor=result.end_to_end.floor)


def test_a_float64_model_runs_in_float64():
    net, inputs, _ = _network("mlp")
    result = jp.spectra(net.double(), inputs.double(), kind="end_to_end")
    assert result.provenance["dtype"] == "float64"
    assert result.end_to_end.floor < 1e-13


@pytest.mark.parametrize("accuracy", ["fast", "standard", "reference"])
def test_every_accuracy_keeps_its_floor_and_a_better_one_has_a_lower(accuracy):
    net, inputs, _ = _network("mlp")
    result = jp.spectra(net, inputs, kind=KINDS, accuracy=accuracy)
    oracle = SiteOracle(net, inputs)
    for spectrum in result:
        expected = singular_values(oracle.jacobian(spectrum.source, spectrum.target))
        assert_spectrum_close(spectrum.values, expected, floor=spectrum.floor)
    floors = {a: jp.spectra(net.double(), inputs, kind="end_to_end", accuracy=a).end_to_end.floor
              for a in ("fast", "standard", "reference")}
    assert floors["fast"] > 1e3 * floors["standard"]
    assert floors["standard"] == floors["reference"]


@pytest.mark.parametrize(
    "view",
    [
        pytest.param(lambda x: x.transpose(-1, -2).contiguous().transpose(-1, -2), id="transposed"),
        pytest.param(lambda x: torch.stack([x, x], -1)[..., 0], id="strided"),
        pytest.param(lambda x: x.numpy(), id="array"),
        pytest.param(lambda x: x.numpy()[::-1].copy()[::-1], id="array of negative strides"),
        pytest.param(lambda x: x.numpy().astype(">f8"), id="big-endian array"),
    ],
)
def test_the_layout_of_the_inputs_does_not_matter(view):
    net, inputs, _ = _network("functional")
    plain = jp.spectra(net, inputs, kind="end_to_end").end_to_end.values
    assert torch.equal(jp.spectra(net, view(inputs), kind="end_to_end").end_to_end.values, plain)


def test_a_read_only_array_is_no_warning():
    net, inputs, _ = _network("mlp")
    array = inputs.numpy()
    array.flags.writeable = False
    assert len(jp.spectra(net, array)) == 5


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_the_callers_gradient_mode_does_not_matter(mode):
    net, inputs, _ = _network("softmax and layer norm")
    plain = jp.spectra(net, inputs)
    with mode():
        inside = jp.spectra(net, inputs)
    assert all(torch.equal(a.values, b.values) for a, b in zip(plain, inside, strict=True))


@pytest.mark.parametrize("seed", range(4))
def test_floors_hold_for_weights_and_inputs_of_any_scale(seed):
    """Saturated units and huge or tiny weights round worst; 20 random networks a seed."""
    generator = torch.Generator().manual_seed(seed)

    def draw(low, high):
        return int(torch.randint(low, high, (1,), generator=generator))

    activations = (nn.Tanh, nn.ReLU, nn.GELU, nn.Sigmoid, nn.Identity, nn.ELU, nn.Softplus, nn.SiLU)
    for trial in range(20):
        widths = [draw(2, 30) for _ in range(4)]
        layers = [[nn.Linear(a, b), activations[draw(0, 8)]()] for a, b in itertools.pairwise(widths)]
        net = randomized(nn.Sequential(*itertools.chain(*layers)), seed=100 * seed + trial)
        with torch.no_grad():
            for parameter in net.parameters():
                parameter *= 10.0 ** draw(-2, 3)
        inputs = seeded_normal(2, widths[0], seed=trial) * 10.0 ** draw(-2, 2)
        oracle = SiteOracle(net, inputs)
        for spectrum in jp.spectra(net, inputs, kind=KINDS):
            expected = singular_values(oracle.jacobian(spectrum.source, spectrum.target))
            assert_spectrum_close(spectrum.values, expected, floor=spectrum.floor)
