"""Pickled torch.nn modules without running code: torch fills inert stand-ins, then the modules are made from them.

Two boundaries stand behind each other. Every name in the file must be on the list below before torch sees the file;
and torch's own restricted reader (``weights_only=True``) gets stand-ins for the classes, which can do nothing but keep
the state they are given. An allow-list of the real classes would let a file call their constructors with any
argument, and ParameterDict, for one, turns a key from the file into an attribute lookup.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.utils import prune

from jacprobe.errors import CheckpointError

# Activations that a TransformerEncoderLayer or DecoderLayer keeps as a plain function. Each maps tensors to a tensor
# and reads or writes nothing else, so that a file which calls one, on whatever arguments, gains nothing.
FUNCTIONS: dict[str, Callable] = {
    "torch.nn.functional.relu": nn.functional.relu,
    "torch.nn.functional.silu": nn.functional.silu,
    "torch.nn.functional.leaky_relu": nn.functional.leaky_relu,
    "torch.nn.functional.tanh": nn.functional.tanh,
    "torch._C._nn.gelu": nn.functional.gelu,
}

# What tensors and containers need. The _rebuild functions make a tensor over a storage of the file, with bounds
# checked; set, OrderedDict, Size and device only hold values; a storage or a dtype is a name for a number type.
# Left out although torch allows them: everything that takes a class or a state from the file (_rebuild_from_type_v2,
# _rebuild_wrapper_subclass, _rebuild_parameter_with_state, Tensor, Parameter), and quantised, sparse and NumPy tensors.
DATA_NAMES = frozenset(
    {
        "collections.OrderedDict", "builtins.set", "__builtin__.set", "torch.Size", "torch.device",
        "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3",
        "torch._utils._rebuild_parameter", "torch.storage.UntypedStorage",
    }
    | {f"torch.{name}" for name in dir(torch) if name.endswith("Storage")}
    | {str(value) for value in vars(torch).values() if isinstance(value, torch.dtype)}
)


class _StandIn:
    """Keeps a pickled state and does nothing; without instance dictionary, so a state cannot replace a method."""

    __slots__ = ("state",)

    def __setstate__(self, state: object) -> None:
        self.state = state


def _stand_ins(classes: list[type]) -> dict[str, type]:
    return {f"{c.__module__}.{c.__qualname__}": type(c.__name__, (_StandIn,), {"__slots__": ()}) for c in classes}


def _subclasses(namespace: object, parent: type) -> list[type]:
    return [v for v in vars(namespace).values() if isinstance(v, type) and issubclass(v, parent)]


_CLASSES = [c for c in _subclasses(nn.modules, nn.Module) if not issubclass(c, LazyModuleMixin)]
_CLASSES.append(nn.modules.linear.NonDynamicallyQuantizableLinear)  # in MultiheadAttention, not exported
_MODULES = _stand_ins(_CLASSES)
_HOOKS = _stand_ins(_subclasses(prune, prune.BasePruningMethod))
_REAL = dict(zip(_MODULES.values(), _CLASSES, strict=True))
MODULE_NAMES = frozenset(_MODULES)
ALLOWED_NAMES = DATA_NAMES | MODULE_NAMES | frozenset(_HOOKS) | frozenset(FUNCTIONS)

_PLAIN = (type(None), bool, int, float, str, bytes, torch.dtype, torch.device, torch.Size)


@contextmanager
def stand_ins_registered() -> Iterator[None]:
    """Let torch's restricted reader know the stand-ins and nothing else for the block, then as before.

    What the caller's process allowed by itself is set aside: it must not decide what a file can do here.
    """
    before = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    entries = [(value, name) for name, value in (_MODULES | _HOOKS | FUNCTIONS).items()]
    try:
        with torch.serialization.safe_globals(entries):
            yield
    finally:
        torch.serialization.add_safe_globals(before)


def revive(value: object) -> object:
    """Return a copy of `value` with modules for the stand-ins, and plain containers and detached tensors.

    Raises
    ------
    CheckpointError
        A module state holds what no torch.nn module keeps, such as a replaced method or a foreign hook.
    """
    return _revive(value, {})


def _revive(value: object, done: dict[int, object]) -> object:
    """Copy recursively; `done` maps the id of what was copied to its copy, so that sharing and cycles survive."""
    if id(value) in done:
        return done[id(value)]
    kind = type(value)
    if kind in (Tensor, nn.Parameter):
        tensor = value.detach()  # leaves tensor hooks behind
        done[id(value)] = nn.Parameter(tensor, value.requires_grad) if kind is nn.Parameter else tensor
    elif kind in _REAL:
        _revive_module(value, done)
    elif kind in (dict, OrderedDict):
        copy = done[id(value)] = kind()
        for key in value:  # not .items(), which a pickled OrderedDict may have replaced
            copy[_plain_key(key)] = _revive(value[key], done)
    elif kind is list:
        copy = done[id(value)] = []
        copy.extend(_revive(item, done) for item in value)
    elif kind in (tuple, set):
        done[id(value)] = kind(_revive(item, done) for item in value)
    elif isinstance(value, _PLAIN) or any(value is function for function in FUNCTIONS.values()):
        return value
    else:
        raise CheckpointError(f"a pickled model must hold modules, tensors and plain values; got {_title(value)}")
    return done[id(value)]


def _title(value: object) -> str:
    return value.__name__ if isinstance(value, type) else type(value).__name__


def _plain_key(key: object) -> object:
    if not isinstance(key, (str, int, float, tuple, type(None))):
        raise CheckpointError(f"a pickled model must use plain keys; got {_title(key)}")
    return key


def _revive_module(stand_in: _StandIn, done: dict[int, object]) -> None:
    real = _REAL[type(stand_in)]
    state = getattr(stand_in, "state", None)
    if type(state) is not dict or not all(type(key) is str for key in state):
        raise CheckpointError(f"a pickled {real.__name__} must have a state; got {_title(state)}")
    module = done[id(stand_in)] = real.__new__(real)
    checked = {key: _checked_entry(real, key, entry, done) for key, entry in state.items()}
    for key in ("training", "_parameters", "_buffers", "_modules"):
        if key not in checked:
            raise CheckpointError(f"a pickled {real.__name__} must have {key!r}; it has none")
    module.__setstate__(checked)


_REGISTRIES = {"_parameters": nn.Parameter, "_buffers": Tensor, "_modules": nn.Module}


def _checked_entry(real: type, key: str, entry: object, done: dict[int, object]) -> object:
    """Return one revived attribute of a module after checking that it changes no behaviour of its class."""
    behaviour = getattr(real, key, None)
    if key.startswith("__") or callable(behaviour) or isinstance(behaviour, property) or key == "_compiled_call_impl":
        raise CheckpointError(f"a pickled {real.__name__} must keep its methods; the file replaces {key!r}")
    if "hook" in key and isinstance(entry, dict):
        pruning = key == "_forward_pre_hooks" and all(type(entry[hook]) in _HOOKS.values() for hook in entry)
        if len(entry) and not pruning:
            raise CheckpointError(f"a pickled {real.__name__} must have no hooks but those of pruning; see {key!r}")
        return OrderedDict()  # the masks of pruning hooks are buffers, and stay
    revived = _revive(entry, done)
    if key in _REGISTRIES:
        wanted = _REGISTRIES[key]
        if not isinstance(revived, dict) or not all(v is None or isinstance(v, wanted) for v in revived.values()):
            raise CheckpointError(f"a pickled {real.__name__} must hold only {wanted.__name__} in {key!r}")
        if not all(isinstance(name, str) for name in revived):
            raise CheckpointError(f"a pickled {real.__name__} must name what {key!r} holds by strings")
    return revived
