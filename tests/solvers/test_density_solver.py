import numpy as np
import pytest
import torch
from oracles import seeded_normal, singular_values

from jacprobe.errors import ArgumentError, BudgetError, ShapeError
from jacprobe.linop import Convolution, Diagonal, LinearOperator, Matrix, Product, Selection, Sum
from jacprobe.solvers.density import bytes_per_chain, density, num_products


class Counting(LinearOperator):
    """An operator per input that cannot be taken apart, and that counts its vectors."""

    broadcasts = False

    def __init__(self, operator):
        self.operator, self.count = operator, 0
        self.shape, self.dtype, self.device = operator.shape, operator.dtype, operator.device

    def _matmat(self, block):
        self.count += block.shape[2]
        return self.operator.matmat(block)

    def _rmatmat(self, block):
        self.count += block.shape[2]
        return self.operator.rmatmat(block)


def relu_convolution(*, c_in=4, c_out=4, size=6, num_inputs=3, share=0.5, seed=0):
    """A convolution with zero padding behind which a share of the units is off, and the masks of live coordinates."""
    weight = seeded_normal(c_out, c_in, 3, 3, seed=seed) / (3 * c_in**0.5)
    convolution = Convolution(weight, (c_in, size, size), padding=1)
    active = seeded_normal(num_inputs, convolution.shape[1], seed=seed + 1).sigmoid() > share
    live = active, torch.ones(1, convolution.shape[2], dtype=torch.bool)
    return Product([Diagonal(active.float()), convolution]), live


def values_of(operator, dim):
    return singular_values(operator.dense().double())[:, :dim]


@pytest.mark.parametrize("size", [8, 12])
def test_a_relu_convolution_is_estimated_to_a_percent_of_its_largest_value(size):
    operator, live = relu_convolution(c_in=8, c_out=8, size=size, num_inputs=1)
    oracle = singular_values(operator.dense().double())
    found = density(operator, 1, num_probes=8, num_steps=60, seed=0, live=live)
    x = torch.linspace(0, 1.05 * oracle.max(), 4001, dtype=torch.float64)
    truth = (oracle.ravel()[:, None] <= x.numpy()).mean(0)
    distance = np.abs(found.distribution(x).numpy() - truth).mean() * float(x[-1])  # Wasserstein-1
    assert distance <= 0.01 * oracle.max()
    assert found.zeros.tolist() == (operator.shape[1] - live[0].sum(1)).tolist()
    for statistic, value in (("mean", oracle.mean()), ("std", oracle.std()), ("mean_square", (oracle**2).mean())):
        assert abs(getattr(found, statistic) - value) <= 4 * found.standard_error(statistic)
    assert found.maximum <= oracle.max() * (1 + 1e-5)
    assert found.smallest >= oracle[oracle > 1e-5].min()


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
@pytest.mark.parametrize(("c_in", "c_out"), [(4, 4), (3, 6), (6, 3)])
def test_bands_contain_the_truth_and_are_not_trivially_wide(share, c_in, c_out):
    operator, live = relu_convolution(c_in=c_in, c_out=c_out, share=share)
    dim = min(operator.shape[1:])
    oracle = values_of(operator, dim)
    oracle[oracle < 1e-5] = 0  # structural zeros
    found = density(operator, 3, num_probes=10, num_steps=30, seed=1, live=live)
    assert found.zeros.tolist() == (dim - torch.minimum(live[0].sum(1), live[1].sum(1))).tolist()
    x = np.linspace(0, 1.1 * oracle.max(), 300)
    truth = (oracle.ravel()[:, None] <= x).mean(0)
    lower, upper = found.band(torch.as_tensor(x))
    assert (lower.numpy() <= truth + 1e-12).all()
    assert (truth <= upper.numpy() + 1e-12).all()
    assert float((upper - lower).mean()) < 0.2
    for low, high in ((0.9, 1.1), (0, 0.5), (0.3, 0.8)):
        least, most = found.share_band(low, high)
        assert least <= ((oracle >= low) & (oracle <= high)).mean() <= most


def test_probes_do_not_depend_on_how_the_work_is_split():
    operator, live = relu_convolution()
    sizes = {"num_probes": 5, "num_steps": 12}
    whole = density(operator, 3, seed=4, live=live, **sizes)
    again = density(operator, 3, seed=4, live=live, **sizes)
    assert torch.equal(whole.nodes, again.nodes)
    assert torch.equal(whole.weights, again.weights)
    memory = 1.5 * bytes_per_chain(*operator.shape[1:], 12, 4)
    one_by_one = density(operator, 3, seed=4, live=live, memory=memory, **sizes)
    own = Product([Diagonal(operator.factors[0].entries[1:]), operator.factors[1]])
    part = density(own, 2, seed=4, live=(live[0][1:], live[1]), first_input=1, **sizes)
    opaque = density(Counting(operator), 3, seed=4, live=live, memory=memory, **sizes)
    for other, rows in ((one_by_one, slice(0, 3)), (part, slice(1, 3)), (opaque, slice(0, 3))):
        torch.testing.assert_close(other.nodes, whole.nodes[rows], atol=1e-5, rtol=0)
        torch.testing.assert_close(other.weights, whole.weights[rows], atol=1e-4, rtol=0)
    assert not torch.equal(whole.nodes, density(operator, 3, seed=5, live=live, **sizes).nodes)


def test_the_global_generator_is_left_alone_and_a_generator_serves_as_seed():
    operator, _ = relu_convolution(size=4)
    state = torch.get_rng_state()
    first = density(operator, 3, num_probes=2, num_steps=3, seed=torch.Generator().manual_seed(7))
    second = density(operator, 3, num_probes=2, num_steps=3, seed=torch.Generator().manual_seed(7))
    assert torch.equal(first.nodes, second.nodes)
    assert torch.equal(torch.get_rng_state(), state)


