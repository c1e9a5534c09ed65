import random
import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from jacprobe.errors import ModelError
from jacprobe.modelstate import copy_model, detached_state, preserved, run_on


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode = nn.Linear(3, 3)
        self.decode = nn.Linear(3, 3)
        self.decode.weight = self.encode.weight

    def forward(self, x):
        return self.decode(self.encode(x))


@pytest.fixture
def net():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 2))


def leave_with(error, model, action):
    def run():
        with preserved(model):
            action()
            raise error

    with pytest.raises(error):
        run()


def test_the_block_sees_evaluation_mode_and_each_flag_comes_back(net):
    net[2].eval()
    before = [module.training for module in net.modules()]
    with preserved(net):
        assert not any(module.training for module in net.modules())
    assert [module.training for module in net.modules()] == before
    assert True in before
    assert False in before


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_everything_comes_back_after_an_error(net, error):
    net[0].note = "before"
    flags, forward = [module.training for module in net.modules()], net[0].forward

    def disturb():
        net[0].note = "after"
        net[0].extra = torch.ones(2)
        net[0].forward = lambda x: x
        net.append(nn.ReLU())
        net[0].register_forward_hook(lambda *_: None)

    leave_with(error, net, disturb)
    assert [module.training for module in net.modules()] == flags
    assert net[0].note == "before"
    assert not hasattr(net[0], "extra")
    assert net[0].forward == forward
    assert len(net) == 4
    assert not net[0]._forward_hooks


def test_hooks_added_in_the_block_are_removed_and_those_before_stay(net):
    kept = net[0].register_forward_hook(lambda *_: None)
    before = [{k: dict(v) for k, v in vars(module).items() if isinstance(v, dict)} for module in net.modules()]
    with preserved(net):
        handles = [
            net[0].register_forward_hook(lambda *_, **__: None, with_kwargs=True, always_call=True),
            net[0].register_forward_pre_hook(lambda *_: None, with_kwargs=True),
            net[0].register_full_backward_hook(lambda *_: None),
            net[0].register_full_backward_pre_hook(lambda *_: None),
            net[0].register_state_dict_post_hook(lambda *_: None),
        ]
        kept.remove()
    assert [{k: dict(v) for k, v in vars(module).items() if isinstance(v, dict)} for module in net.modules()] == before
    assert len(net[0]._forward_hooks) == 1
    for handle in handles:  # they point to nothing now, and removing them is no error
        handle.remove()


def test_a_tensor_kept_as_plain_attribute_comes_back():
    net = nn.Linear(3, 2)
    prune.random_unstructured(net, "weight", 0.5)
    before = net.weight
    with preserved(net):
        net(torch.ones(1, 3))
        assert net.weight is not before
    assert net.weight is before


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.seen, self.names, self.counts = [1, 2], {"first"}, {"calls": 0}

    def forward(self, x):
        self.seen.append(len(x))
        self.seen[0] = 7
        self.names.add("second")
        self.names.discard("first")
        self.counts["calls"] += 1
        return x


def test_lists_and_sets_of_a_module_come_back_as_the_same_objects():
    net = Counting()
    seen, names, counts = net.seen, net.names, net.counts
    with preserved(net):
        net(torch.ones(3, 2))
        net.seen = None
    assert net.seen is seen
    assert net.names is names
    assert net.counts is counts
    assert (seen, names, counts) == ([1, 2], {"first"}, {"calls": 0})


def test_a_dictionary_of_a_module_comes_back():
    net = nn.Linear(3, 2)
    net.cache = {"a": torch.ones(2)}
    cache, value = net.cache, net.cache["a"]
    with preserved(net):
        net.cache.update(a=torch.zeros(3), b=torch.zeros(4))
    assert net.cache is cache
    assert list(cache) == ["a"]
    assert cache["a"] is value


def test_all_global_random_states_come_back(net):
    def draw():
        return torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()

    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
    expected = draw()
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
    leave_with(ValueError, net, draw)
    assert draw() == expected


