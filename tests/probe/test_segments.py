"""Which segments there are, what they are called, and what has none."""

import pytest
import torch
from architectures import Reused
from oracles import SiteOracle, assert_spectrum_close, seeded_normal, singular_values
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrize

import jacprobe as jp

_NEVER_CALLED = "its forward is never called; where its weight is used directly, the layer around it holds it"


def _rows(result, kind):
    return [(s.segment, s.source, s.target, s.out_dim, s.in_dim) for s in result if s.kind == kind]


def _chain():
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))


def test_a_layer_reaches_from_its_weights_to_the_next_weights():
    result = jp.spectra(_chain(), seeded_normal(3, 4), kind=("layers", "modules", "cumulative", "end_to_end"))
    assert _rows(result, "layer") == [("0", "input", "2", 6, 4), ("3", "2", "4", 5, 6), ("5", "4", "output", 3, 5)]
    assert _rows(result, "module") == [("0", "input", "0", 6, 4), ("3", "2", "3", 5, 6), ("5", "4", "output", 3, 5)]
    assert _rows(result, "cumulative") == [("0", "input", "2", 6, 4), ("3", "input", "4", 5, 4),
                                           ("5", "input", "output", 3, 4)]
    assert _rows(result, "end_to_end") == [("end_to_end", "input", "output", 3, 4)]
    assert result.end_to_end.modules == ("0", "3", "5")


def test_kinds_come_in_the_order_asked_and_once():
    result = jp.spectra(_chain(), seeded_normal(2, 4), kind=["end_to_end", "layers", "layers"])
    assert [s.kind for s in result] == ["end_to_end", "layer", "layer", "layer"]


def test_the_default_kinds_are_layers_and_end_to_end():
    assert {s.kind for s in jp.spectra(_chain(), seeded_normal(2, 4))} == {"layer", "end_to_end"}


def test_a_residual_block_is_one_layer_named_after_it():
    net = jp.build("resnet-20", input_shape=(1, 4, 4), block_size=1)
    result = jp.spectra(net, seeded_normal(1, 1, 4, 4), kind="layers")
    assert len(result.layers) == len(set(result.layers)) == 5  # stem, three blocks, classifier
    assert all(len(result[name].modules) >= 2 for name in result.layers[1:-1])
    held = [module for name in result.layers for module in result[name].modules]
    assert len(held) == len(set(held))


def test_a_second_call_of_a_module_gets_a_number():
    result = jp.spectra(Reused(), seeded_normal(2, 5), kind=("layers", "modules"))
    assert result.layers == ["fc", "fc#2", "out"]
    assert [s.segment for s in result.select("module")] == ["fc", "fc#2", "out"]


def test_a_cut_that_no_module_touches_is_named_after_its_operation():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.out = nn.Linear(4, 4), nn.Linear(2, 2)

        def forward(self, x):
            left, right = self.fc(x).tanh().chunk(2, 1)
            return self.out(left * right)

    net, inputs = Net().double(), seeded_normal(2, 4, dtype=torch.float64)
    result = jp.spectra(net, inputs, kind="layers", segments=[("input", "tanh@1")])
    assert "tanh@1" in jp.sites(net, inputs)
    expected = (1 - net.fc(inputs).tanh() ** 2).unsqueeze(2) * net.fc.weight
    assert_spectrum_close(result["input:tanh@1"].values, singular_values(expected.detach()), floor=1e-13)


@pytest.mark.parametrize("pair", [("input", "2"), ("2", "output"), ("0", "4"), ("3.input", "5"), ("input", "output")])
def test_any_two_sites_make_a_segment(pair):
    net, inputs = _chain(), seeded_normal(3, 4)
    result = jp.spectra(net, inputs, kind=(), segments=[pair])
    spectrum = result[":".join(pair)]
    assert spectrum.kind == "pair"
    expected = singular_values(SiteOracle(net, inputs).jacobian(*pair))
    assert_spectrum_close(spectrum.values, expected, floor=spectrum.floor)


