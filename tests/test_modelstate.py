import random
import threading
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from jacprobe.errors import DtypeError, ModelError, NonFiniteError
from jacprobe.masks import Masks
from jacprobe.modelstate import (
    check_model,
    check_module,
    copy_model,
    detached_state,
    owned_parameters,
    plain_name,
    preserved,
    unwrapped,
)


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


@pytest.mark.parametrize(
    "value", [lambda net: [net(torch.ones(1, 3))], lambda net: threading.Lock()], ids=["a list of results", "a lock"]
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


@pytest.mark.parametrize("check", [check_module, check_model])
def test_a_model_must_be_a_module(check):
    with pytest.raises(DtypeError, match=r"`model` must be a torch\.nn\.Module; got dict\. Load or build one first"):
        check({"weight": torch.ones(2)})


@pytest.mark.parametrize("check", [check_module, check_model])
def test_a_lazy_model_must_have_run_once(check):
    with pytest.raises(ModelError, match=r"must be initialised; '0\.weight' has no shape yet\. Run one batch"):
        check(nn.Sequential(nn.LazyLinear(3)))


def test_a_lazy_buffer_must_have_run_once():
    net = nn.LazyBatchNorm1d(affine=False)
    with pytest.raises(ModelError, match="'running_mean' has no shape yet"):
        check_model(net)


def test_a_buffer_may_hold_the_infinity_of_an_attention_mask():
    net = nn.Linear(2, 2)
    net.register_buffer("mask", torch.tensor([0, -float("inf")]))
    check_model(net)


@pytest.mark.parametrize(
    ("name", "value"),
    [("0.weight", float("nan")), ("0.weight", float("inf")), ("0.weight", -float("inf")),
     ("1.running_var", float("nan"))],
)
def test_weights_must_be_finite_and_buffers_numbers(net, name, value):
    with torch.no_grad():
        net.state_dict()[name].view(-1)[1] = value
    numel = net.state_dict()[name].numel()
    with pytest.raises(NonFiniteError, match=rf"'{name}' has 1 NaN or infinite of {numel} entries\. Repair or reload"):
        check_model(net)


def test_a_module_need_not_be_finite():
    net = nn.Linear(2, 2)
    nn.init.constant_(net.weight, float("nan"))
    check_module(net)


@pytest.mark.parametrize("net", [nn.Linear(3, 2), nn.Embedding(3, 2), nn.ReLU(), nn.Linear(2, 2).half()], ids=str)
def test_a_sound_model_passes(net):
    check_model(net)


def test_a_model_made_in_inference_mode_passes():
    with torch.inference_mode():
        net = nn.Linear(3, 2)
    check_model(net)


@pytest.mark.parametrize(
    ("name", "plain"),
    {
        "weight": "weight",
        "fc1.weight": "fc1.weight",
        "parametrizations.weight.original": "weight",
        "fc1.parametrizations.weight.original": "fc1.weight",
        "fc1.weight_orig": "fc1.weight",
        "weight_orig": "weight",
        "module.fc1.weight": "module.fc1.weight",
        "_orig_mod.fc1.weight": "fc1.weight",
        "module._orig_mod.fc1.weight": "module.fc1.weight",
        "_orig_mod.module.fc1.weight": "module.fc1.weight",
        "block._orig_mod.fc1.weight": "block.fc1.weight",
        "module.fc1.parametrizations.weight.original": "module.fc1.weight",
        "module.fc1.weight_orig": "module.fc1.weight",
        "block.module.weight": "block.module.weight",
        "my_module.weight": "my_module.weight",
        "modules.weight": "modules.weight",
        "fc_orig.weight": "fc_orig.weight",
        "fc.weight_original": "fc.weight_original",
        "fc.original": "fc.original",
        "original": "original",
        "original.weight": "original.weight",
        "module": "module",
        "_orig": "_orig",
        "fc.parametrizations.weight.original0": "fc.weight.original0",
    }.items(),
)
def test_a_plain_name_is_free_of_wrappers_only(name, plain):
    assert plain_name(name) == plain


def make_plain():
    return nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))


def make_masked():
    return Masks({"0.weight": torch.eye(3) > 0}).apply(make_plain())


def make_torch_pruned():
    net = make_plain()
    prune.random_unstructured(net[0], "weight", 0.5)
    prune.random_unstructured(net[1], "bias", 0.5)
    return net


def make_compiled():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's compiler warns about itself when it is imported
        return torch.compile(make_plain())


@pytest.mark.parametrize(
    "make",
    [
        make_plain,
        make_masked,
        make_torch_pruned,
        make_compiled,
        lambda: nn.DataParallel(make_plain()),
        lambda: nn.DataParallel(make_masked()),
    ],
    ids=["plain", "masked", "torch-pruned", "compiled", "data-parallel", "masked and data-parallel"],
)
def test_parameters_are_found_by_plain_name_through_every_wrapper(make):
    net = make()
    found = owned_parameters(net)
    assert set(found) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    tensors = dict(unwrapped(net).named_parameters())
    for name, owned in found.items():
        assert tensors[owned.name] is owned.tensor
        assert isinstance(owned.module, nn.Linear)
        assert owned.attribute == name.partition(".")[2]
        assert getattr(owned.module, owned.attribute).shape == owned.tensor.shape


def test_a_parameter_may_really_be_called_original_or_end_in_orig():
    net = nn.Module()
    net.original = nn.Parameter(torch.ones(1))
    net.scale_orig = nn.Parameter(torch.ones(2))
    found = owned_parameters(net)
    assert [(owned.name, owned.attribute) for owned in found.values()] == [("original",) * 2, ("scale_orig",) * 2]
    assert not any(owned.is_torch_pruned() for owned in found.values())


def test_parameters_of_a_weight_norm_go_by_their_own_names():
    found = owned_parameters(nn.Sequential(parametrizations.weight_norm(nn.Linear(2, 2))))
    assert set(found) == {"0.bias", "0.weight.original0", "0.weight.original1"}


def test_tied_parameters_are_listed_under_each_name():
    found = owned_parameters(Tied())
    assert found["encode.weight"].tensor is found["decode.weight"].tensor
    assert found["decode.weight"].name == "decode.weight"


def test_names_that_coincide_without_wrappers_are_refused():
    net = nn.Module()
    net.weight = nn.Parameter(torch.ones(1))
    net.weight_orig = nn.Parameter(torch.ones(1))
    with pytest.raises(ModelError, match=r"'weight' and 'weight_orig' are both 'weight' without wrappers\. Rename"):
        owned_parameters(net)