def test_a_copy_shares_no_tensor_and_equals_the_model(net):
    copied = copy_model(net)
    own = {t.data_ptr() for t in net.state_dict().values()}
    assert not own & {t.data_ptr() for t in copied.state_dict().values()}
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), copied.state_dict().values(), strict=True))


@pytest.mark.parametrize("run", [False, True], ids=["fresh", "after a forward pass"])
def test_a_model_pruned_by_torch_can_be_copied(run):  # pytorch#37322
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    prune.random_unstructured(net[0], "weight", 0.5)
    inputs = torch.ones(2, 3)
    if run:
        net(inputs)
    copied = copy_model(net)
    assert torch.equal(copied(inputs), net(inputs))
    assert copied[0].weight.data_ptr() != net[0].weight.data_ptr()
    assert copied[0].weight_orig is not net[0].weight_orig


def test_tied_parameters_stay_tied_in_a_copy():
    copied = copy_model(Tied())
    assert copied.encode.weight is copied.decode.weight


@pytest.mark.parametrize("kind", [list, tuple])
def test_results_of_a_forward_pass_that_a_module_lists_are_copied_detached(kind):
    net = nn.Linear(3, 2)
    net.kept = kind([net(torch.ones(1, 3)), 7])
    result, number = copy_model(net).kept
    assert torch.equal(result, net.kept[0])
    assert (result.requires_grad, net.kept[0].requires_grad, number) == (False, True, 7)
    assert result.data_ptr() != net.kept[0].data_ptr()


@pytest.mark.parametrize(
    "value", [lambda net: {"a": [net(torch.ones(1, 3))]}, lambda net: threading.Lock()], ids=["deep results", "a lock"]
)
def test_what_cannot_be_copied_is_refused(value):
    net = nn.Linear(3, 2)
    net.kept = value(net)
    with pytest.raises(ModelError, match=r"`model` must be copyable; copy\.deepcopy raised .+Error: .+ Drop"):
        copy_model(net)


def test_the_detached_state_is_a_copy_that_needs_no_gradient(net):
    state = detached_state(net)
    assert state.keys() == net.state_dict().keys()
    assert not any(tensor.requires_grad for tensor in state.values())
    for tensor in state.values():
        tensor.zero_()
    assert net[0].weight.abs().sum() > 0


def test_the_detached_state_casts_floating_tensors_only(net):
    state = detached_state(net, dtype=torch.float64)
    assert state["1.num_batches_tracked"].dtype == torch.int64
    assert {t.dtype for name, t in state.items() if name != "1.num_batches_tracked"} == {torch.float64}


def test_tied_parameters_share_one_copy_and_act_tied():
    net = Tied()
    state = detached_state(net, dtype=torch.float64)
    assert state["encode.weight"] is state["decode.weight"]
    inputs = torch.ones(1, 3, dtype=torch.float64)
    assert torch.equal(torch.func.functional_call(net, state, (inputs,)), copy_model(net).double()(inputs))


def test_the_detached_state_holds_buffers_that_are_not_saved():
    net = nn.Linear(2, 2)
    net.register_buffer("scale", torch.ones(1), persistent=False)
    assert "scale" in detached_state(net)


def test_a_module_under_two_names_runs_again_and_again_on_another_state():
    layer = nn.Linear(3, 3)
    net = nn.Sequential(layer, nn.BatchNorm1d(3), layer).eval()
    kept, inputs = dict(net.named_parameters(remove_duplicate=False)), torch.randn(2, 3)
    state = {name: 2 * tensor for name, tensor in detached_state(net, dtype=torch.float64).items()}
    doubled = copy_model(net).double()
    doubled.load_state_dict(state)
    for _ in range(2):
        assert torch.equal(run_on(net, state, inputs.double()), doubled(inputs.double()))
        assert all(tensor is kept[name] for name, tensor in net.named_parameters(remove_duplicate=False))
