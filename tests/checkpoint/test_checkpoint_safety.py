"""No file runs code, whatever it tries; each refusal names what the file wants."""

from __future__ import annotations

import argparse
import os
import pickle

import pytest
import torch
from torch import nn

import jacprobe as jp
from jacprobe.checkpoint import read_checkpoint
from jacprobe.checkpoint.revival import FUNCTIONS, stand_ins_registered
from jacprobe.errors import CheckpointError, UntrustedFileError


class Bomb:
    """Runs a shell command when it is unpickled."""

    def __init__(self, command: str):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


class Call:
    """Calls a function when it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class ForeignNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2, 2)

    def forward(self, x):
        return self.fc(x)


def _with_attribute(bomb: object) -> nn.Linear:
    module = nn.Linear(2, 2)
    module.note = bomb
    return module


PLACES = {
    "alone": lambda bomb: bomb,
    "in a state dict": lambda bomb: {"state_dict": {"weight": torch.ones(2, 2), "bias": bomb}},
    "in a module attribute": _with_attribute,
    "deep in a module": lambda bomb: nn.Sequential(nn.Sequential(nn.ReLU(), _with_attribute([{"a": (bomb,)}]))),
}


@pytest.fixture
def marker(tmp_path):
    path = tmp_path / "marker"
    yield path
    assert not path.exists(), "code of the file was run"


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("container", ["zip", "legacy", "bare"])
def test_a_pickle_that_would_run_a_command_is_refused_by_name(container, place, protocol, marker, tmp_path):
    value, path = PLACES[place](Bomb(f"touch {marker}")), tmp_path / "model.pt"
    if container == "bare":
        path.write_bytes(pickle.dumps(value, protocol=protocol))
    else:
        torch.save(value, path, pickle_protocol=protocol, _use_new_zipfile_serialization=container == "zip")
    message = rf"wants .*{os.name}\.system.*`trust_file=True` \(`--trust-file`"
    with pytest.raises(UntrustedFileError, match=message) as info:
        read_checkpoint(path)
    assert "\n" not in str(info.value)


@pytest.mark.parametrize("name", ["model.safetensors", "model.npy", "model.html", "model"])
def test_the_suffix_does_not_open_a_way_around(name, marker, tmp_path):
    path = tmp_path / name
    path.write_bytes(pickle.dumps(Bomb(f"touch {marker}")))
    with pytest.raises(CheckpointError):
        read_checkpoint(path)


@pytest.mark.parametrize("name", ["archive/extra.pkl", "archive/nested/data.pkl", "data.pkl"])
def test_a_second_pickle_in_the_zip_is_read_too(name, marker, write_zip):
    path = write_zip(extra=[(name, pickle.dumps(Bomb(f"touch {marker}")))])
    with pytest.raises(UntrustedFileError, match=rf"{os.name}\.system"):
        read_checkpoint(path)


def test_two_entries_of_one_name_are_refused(marker, write_zip):
    path = write_zip(extra=[("archive/data.pkl", pickle.dumps(Bomb(f"touch {marker}"), protocol=2))])
    with pytest.raises(CheckpointError, match="must name each zip entry once; some appear twice"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "opcodes",
    [
        b"\x80\x02(S'touch MARKER'\niposix\nsystem\n.",
        b"\x80\x02cposix\nsystem\n(S'touch MARKER'\ntR.",
        b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94\x93\x8c\x0ctouch MARKER\x94\x85\x94R\x94.",
        b"\x80\x04\x8c\x05posixq\x07\x8c\x06systemq\x090h\x07h\x09\x93\x8c\x0ctouch MARKER\x85R.",
        b"\x80\x02\x8c\x05posix\x8c\x06system\x93\x8c\x0ctouch MARKER\x85R.",
    ],
    ids=["INST", "GLOBAL", "STACK_GLOBAL", "STACK_GLOBAL through the memo", "STACK_GLOBAL in protocol 2"],
)
@pytest.mark.parametrize("container", ["zip", "bare"])
def test_every_opcode_that_imports_is_seen(container, opcodes, tmp_path, monkeypatch, write_zip):
    monkeypatch.chdir(tmp_path)
    path = write_zip(opcodes)
    if container == "bare":
        path.write_bytes(opcodes)
    with pytest.raises(UntrustedFileError, match=r"posix\.system"):
        read_checkpoint(path)
    assert not (tmp_path / "MARKER").exists()


def test_an_extension_code_is_refused(write_zip):
    with pytest.raises(UntrustedFileError, match=r"copyreg\.extension_7"):
        read_checkpoint(write_zip(b"\x80\x02\x82\x07)R."))


def test_a_hidden_name_is_refused_as_unknown(write_zip):
    hidden = b"\x80\x04]\x94]\x94\x93."  # STACK_GLOBAL on two lists
    with pytest.raises(UntrustedFileError, match=r"wants \?\.\?"):
        read_checkpoint(write_zip(hidden))


def test_control_characters_of_a_name_do_not_reach_the_message(write_zip):
    name = b"evil\x1b[2J\nname"
    pickled = b"\x80\x04\x8c" + bytes([len(name)]) + name + b"\x8c\x01x\x93."
    with pytest.raises(UntrustedFileError, match=r"wants evil\?\[2J\?name\.x,"):
        read_checkpoint(write_zip(pickled))


def test_many_names_are_cut_short(write):
    value = {"weight": torch.ones(1), "a": [argparse.Namespace(), *(Call(f, "x") for f in (
        os.path.basename, os.path.dirname, os.path.normpath, os.path.abspath, os.path.isabs, os.path.join))]}
    with pytest.raises(UntrustedFileError, match=r"wants argparse\.Namespace, .* and 2 more, which could run code"):
        read_checkpoint(write(value))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: vars(m).update(forward=nn.functional.relu), "must keep its methods; the file replaces 'forward'"),
        (lambda m: vars(m).update(state_dict=nn.functional.tanh), "keep its methods; the file replaces 'state_dict'"),
        (lambda m: vars(m).update(__class__=nn.functional.tanh), "keep its methods; the file replaces '__class__'"),
        (lambda m: vars(m).update(extra=nn.Linear), "must hold modules, tensors and plain values; got Linear"),
        (lambda m: m.register_forward_hook(nn.functional.tanh), "no hooks but those of pruning; see '_forward_hooks'"),
        (lambda m: m.register_forward_pre_hook(nn.functional.tanh), "but those of pruning; see '_forward_pre_hooks'"),
        (lambda m: m._modules.update(x=torch.ones(1)), "must hold only Module in '_modules'"),
        (lambda m: m._parameters.update(weight=torch.ones(1)), "must hold only Parameter in '_parameters'"),
        (lambda m: m._buffers.update({3: torch.ones(1)}), "must name what '_buffers' holds by strings"),
        (lambda m: vars(m).pop("_modules"), "must have '_modules'; it has none"),
        (lambda m: vars(m).update(extra={torch.float32: 1}), "must use plain keys; got dtype"),
    ],
)
def test_a_module_whose_state_carries_behaviour_is_refused(change, message, write):
    module = nn.Linear(2, 2)
    change(module)
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(write(module))


@pytest.mark.parametrize(
    "call",
    [
        Call(nn.Linear, 10**6, 10**6),
        Call(nn.Sequential, nn.ReLU()),
        Call(nn.ParameterDict, {"a": 1}),
        Call(nn.TransformerEncoder, nn.ReLU(), 3),
        Call(nn.functional.tanh, 1),
    ],
    ids=lambda call: call.call[0].__name__,
)
def test_a_file_cannot_call_constructors(call, write):
    with pytest.raises(CheckpointError, match="reading it failed"):
        read_checkpoint(write({"weight": torch.ones(1), "a": call}))


def test_a_replaced_setstate_is_never_called(write_zip):
    first, second = b"}(X\x0c\x00\x00\x00__setstate__ctorch.nn.functional\ntanh\nub", b"K\x01b"
    pickled = b"\x80\x02ctorch.nn.modules.linear\nLinear\n)\x81" + first + second + b"."
    with pytest.raises(CheckpointError, match="a pickled Linear must have a state; got int"):
        read_checkpoint(write_zip(pickled))


def test_a_module_without_state_is_refused(write_zip):
    with pytest.raises(CheckpointError, match="a pickled Linear must have a state; got NoneType"):
        read_checkpoint(write_zip(b"\x80\x02ctorch.nn.modules.linear\nLinear\n)\x81."))


def test_a_module_that_contains_itself_is_refused(write):
    module = nn.Sequential(nn.ReLU())
    module._modules["0"] = module
    with pytest.raises(CheckpointError, match="recursion"):
        read_checkpoint(write(module))


def test_lists_doubled_a_hundred_times_cost_nothing(write):
    value: list = []
    for _ in range(100):
        value = [value, value]
    with pytest.raises(CheckpointError, match="must hold a module or a state dict; got dict with the keys a"):
        read_checkpoint(write({"a": value}))


def test_tensor_hooks_do_not_survive(write_zip):
    pickled = (
        b"\x80\x02}X\x06\x00\x00\x00weightctorch._utils\n_rebuild_tensor_v2\n("
        b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ"
        b"K\x00K\x02K\x02\x86K\x02K\x01\x86\x88}K\x00ctorch.nn.functional\ntanh\nstRs."
    )
    assert torch.load(write_zip(pickled), weights_only=False)["weight"]._backward_hooks
    tensor = read_checkpoint(write_zip(pickled)).state_dict["weight"]
    assert not tensor._backward_hooks
    assert torch.equal(tensor, torch.ones(2, 2))


@pytest.mark.parametrize("sound", [True, False])
def test_nothing_stays_registered(sound, write, net):
    path = write(net if sound else {"a": Call(nn.Linear, 1, 1)})
    outside = torch.serialization.get_safe_globals()
    with torch.serialization.safe_globals([argparse.Namespace]):
        before = set(torch.serialization.get_safe_globals())
        if sound:
            read_checkpoint(path)
        else:
            with pytest.raises(CheckpointError):
                read_checkpoint(path)
        assert set(torch.serialization.get_safe_globals()) == before
    assert set(torch.serialization.get_safe_globals()) == set(outside)


def test_what_the_process_allows_elsewhere_opens_no_file_here(write):
    path = write({"weight": torch.ones(1), "args": argparse.Namespace(a=1)})
    with torch.serialization.safe_globals([argparse.Namespace]):
        torch.load(path, weights_only=True)
        with pytest.raises(UntrustedFileError, match=r"argparse\.Namespace"):
            read_checkpoint(path)
        with stand_ins_registered(), pytest.raises(pickle.UnpicklingError, match="argparse"):
            torch.load(path, weights_only=True)


def test_the_real_classes_are_never_given_to_torch():
    with stand_ins_registered():
        given = [entry[0] for entry in torch.serialization.get_safe_globals()]
    assert not any(isinstance(value, type) and issubclass(value, nn.Module) for value in given)
    assert {value for value in given if not isinstance(value, type)} == set(FUNCTIONS.values())


def test_a_foreign_module_class_is_refused_and_loads_when_trusted(write):
    net = ForeignNet()
    path = write(net)
    with pytest.raises(UntrustedFileError, match=r"wants \S*ForeignNet, which could run code"):
        jp.load_model(path)
    loaded = jp.load_model(path, trust_file=True)
    assert torch.equal(loaded.fc.weight, net.fc.weight)
    assert read_checkpoint(path, trust_file=True).notes == ("read with trust_file: its code was run",)


@pytest.mark.parametrize("container", ["zip", "legacy", "bare"])
def test_the_flag_runs_the_file_and_only_the_flag(container, tmp_path):
    path, marker = tmp_path / "model.pt", tmp_path / "ran"
    bomb = Bomb(f"touch {marker}")
    if container == "bare":
        path.write_bytes(pickle.dumps(bomb))
    else:
        torch.save(bomb, path, _use_new_zipfile_serialization=container == "zip")
    with pytest.raises(UntrustedFileError):
        read_checkpoint(path)
    assert not marker.exists()
    with pytest.raises(CheckpointError, match="must hold a module or a state dict; got int"):
        read_checkpoint(path, trust_file=True)
    assert marker.exists()


def test_a_trusted_file_that_fails_is_one_line(tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(b"\x80\x02cno_such_module\nNet\n)\x81.")
    with pytest.raises(CheckpointError, match=r"must unpickle here; it raised ModuleNotFoundError: .*no_such_module"):
        read_checkpoint(path, trust_file=True)


@pytest.mark.filterwarnings("ignore:.*deprecated.*")
def test_torchscript_is_refused_with_and_without_trust(tmp_path):
    path = tmp_path / "model.pt"
    torch.jit.script(nn.Sequential(nn.Linear(2, 2))).save(path)
    for trust_file in (False, True):
        with pytest.raises(UntrustedFileError, match=r"a TorchScript program of __torch__\..*Linear.*`--trust-file`"):
            read_checkpoint(path, trust_file=trust_file)


@pytest.mark.parametrize(
    ("entry", "kind"),
    [("model/archive_format", r"torch\.export"), ("model/.data/extern_modules", r"torch\.package")],
)
def test_other_program_archives_are_refused(entry, kind, write_zip):
    with pytest.raises(UntrustedFileError, match=rf"it is a {kind} program, whose modules cannot be hooked"):
        read_checkpoint(write_zip(extra=[(entry, b"x")]))
