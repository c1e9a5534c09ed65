"""What a training script does to a model must not bring a removed weight back."""

import copy
import io
import pickle
import threading
import warnings

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.utils import parametrize

from jacprobe.masks import Masks, assert_masked, remove_masks
from jacprobe.models import build

STEPS = 20
OPTIMISERS = {
    "SGD with momentum and decay": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1),
    "Adam with decay": lambda p: torch.optim.Adam(p, lr=0.02, weight_decay=0.1),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.02, weight_decay=0.1),
}


def make_net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))


def make_masks(net, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Masks({name: torch.rand(p.shape, generator=generator) < 0.3 for name, p in net.named_parameters()
                  if p.ndim == 2})


def train(net, optimiser, steps=STEPS, seed=0, check=lambda: None):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        inputs, labels = torch.randn(16, 6, generator=generator), torch.randint(0, 3, (16,), generator=generator)
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(inputs), labels).backward()
        optimiser.step()
        check()


def zeros_of(net, masks):
    """Check by hand, weight by weight, on what the forward pass uses."""
    for name, mask in masks.items():
        weight = net[int(name.partition(".")[0])].weight
        assert weight[~mask].tolist() == [0.0] * int((~mask).sum())
        assert bool((weight[mask] != 0).all())


@pytest.mark.parametrize("optimiser", OPTIMISERS.values(), ids=OPTIMISERS)
def test_removed_weights_stay_exactly_zero_when_pruning_comes_after_some_steps(optimiser):
    net = make_net()
    before = optimiser(net.parameters())
    train(net, before, steps=5)
    masks = make_masks(net)
    pruned = masks.apply(net)
    after = optimiser(pruned.parameters())
    names = dict(net.named_parameters())
    for name, parameter in pruned.named_parameters():  # by name: a masked weight has another place in parameters()
        plain = name.replace("parametrizations.", "").replace(".original", "")
        after.state[parameter] = copy.deepcopy(before.state[names[plain]])
        moments = [value for value in after.state[parameter].values() if value.shape == parameter.shape]
        assert any(bool((value != 0).any()) for value in moments)
    start = pruned[0].weight.detach().clone()
    train(pruned, after, check=lambda: zeros_of(pruned, masks))
    assert_masked(pruned, masks)
    kept = masks["0.weight"]
    assert bool((pruned[0].weight != start)[kept].all())


@pytest.mark.parametrize("optimiser", OPTIMISERS.values(), ids=OPTIMISERS)
def test_tied_weights_stay_zero_at_both_owners_under_training(optimiser):
    net = make_net()
    net[5] = nn.Linear(8, 8)
    net[5].weight = net[3].weight
    masks = Masks({"3.weight": torch.rand(8, 8, generator=torch.Generator().manual_seed(0)) < 0.4})
    pruned = masks.apply(net)
    train(pruned, optimiser(pruned.parameters()))
    for layer in (pruned[3], pruned[5]):
        assert torch.equal(layer.weight == 0, ~masks["3.weight"])
    assert torch.equal(pruned[3].weight, pruned[5].weight)


@pytest.mark.parametrize("name", ["mlp-3-tanh", "lenet-5", "resnet-20"])
def test_masks_survive_files_of_the_state_dict_and_deep_copies(name):
    net = build(name, input_shape=(1, 12, 12))
    masks = Masks({key: torch.rand(p.shape, generator=torch.Generator().manual_seed(1)) < 0.5
                   for key, p in net.named_parameters() if p.ndim >= 2})
    pruned = masks.apply(net).eval()
    file = io.BytesIO()
    torch.save(pruned.state_dict(), file)
    file.seek(0)
    fresh = (~masks).apply(build(name, input_shape=(1, 12, 12))).eval()
    fresh.load_state_dict(torch.load(file, weights_only=True))
    inputs = torch.randn(2, 1, 12, 12)
    for same in (fresh, copy.deepcopy(pruned)):
        assert Masks.of(same) == masks
        assert torch.equal(same(inputs), pruned(inputs))
        assert_masked(same, masks)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net)), lambda net: saved(net)],
                         ids=["deep copy", "pickle", "torch.save"])