def test_sites_are_listed_in_forward_order_with_their_shapes():
    assert jp.sites(_chain(), seeded_normal(2, 4)) == {
        "input": (4,), "0": (6,), "1": (6,), "2": (6,), "3": (5,), "4": (5,), "output": (3,)}


class _Odd(nn.Module):
    """Everything that has no Jacobian of its own, and a chain beside it that has."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.bilinear = nn.Bilinear(4, 4, 4)
        self.unused = nn.Linear(2, 2)
        self.constant = nn.Linear(4, 4)
        self.frozen = nn.Linear(4, 4)
        self.cross = nn.MultiheadAttention(4, 1, batch_first=True)
        self.out = nn.Linear(4, 3)

    def forward(self, x):
        x = self.fc(x)
        x = x + self.bilinear(x, x.tanh()) + self.constant(torch.ones_like(x)) + self.frozen(x.detach())
        query, key = x.unsqueeze(1), x.sin().unsqueeze(1)
        return self.out(x + self.cross(query, key, key)[0].squeeze(1))


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("bilinear", "Bilinear takes two inputs"),
        ("unused", _NEVER_CALLED),
        ("constant", "its input does not depend on the model's input"),
        ("frozen", "its input does not depend on the model's input"),
        ("cross", "takes 2 different tensors"),
        ("cross.out_proj", _NEVER_CALLED),
    ],
)
def test_a_module_without_a_jacobian_is_listed_with_the_reason(module, reason):
    result = jp.spectra(_Odd(), seeded_normal(2, 4))
    (spectrum,) = [s for s in result if s.kind == "module" and s.segment == module]
    assert reason in spectrum.reason
    assert spectrum.values is None
    assert spectrum.label == "none"
    assert spectrum.out_dim is None
    assert result.end_to_end.values is not None


def test_a_module_under_no_grad_says_that_nothing_depends_on_it():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.gate, self.side = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            with torch.no_grad():
                gate = self.gate(x)
            self.side(x)
            return self.fc(x) * gate

    result = jp.spectra(Net(), seeded_normal(2, 4))
    assert result["gate"].reason == "its output is not a tensor that depends on its input"
    assert result["side"].reason == "the model's output does not depend on it"


class _Transposed(nn.Module):
    """Puts time before the batch between its first and its last module."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2)

    def forward(self, x):
        return self.c(self.b(self.a(x.transpose(0, 1)).tanh()).transpose(0, 1))


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("num_inputs", [1, 2, 4, 5])
def test_a_site_without_the_batch_first_is_refused_whatever_its_length(steps, num_inputs):
    net, inputs = _Transposed(), seeded_normal(num_inputs, steps, 3)
    result = jp.spectra(net, inputs, kind=("modules", "end_to_end"))
    assert "does not have the batch dimension first" in result["b"].reason
    whole = singular_values(SiteOracle(net, inputs).jacobian("input", "output"))
    assert_spectrum_close(result.end_to_end.values, whole, floor=result.end_to_end.floor)
    with pytest.raises(jp.JacprobeError, match=r"`model` must have one Jacobian per input from 'b.input' to 'b'"):
        jp.jacobian(net, inputs, source="b.input", target="b")


def test_a_complex_site_has_a_reason():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fft, self.fc = _Fourier(), nn.Linear(4, 4)

        def forward(self, x):
            return torch.fft.irfft(self.fft(self.fc(x)))

    class _Fourier(nn.Module):
        def forward(self, x):
            return torch.fft.rfft(x)

    result = jp.spectra(Net(), seeded_normal(2, 4), segments=[("input", "fft")])
    assert result["input:fft"].reason == "site 'fft' holds complex numbers"
    assert result["fc"].reason is None


def test_a_segment_within_which_samples_mix_and_unmix_has_a_reason():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x):
            return self.b(self.a(x).roll(1, 0)).roll(-1, 0)

    result = jp.spectra(Net(), seeded_normal(3, 3))
    assert result["a"].reason == "samples mix between 'input' and 'b.input'"
    assert "samples mix" in result["b"].reason
    assert result.end_to_end.reason is None