def test_inputs_are_probed_on_the_side_with_fewer_live_coordinates():
    rows, columns = torch.ones(2, 6), torch.ones(2, 8)
    rows[0, 2:] = 0
    columns[1, 1:] = 0
    operator = Product([Diagonal(rows), Matrix(seeded_normal(6, 8)), Diagonal(columns)])
    found = density(operator, 2, num_probes=3, num_steps=10, seed=0, live=(rows > 0, columns > 0))
    assert found.zeros.tolist() == [4, 5]
    oracle = values_of(operator, 6)
    for i, rank in ((0, 2), (1, 1)):
        np.testing.assert_allclose(found.nodes[i, :, :rank], np.tile(oracle[i, :rank], (3, 1)), rtol=1e-5)
        assert (found.weights[i, :, rank:] == 0).all()


def test_dead_inputs_are_all_zeros():
    operator = Product([Diagonal(torch.zeros(2, 4)), Matrix(seeded_normal(4, 5))])
    live = torch.zeros(2, 4, dtype=torch.bool), torch.ones(1, 5, dtype=torch.bool)
    found = density(operator, 2, num_probes=2, num_steps=3, seed=0, live=live)
    assert (found.mean, found.std, found.maximum, found.smallest) == (0, 0, 0, 0)
    assert found.zeros.tolist() == [4, 4]
    assert found.quantile(1) == 0
    assert [float(end) for end in found.band(0.0)] == [1, 1]


def test_a_jacobian_that_vanishes_without_telling_it_by_structure_is_all_zeros():
    found = density(Counting(Matrix(torch.zeros(30, 20))), 1, num_probes=4, num_steps=8, seed=0)
    assert (found.mean, found.std, found.maximum) == (0, 0, 0)
    lower, upper = found.band(0.0)
    assert 0 < float(lower) < float(upper) == 1


def test_one_matrix_for_all_inputs_is_probed_once():
    operator = Matrix(seeded_normal(30, 20))
    found = density(operator, 5, num_probes=4, num_steps=8, seed=0, frobenius=operator.matrix.norm()[None])
    one = density(operator, 1, num_probes=4, num_steps=8, seed=0, frobenius=operator.matrix.norm()[None])
    assert found.nodes.shape == (5, 4, 8)
    assert found.standard_error("mean") == pytest.approx(one.standard_error("mean"))
    assert found.mean == pytest.approx(one.mean)


def test_products_are_as_many_as_announced():
    operator = Counting(Matrix(seeded_normal(30, 20)))
    seen = []
    density(operator, 1, num_probes=3, num_steps=8, seed=0, progress=seen.append)
    assert operator.count == num_products(3, 8) == 45
    assert sum(seen) == 3


def test_parts_of_every_kind_of_operator_are_probed_alike():
    index = torch.stack([torch.arange(6), torch.arange(6).flip(0)])
    inner = Product([Selection(index, 6, dtype=torch.float32), Diagonal(seeded_normal(2, 6))])
    operator = Sum([inner, Matrix(seeded_normal(6, 6)), Product([Diagonal(seeded_normal(2, 6, seed=2)).T])])
    memory = 1.5 * bytes_per_chain(6, 6, 4, 4)
    split = density(operator, 2, num_probes=2, num_steps=4, seed=0, memory=memory)
    torch.testing.assert_close(split.nodes, density(operator, 2, num_probes=2, num_steps=4, seed=0).nodes,
                               atol=1e-4, rtol=0)


def test_curvlinops_sees_the_same_density():
    """A second opinion: Lanczos on J'J by another library, from its own random starts."""
    spectral = pytest.importorskip("curvlinops.papyan2020traces.spectrum")
    examples = pytest.importorskip("curvlinops.examples")
    matrix = seeded_normal(60, 40, dtype=torch.float64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        runs = [spectral.fast_lanczos(examples.TensorLinearOperator(matrix.T @ matrix), 20) for _ in range(300)]
    nodes = torch.stack([values.clamp(min=0).sqrt() for values, _ in runs])
    weights = torch.stack([vectors[0].square() for _, vectors in runs])
    found = density(Matrix(matrix), 1, num_probes=300, num_steps=20, seed=0)
    x = torch.linspace(0, found.maximum, 30, dtype=torch.float64)
    other = (weights[:, :, None] * (nodes[:, :, None] <= x)).sum(1).mean(0)
    assert float((found.distribution(x) - other).abs().max()) < 0.03
    means = (weights * nodes).sum(1)
    error = (found.standard_error("mean") ** 2 + float(means.var()) / 300) ** 0.5
    assert abs(found.mean - float(means.mean())) < 4 * error


def test_bad_arguments_are_refused():
    operator = Matrix(seeded_normal(3, 4))
    sizes = {"num_probes": 2, "num_steps": 2, "seed": 0}
    with pytest.raises(ArgumentError, match="`num_probes` must be at least 1; got 0"):
        density(operator, 1, **{**sizes, "num_probes": 0})
    with pytest.raises(ArgumentError, match="`num_steps` must be at least 1; got 0"):
        density(operator, 1, **{**sizes, "num_steps": 0})
    with pytest.raises(BudgetError, match="`memory` must hold one probe of 2 steps"):
        density(operator, 1, memory=10, **sizes)
    with pytest.raises(ShapeError, match="`live` must hold bool masks of shape"):
        density(operator, 1, live=(torch.ones(1, 4, dtype=torch.bool),) * 2, **sizes)
