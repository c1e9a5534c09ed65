"""Linear layers that act on every token, before and after what takes tokens apart or moves them."""

import pytest
import torch
from oracles import SiteOracle, assert_spectrum_close, randomized, seeded_normal, singular_values
from torch import nn

import jacprobe as jp
from jacprobe.linop import Matrix, Product, Selection
from jacprobe.solvers.explicit import matrix_bytes


class _Then(nn.Module):
    def __init__(self, function, out=None):
        super().__init__()
        self.linear, self.function = nn.Linear(6, 6), function
        self.out = nn.Identity() if out is None else out

    def forward(self, x):
        return self.out(self.function(self.linear(x)))


NETS = {
    "flatten and a layer": lambda: nn.Sequential(nn.Linear(6, 6), nn.Flatten(), nn.Linear(24, 10)),
    "activation, flatten, a layer": lambda: nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Flatten(), nn.Linear(20, 7)),
    "unflatten after a layer": lambda: nn.Sequential(nn.Flatten(), nn.Linear(24, 24), nn.Unflatten(1, (4, 6)),
                                                     nn.Linear(6, 3), nn.Tanh()),
    "tokens of another size": lambda: nn.Sequential(nn.Linear(6, 4), nn.Flatten(), nn.Unflatten(1, (2, 8)),
                                                    nn.Linear(8, 8)),
    "a slice": lambda: _Then(lambda x: x[:, 2:]),
    "the first token": lambda: _Then(lambda x: x[:, 0], nn.Linear(6, 3)),
    "transposed": lambda: _Then(lambda x: x.transpose(1, 2), nn.Linear(4, 4)),
    "rolled": lambda: _Then(lambda x: x.roll(1, 1).relu(), nn.Linear(6, 6)),
    "heads": lambda: _Then(lambda x: x.view(len(x), 4, 2, 3).transpose(1, 2), nn.Linear(3, 3)),
    "padded": lambda: _Then(lambda x: nn.functional.pad(x, (0, 0, 1, 0)), nn.Linear(6, 6)),
    "mean of tokens": lambda: _Then(lambda x: x.mean(1), nn.Linear(6, 3)),
    "largest over tokens": lambda: _Then(lambda x: x.amax(1), nn.Linear(6, 3)),
    "mixing of tokens": lambda: nn.Sequential(nn.Linear(6, 6), nn.Conv1d(4, 5, 1), nn.ReLU(), nn.Linear(6, 2)),
}


@pytest.mark.parametrize("name", NETS)
def test_layers_of_tokens_have_the_values_of_autograd(name):
    net, inputs = randomized(NETS[name]()), seeded_normal(5, 4, 6)
    inputs[3] *= 30
    oracle = SiteOracle(net, inputs)
    for options in ({}, {"method": "svd"}, {"accuracy": "relative"}):
        for spectrum in jp.spectra(net, inputs, kind=["layers", "modules", "end_to_end"], **options):
            if spectrum.reason is not None:
                assert options == {"accuracy": "relative"}
                continue
            truth = singular_values(oracle.jacobian(spectrum.source, spectrum.target))
            assert_spectrum_close(spectrum.values, truth, floor=spectrum.floor)
            assert spectrum.floor <= 1e-4 * truth.max()


@pytest.mark.parametrize("name", NETS)
def test_largest_values_of_tokens_lie_in_their_intervals(name):
    net, inputs = randomized(NETS[name]()), seeded_normal(3, 4, 6)
    spectrum = jp.spectra(net, inputs, kind="end_to_end", method="largest", num_values=2).end_to_end
    truth = singular_values(SiteOracle(net, inputs).jacobian("input", "output"))[:, :2]
    lower, upper = (ends.numpy() for ends in spectrum.bounds)
    slack = spectrum.floor + 1e-5 * truth.max()
    assert (lower - slack <= truth).all()
    assert (truth <= upper + slack).all()


def test_matrices_of_copies_count_where_they_are_formed():
    tokens = Matrix(torch.ones(6, 5), copies=4)
    assert matrix_bytes(Product([Matrix(torch.ones(3, 6), copies=4), tokens])) == 0  # part by part
    assert matrix_bytes(Product([Matrix(torch.ones(7, 24)), tokens])) == 3 * 4 * 24 * 20
    assert matrix_bytes(Product([Selection(torch.arange(3).unsqueeze(0), 24, dtype=torch.float32), tokens])) == \
        3 * 4 * 24 * 20


def test_many_tokens_are_not_made_one_matrix_beyond_the_memory():
    net = randomized(nn.Sequential(nn.Linear(4, 4), nn.Flatten(), nn.Linear(2000, 3)))
    inputs = seeded_normal(2, 500, 4)
    spectrum = jp.spectra(net, inputs, kind="end_to_end", memory="4MB").end_to_end  # 2000 x 2000 would need 48 MB
    assert spectrum.method.startswith("autograd + ")
    truth = singular_values(SiteOracle(net, inputs).jacobian("input", "output"))
    assert_spectrum_close(spectrum.values, truth, floor=spectrum.floor)