def test_a_parametrized_buffer_does_not_make_a_module_weighted():
    net = nn.Sequential(nn.Linear(3, 3), nn.Tanh())
    net[1].register_buffer("scale", torch.ones(2, 2))
    parametrize.register_parametrization(net[1], "scale", nn.Tanh())
    assert jp.spectra(net, seeded_normal(2, 3)).layers == ["0"]


def test_a_module_of_ones_own_with_a_matrix_is_weighted():
    class Mixer(nn.Module):
        def __init__(self):
            super().__init__()
            self.matrix = nn.Parameter(seeded_normal(3, 4))

        def forward(self, x):
            return functional.linear(x, self.matrix)

    net = nn.Sequential(Mixer(), nn.Tanh(), nn.Linear(3, 2))
    result = jp.spectra(net, seeded_normal(2, 4), kind=("layers", "modules"))
    assert result.layers == ["0", "2"]
    assert_spectrum_close(result.select("module")["0"].values[:1], singular_values(seeded_normal(1, 3, 4)), floor=1e-5)


def test_a_single_module_is_its_own_model():
    result = jp.spectra(nn.Linear(3, 2), seeded_normal(2, 3), kind=("layers", "modules"))
    assert _rows(result, "layer") == _rows(result, "module") == [("model", "input", "output", 2, 3)]


class _Encoder(nn.Module):
    """A container that adds a parameter to the weighted modules inside it, as vision transformers do."""

    def __init__(self):
        super().__init__()
        self.position = nn.Parameter(torch.ones(1, 4))
        self.layers = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))

    def forward(self, x):
        return self.layers(x + self.position)


def test_a_container_with_parameters_of_its_own_does_not_merge_the_layers_inside():
    result = jp.spectra(nn.Sequential(_Encoder(), nn.Linear(4, 2)), torch.ones(1, 4), kind=("layers", "modules"))
    assert result.layers == ["0.layers.0", "0.layers.2", "1"]
    assert result["0"].reason == (
        "has parameters of its own beside the weighted modules it holds; they act in the layers around these, within"
        " the segment 0.input:0")
    assert [s.segment for s in result.select("module") if s.reason is None] == ["0.layers.0", "0.layers.2", "1"]


class _Bare(nn.Module):
    def __init__(self, with_linear):
        super().__init__()
        self.first = nn.Parameter(torch.eye(4))
        self.rest = nn.ParameterList([torch.eye(4), torch.eye(4)])
        self.linear = nn.Linear(4, 4) if with_linear else nn.Identity()

    def forward(self, x):
        x = torch.tanh(self.linear(x @ self.first))
        for weight in self.rest:
            x = torch.tanh(x @ weight)
        return x


def test_bare_parameters_are_never_silent():
    result = jp.spectra(_Bare(with_linear=True), torch.ones(1, 4))
    assert result.layers == ["linear"]
    assert "has parameters of its own beside the weighted modules" in result["model"].reason
    alone = jp.spectra(_Bare(with_linear=False), torch.ones(1, 4))
    assert alone.layers == ["model"]
    assert [s.segment for s in alone if s.reason] == []


def test_a_data_parallel_wrapper_is_looked_through():
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    plain, wrapped = jp.spectra(net, torch.ones(1, 3)), jp.spectra(nn.DataParallel(net), torch.ones(1, 3))
    assert wrapped.layers == plain.layers == ["0", "2"]
    assert torch.equal(wrapped.end_to_end.values, plain.end_to_end.values)


def test_a_cut_without_the_batch_first_ends_no_layer():
    class TimeFirst(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 2)

        def forward(self, x):
            return self.b(torch.tanh(self.a(x)).transpose(0, 1)).transpose(0, 1)

    result = jp.spectra(TimeFirst(), torch.ones(2, 5, 3))
    assert [s.reason for s in result] == [None] * len(result)
    assert result.layers == ["a", "b"]
