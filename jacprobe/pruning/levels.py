"""Entries of a signal that are the same whatever the input: zeros, and the minus infinities of an attention mask."""

from __future__ import annotations

import torch
from torch import Tensor

from jacprobe.pruning.patterns import Call, Flow

_SHUT = -1e4  # what an attention mask adds to a score at most, for its softmax to be exactly 0
_CUTS = ("tril", "triu")
_COPIES = ("clone", "detach", "alias", "_to_copy")
_SAME = (*_CUTS, *_COPIES, "view", "_unsafe_view", "permute", "transpose", "t", "expand", "slice", "select",
         "unsqueeze", "squeeze")


def level_of(call: Call) -> Tensor | None:
    """Return 0 where the output is zero whatever the signal, -inf where it is minus infinity, and 1 elsewhere.

    None where it is 1 everywhere, or not known to be anything else.
    """
    if call.name in _SAME:
        return _moved(call)
    if call.name in ("_softmax", "_safe_softmax", "exp"):
        level = _level(call, call.args[0])
        return None if level is None else (level >= 0).to(level.dtype)
    if call.name in ("add", "sub", "baddbmm", "addmm"):
        return _shifted(call)
    if call.name in ("mul", "div"):
        return _scaled(call)
    if call.name == "masked_fill":
        signal, where, value = call.args
        return _chosen(call, where, value, signal)
    return _chosen(call, *call.args) if call.name == "where" and len(call.args) == 3 else None


def _level(call: Call, value: object) -> Tensor | None:
    """Level of an argument: that of a signal, or what a constant does to a score or a product."""
    if isinstance(value, Flow):
        return value.level
    value = torch.as_tensor(value, device=call.flows[0].pattern.device)
    level = (value != 0).to(call.flows[0].pattern.dtype)
    return level.masked_fill(value <= _SHUT, -torch.inf)


def _moved(call: Call) -> Tensor | None:
    signal = call.args[0]
    if signal.level is None and call.name not in _CUTS:
        return None
    level = torch.ones_like(signal.pattern) if signal.level is None else signal.level
    return level if call.name in _COPIES else call.op(level, *call.args[1:])


def _shifted(call: Call) -> Tensor | None:
    """What adds shuts where it, or what it is added to, does."""
    parts = list(call.args[:1] if call.kwargs or call.name in ("baddbmm", "addmm") else call.args[:2])
    if call.name == "sub" and len(parts) == 2:
        parts[1] = -parts[1] if isinstance(parts[1], Tensor) else 0
    levels = [_level(call, part) for part in parts if isinstance(part, (Flow, Tensor))]
    shut = [level.isneginf().expand(call.shape) for level in levels if level is not None]
    if not any(where.any() for where in shut):
        return None
    level = torch.ones(call.shape, dtype=torch.float32, device=call.device)
    return level.masked_fill(torch.stack(shut).any(0), -torch.inf)


def _scaled(call: Call) -> Tensor | None:
    """A product is zero where a factor is, and stays shut under positive constants."""
    first, second = call.args[:2]
    level = torch.ones(call.shape, dtype=torch.float32, device=call.device)
    for value, other in ((first, second), (second, first)):
        if isinstance(value, Flow) and value.level is not None:
            level = level.masked_fill(value.level == 0, 0)
            if value is first and not isinstance(other, Flow):
                positive = torch.as_tensor(other, device=call.device) > 0
                level = level.masked_fill(value.level.isneginf() & positive, -torch.inf)
        elif isinstance(value, Tensor) and (call.name == "mul" or value is first):
            level = level.masked_fill(value == 0, 0)
    return None if level.eq(1).all() else level


def _chosen(call: Call, condition: object, first: object, second: object) -> Tensor | None:
    if not isinstance(condition, Tensor):
        return None
    levels = [_level(call, value) for value in (first, second)]
    if all(level is None for level in levels):
        return None
    free = torch.ones((), dtype=torch.float32, device=call.device)
    first, second = (free if level is None else level for level in levels)
    return torch.where(condition, first, second).expand(call.shape)