@pytest.mark.parametrize("network", ["mlp", "tied", "spectral norm", "lstm after a pass"])
def test_a_whole_masked_model_survives(network, copied):
    net, inputs = make_net(), torch.randn(4, 6)
    if network == "tied":
        net[5] = nn.Linear(8, 8)
        net[5].weight = net[3].weight
    if network == "spectral norm":
        nn.utils.parametrizations.spectral_norm(net[3])
    masks = Masks({"0.weight": torch.rand(8, 6) < 0.3, "3.weight": torch.rand(8, 8) < 0.3})
    if network == "lstm after a pass":
        net, masks = nn.LSTM(6, 8), Masks({"weight_hh_l0": torch.rand(32, 8) < 0.3})
    pruned = masks.apply(net).eval()
    output = (lambda model: model(inputs)[0]) if network.startswith("lstm") else (lambda model: model(inputs))
    expected = output(pruned)
    state = {name: tensor.clone() for name, tensor in pruned.state_dict().items()}
    other = copied(pruned)
    assert torch.equal(output(other), expected)
    assert torch.equal(output(copied(other)), expected)
    assert Masks.of(other) == masks
    assert [name for name, _ in other.named_parameters()] == [name for name, _ in pruned.named_parameters()]
    for parameter in other.parameters():
        parameter.data += 1.0
    assert_masked(other, masks)
    plain = remove_masks(other)  # takes nothing from the first one
    assert Masks.of(plain) == Masks({})
    assert Masks.of(pruned) == masks
    assert torch.equal(output(pruned), expected)
    assert all(torch.equal(tensor, state[name]) for name, tensor in pruned.state_dict().items())


def saved(net):
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def test_a_copy_may_lose_its_parametrisation_and_the_original_keeps_it():
    pruned = Masks({"weight": torch.eye(2) > 0}).apply(nn.Linear(2, 2))
    parametrize.remove_parametrizations(copy.deepcopy(pruned), "weight")
    assert torch.equal(pruned.weight == 0, torch.eye(2) == 0)


@pytest.mark.slow
def test_masks_survive_the_compiler():
    net, inputs = make_net(), torch.randn(16, 6)
    masks = make_masks(net)
    pruned = masks.apply(net)
    expected = copy.deepcopy(pruned)(inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's compiler warns about itself
        compiled = torch.compile(pruned, backend="eager")
        assert torch.equal(compiled(inputs), expected)
        train(compiled, torch.optim.AdamW(compiled.parameters(), lr=0.02, weight_decay=0.1))
    zeros_of(pruned, masks)
    assert Masks.of(compiled) == masks
    assert_masked(compiled, masks)
    names = set(compiled.state_dict())
    assert "_orig_mod.0.parametrizations.weight.0.mask" in names


def replicated(net):
    """Replicate as ``nn.DataParallel`` does on each device: shallow copies of the modules, then shared tensors.

    ``torch.nn.parallel.replicate`` itself needs several GPUs; this is its loop for one replica, the tensors being
    views of the originals, as its broadcast makes them, so that gradients flow back.
    """
    modules = list(net.modules())
    replicas = {id(module): module._replicate_for_data_parallel() for module in modules}
    for module in modules:
        replica = replicas[id(module)]
        for key, child in module._modules.items():
            setattr(replica, key, replicas[id(child)])
        for key, parameter in module._parameters.items():
            setattr(replica, key, None if parameter is None else parameter.view_as(parameter))
        for key, buffer in module._buffers.items():
            replica._buffers[key] = None if buffer is None else buffer.detach()
    return replicas[id(net)]


def test_replicas_of_data_parallel_training_are_masked():
    net = make_net().eval()
    masks = make_masks(net)
    pruned, inputs = masks.apply(net), torch.randn(8, 6)
    outputs = {}

    def run(index, replica, part):
        outputs[index] = replica(part)

    parts = [(i, replicated(pruned), part) for i, part in enumerate(inputs.chunk(2))]
    threads = [threading.Thread(target=run, args=part) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    joined = torch.cat([outputs[0], outputs[1]])
    single = copy.deepcopy(pruned)
    expected = torch.cat([single(part) for part in inputs.chunk(2)])
    assert torch.equal(joined, expected)
    joined.sum().backward()
    expected.sum().backward()
    for name in (0, 3, 5):
        gradient = pruned[name].parametrizations.weight.original.grad
        torch.testing.assert_close(gradient, single[name].parametrizations.weight.original.grad)
        assert not gradient[~masks[f"{name}.weight"]].any()


def test_functional_calls_on_shared_or_given_tensors_are_masked():
    net = make_net().eval()
    masks = make_masks(net)
    pruned, inputs = masks.apply(net), torch.randn(4, 6)
    state = {name: tensor.detach().clone() for name, tensor in pruned.state_dict().items()}
    state["0.parametrizations.weight.original"] += 7.0  # hidden entries too
    found = functional_call(copy.deepcopy(pruned), state, (inputs,))
    other = copy.deepcopy(net)
    with torch.no_grad():
        other[0].weight += 7.0
    assert torch.equal(found, masks.apply(other)(inputs))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_masks_are_on_every_replica_of_data_parallel():
    net = nn.DataParallel(make_net().eval().cuda())
    masks = make_masks(make_net())
    pruned = masks.apply(net)
    assert_masked(pruned, masks)
    inputs = torch.randn(8, 6, device="cuda")
    assert torch.equal(pruned(inputs), pruned.module(inputs))
