import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune
from torch.utils.data import DataLoader, TensorDataset

from jacprobe.errors import ArgumentError, DtypeError, ModelError
from jacprobe.masks import Masks
from jacprobe.pruning.context import Scoring
from jacprobe.pruning.scores import SCORES


def snip(net, names, *, data, batch_norm="eval", **arguments):
    return SCORES["snip"](net, names, Scoring(data=data, batch_norm=batch_norm), **arguments)


def magnitude(net, names):
    return SCORES["magnitude"](net, names, Scoring())


def random(net, names, *, generator):
    return SCORES["random"](net, names, Scoring(generator=generator))


def make_conv(dtype=torch.float64):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Dropout(), nn.Linear(12, 3))
    with torch.no_grad():
        net[1].running_mean.normal_()
        net[1].running_var.uniform_(0.5, 2)
    return net.to(dtype)


def make_mlp(dtype=torch.float64):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3)).to(dtype)


def make_data(num=23, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(num, 1, 4, 4, generator=generator, dtype=dtype), torch.randint(0, 3, (num,), generator=generator)


def mean_loss(logits, labels):
    """Cross-entropy written out."""
    return (logits.exp().sum(1).log() - logits[torch.arange(len(labels)), labels]).mean()


def normalised(gradients):
    total = sum(gradient.abs().sum() for gradient in gradients.values())
    return {name: gradient.abs() / total for name, gradient in gradients.items()}


def assert_close(found, expected, atol):
    assert found.keys() == expected.keys()
    for name in found:
        assert torch.allclose(found[name].double(), expected[name].double(), rtol=0, atol=atol), name


NETS = {
    "tanh MLP": (make_mlp, ["1.weight", "1.bias", "3.weight"]),
    "batch-normed": (make_conv, ["0.weight", "5.weight"]),
}


@pytest.mark.parametrize(("make", "names"), NETS.values(), ids=NETS)
def test_connection_sensitivity_is_weight_times_gradient(make, names):
    net, (inputs, labels) = make(), make_data()
    found = snip(net, names, data=(inputs, labels))
    net.eval()
    mean_loss(net(inputs), labels).backward()
    parameters = dict(net.named_parameters())
    assert_close(found, normalised({n: parameters[n].detach() * parameters[n].grad for n in names}), 1e-14)


@pytest.mark.parametrize(("make", "names"), NETS.values(), ids=NETS)
def test_connection_sensitivity_is_the_gradient_of_multiplicative_masks(make, names):
    net, (inputs, labels) = make(), make_data()
    found = snip(net, names, data=(inputs, labels))
    net.eval()
    state = {name: tensor.detach() for name, tensor in net.state_dict().items()}
    multipliers = {name: torch.ones_like(state[name], requires_grad=True) for name in names}
    masked = {**state, **{name: state[name] * multipliers[name] for name in names}}
    mean_loss(torch.func.functional_call(net, masked, (inputs,)), labels).backward()
    assert_close(found, normalised({name: multipliers[name].grad for name in names}), 1e-14)


def test_connection_sensitivity_is_the_loss_change_of_finite_differences():
    net, (inputs, labels) = make_mlp(), make_data()
    found = snip(net, ["3.weight"], data=(inputs, labels))["3.weight"]
    weight, step, slopes = net[3].weight, 1e-5, torch.zeros(3, 8, dtype=torch.float64)
    with torch.no_grad():
        for i, j in [(i, j) for i in range(3) for j in range(8)]:
            value = weight[i, j].item()
            losses = []
            for multiplier in (1 + step, 1 - step):
                weight[i, j] = value * multiplier
                losses.append(mean_loss(net(inputs), labels))
            weight[i, j] = value
            slopes[i, j] = (losses[0] - losses[1]) / (2 * step)
    assert_close({"w": found}, normalised({"w": slopes}), 1e-9)


@pytest.mark.parametrize("make", [make_mlp, make_conv], ids=["MLP", "batch-normed"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_scores_are_not_negative_and_sum_to_one(make, dtype):
    net = make(dtype)
    names = [name for name, parameter in net.named_parameters() if parameter.ndim > 1]
    found = snip(net, names, data=make_data(dtype=dtype))
    assert all((score >= 0).all() and score.dtype == dtype for score in found.values())
    total = sum(score.double().sum() for score in found.values()).item()
    assert total == pytest.approx(1, abs=1e-12 if dtype == torch.float64 else 1e-7)


@pytest.mark.parametrize("batch_size", [1, 7, 22, 23])
@pytest.mark.parametrize("make", [make_mlp, make_conv], ids=["MLP", "batch-normed"])
def test_scores_do_not_depend_on_how_samples_are_batched(make, batch_size):
    net, (inputs, labels) = make(), make_data()
    names = [name for name, parameter in net.named_parameters() if parameter.ndim > 1]
    whole = snip(net, names, data=(inputs, labels))
    batches = list(zip(inputs.split(batch_size), labels.split(batch_size), strict=True))
    assert_close(snip(net, names, data=batches), whole, 1e-15)


def test_many_samples_are_split_without_loss():
    net, data = make_mlp(), make_data(600)
    assert_close(snip(net, ["3.weight"], data=data), snip(net, ["3.weight"], data=[data]), 1e-15)


def test_the_sum_is_signed_before_the_absolute_value():
    net = nn.Linear(2, 2, bias=False)
    nn.init.ones_(net.weight)  # equal rows: both classes have probability 1/2 for every input
    batches = [(torch.tensor([[1.0, 1.0]]), torch.tensor([0])), (torch.tensor([[1.0, 0.0]]), torch.tensor([1]))]
    # gradients (p - y) x: -1/2 (1, 1) and +1/2 (1, 0) in the first row, the opposite in the second
    assert_close(snip(net, ["weight"], data=batches), {"weight": torch.tensor([[0, 0.5], [0, 0.5]])}, 1e-12)


DATA_FORMS = {
    "a tuple": lambda x, y: (x, y),
    "a list of batches": lambda x, y: [(x[:9], y[:9]), [x[9:], y[9:]]],
    "a generator": lambda x, y: ((x[i : i + 5], y[i : i + 5]) for i in range(0, len(x), 5)),
    "a loader": lambda x, y: DataLoader(TensorDataset(x, y), batch_size=4),
    "a shuffling loader": lambda x, y: DataLoader(TensorDataset(x, y), batch_size=4, shuffle=True),
    "two batches as a tuple": lambda x, y: ((x[:9], y[:9]), (x[9:], y[9:])),
    "an empty batch among others": lambda x, y: [(x[:0], y[:0]), (x, y)],
    "float32 inputs for a float64 model": lambda x, y: (x.float().double().float(), y),
}


@pytest.mark.parametrize("form", DATA_FORMS.values(), ids=DATA_FORMS)
def test_data_come_in_many_forms_and_leave_the_random_state(form):
    net, (inputs, labels) = make_mlp(), make_data()
    inputs = inputs.float().double()  # the same in float32
    state = torch.get_rng_state()
    found = snip(net, ["1.weight", "3.weight"], data=form(inputs, labels))
    assert torch.equal(torch.get_rng_state(), state)
    assert_close(found, snip(net, ["1.weight", "3.weight"], data=[(inputs, labels)]), 1e-14)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_scores_need_no_gradient_mode_around_them(context):
    net, data = make_mlp(), make_data()
    expected = snip(net, ["3.weight"], data=data)
    with context():
        data = tuple(part.clone() for part in data)  # inference tensors in one case
        found = snip(net, ["3.weight"], data=data)
    assert_close(found, expected, 1e-15)
    assert_close(snip(net, ["3.weight"], data=data), expected, 1e-15)


def test_frozen_weights_have_scores_too():
    net, data = make_mlp(), make_data()
    expected = snip(net, ["3.weight"], data=data)
    net.requires_grad_(False)
    assert_close(snip(net, ["3.weight"], data=data), expected, 0)


def test_the_model_is_untouched_and_its_stored_statistics_are_used():
    net, data = make_conv(), make_data()
    net.train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    state = torch.get_rng_state()
    found = snip(net, ["0.weight"], data=data)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert all(module.training for module in net.modules())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    assert_close(snip(net.eval(), ["0.weight"], data=data), found, 0)


def prune_by_masks(net, masks):
    return Masks(masks).apply(net)


def prune_by_torch(net, masks):
    for name, mask in masks.items():
        prune.custom_from_mask(net[int(name[0])], name[2:], mask)
    return net


@pytest.mark.parametrize("prune_by", [prune_by_masks, prune_by_torch])
def test_weights_that_are_removed_score_zero_and_the_others_as_in_a_zeroed_model(prune_by):
    names, data = ["1.weight", "3.weight"], make_data()
    masks = {name: torch.rand(make_mlp().get_parameter(name).shape) < 0.5 for name in names}
    zeroed = make_mlp()
    with torch.no_grad():
        for name in names:
            zeroed.get_parameter(name).mul_(masks[name])
    found = snip(prune_by(make_mlp(), masks), names, data=data)
    assert all((found[name][~masks[name]] == 0).all() for name in names)
    assert_close(found, snip(zeroed, names, data=data), 1e-15)
    magnitudes = magnitude(prune_by(make_mlp(), masks), names)
    assert all(torch.equal(magnitudes[name], zeroed.get_parameter(name).abs()) for name in names)


def test_the_weight_of_a_torch_pruned_layer_is_never_stale():
    net = nn.Sequential(nn.Linear(2, 2))
    prune.identity(net[0], "weight")
    with torch.no_grad():
        net[0].weight_orig.fill_(3.0)  # the plain attribute is recomputed only by the next forward pass
    assert torch.equal(magnitude(net, ["0.weight"])["0.weight"], torch.full((2, 2), 3.0))


@pytest.mark.parametrize(
    "score",
    [
        lambda net: magnitude(net, ["0.weight"]),
        lambda net: snip(net, ["0.weight"], data=(torch.ones(2, 3), torch.tensor([0, 1]))),
    ],
    ids=["magnitude", "snip"],
)
def test_a_spectral_norm_keeps_its_power_iteration(score):
    net = nn.Sequential(parametrizations.spectral_norm(nn.Linear(3, 2))).train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    assert score(net)["0.weight"].shape == (2, 3)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def compiled(net):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's compiler warns about itself when it is imported
        return torch.compile(net, backend="eager")


@pytest.mark.parametrize("wrap", [nn.DataParallel, compiled])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_wrapped_models_score_as_plain_ones(wrap):
    names, data = ["1.weight", "3.weight"], make_data()
    assert_close(snip(wrap(make_mlp()), names, data=data), snip(make_mlp(), names, data=data), 1e-15)
    assert_close(magnitude(wrap(make_mlp()), names), magnitude(make_mlp(), names), 0)


def test_tied_weights_have_the_gradient_of_both_uses():
    net = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Tanh(), nn.Linear(3, 3, bias=False)).double()
    net[2].weight = net[0].weight
    inputs, labels = torch.randn(5, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1])
    found = snip(net, ["0.weight"], data=(inputs, labels))
    mean_loss(net(inputs), labels).backward()
    assert_close(found, normalised({"0.weight": net[0].weight.detach() * net[0].weight.grad}), 1e-14)


def test_a_parameter_that_the_loss_does_not_use_scores_zero():
    net = make_mlp()
    net.spare = nn.Parameter(torch.ones(2, dtype=torch.float64))
    assert not snip(net, ["3.weight", "spare"], data=make_data())["spare"].any()


def test_magnitudes_are_absolute_values():
    net = make_mlp()
    assert torch.equal(magnitude(net, ["3.weight"])["3.weight"], net[3].weight.detach().abs())


def test_random_scores_come_from_the_generator_alone():
    net = make_mlp()
    state = torch.get_rng_state()
    first, again, other = (
        random(net, ["1.weight"], generator=torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)
    )
    assert torch.equal(first["1.weight"], again["1.weight"])
    assert not torch.equal(first["1.weight"], other["1.weight"])
    assert torch.equal(torch.get_rng_state(), state)
    assert first["1.weight"].min() >= 0
    assert first["1.weight"].max() < 1


# bad input


def raises_on(error, match, data, net=None):
    with pytest.raises(error, match=match):
        snip(net or make_mlp(), ["3.weight"], data=data)


def test_data_must_be_given():
    raises_on(ArgumentError, r"`data` must be given for 'snip'; got None\. Pass \(inputs, labels\)", None)


def test_inputs_and_labels_must_pair():
    inputs, labels = make_data()
    raises_on(ArgumentError, "`data` must pair inputs and labels; got 23 and 20", (inputs, labels[:20]))


@pytest.mark.parametrize(
    "data",
    [[], iter(()), (torch.ones(0, 16), torch.ones(0).long()), [(torch.ones(0, 16), torch.ones(0).long())]],
    ids=["no batch", "a spent generator", "no sample", "an empty batch"],
)
def test_data_must_hold_a_sample(data):
    raises_on(ArgumentError, r"`data` must hold at least one sample; got none\. Check the loader", data)


@pytest.mark.parametrize(
    ("data", "got"),
    [
        (torch.ones(3, 16), "Tensor"),
        ([torch.ones(3, 16), torch.ones(3)], "Tensor"),
        ([(torch.ones(3, 16),)], "tuple"),
        ([(torch.ones(1, 16), 3)], "tuple"),
        ("ab", "str"),
        ([{"x": 1, "y": 2}], "dict"),
    ],
    ids=["a tensor", "a list of two tensors", "no labels", "a label that is no tensor", "a string", "a dict"],
)
def test_batches_must_be_labelled_tensors(data, got):
    raises_on(DtypeError, rf"`data` must give \(inputs, labels\) tensors; got {got}\. Pass a loader", data)


def test_data_must_be_iterable():
    raises_on(DtypeError, r"must be \(inputs, labels\) or an iterable of such batches; got int\. Pass a loader", 3)


@pytest.mark.parametrize(
    ("inputs", "labels"),
    [
        (torch.ones(2, 9), [0, 1]),
        (torch.ones(2, 16), [0, 3]),
        (torch.ones(2, 16), [0.5, 1.0]),
        (torch.ones(2, 16), [[0], [1]]),
    ],
    ids=["other width", "no such class", "fractional labels", "labels of two dimensions"],
)
def test_data_must_fit_the_model(inputs, labels):
    pattern = r"`model` must classify `data`; inputs of shape \(2, \d+\) and torch\.\w+ labels .+ Check shapes"
    raises_on(ModelError, pattern, (inputs, torch.tensor(labels)))


def test_a_model_of_several_outputs_does_not_classify():
    class Pair(nn.Linear):
        def forward(self, x):
            return super().forward(x), x

    with pytest.raises(ModelError, match="`model` must classify `data`"):
        snip(Pair(2, 2), ["weight"], data=(torch.ones(1, 2), torch.tensor([0])))


def test_the_loss_must_be_finite():
    inputs, labels = make_data()
    data = (inputs * float("nan"), labels)
    raises_on(ModelError, r"must give a finite loss on `data`; got NaN or infinity\. Rescale", data)


def test_the_loss_must_depend_on_the_weights():
    net = make_mlp()
    nn.init.zeros_(net[3].weight)
    raises_on(ModelError, r"every score is zero\. The network is disconnected", make_data(), net)


def test_after_an_error_the_model_is_as_before():
    net = make_conv().train()
    with pytest.raises(ModelError):
        snip(net, ["0.weight"], data=(torch.ones(2, 3), torch.tensor([0, 1])))
    assert all(module.training for module in net.modules())
