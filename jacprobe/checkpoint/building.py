"""Build the model of a model file."""

from __future__ import annotations

import importlib
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from jacprobe.checkpoint.contents import Checkpoint
from jacprobe.checkpoint.reading import read_checkpoint
from jacprobe.errors import ArgumentError, CheckpointError, DtypeError, JacprobeError, ModelError
from jacprobe.masks import Masks
from jacprobe.models import build, model_names
from jacprobe.modelstate import copy_model

ModelSource = str | nn.Module | Callable[[], nn.Module]


def load_model(
    path: str | os.PathLike,
    *,
    model: ModelSource | None = None,
    input_shape: Sequence[int] | None = None,
    num_classes: int | None = None,
    trust_file: bool = False,
    **arguments: Any,
) -> nn.Module:
    """Load the model in a file; see `read_checkpoint` for the kinds of file and `build_model` for the arguments.

    Returns
    -------
    torch.nn.Module
        On the CPU, in the training mode in which it was built or pickled, in the file's floating dtype, with the
        file's masks applied.

    Raises
    ------
    UntrustedFileError, CheckpointError
        As `read_checkpoint`; or the file does not fit `model`.
    JacprobeError
        As `build_model`.
    """
    checkpoint = read_checkpoint(path, trust_file=trust_file)
    return build_model(checkpoint, model=model, input_shape=input_shape, num_classes=num_classes, **arguments)


def build_model(
    checkpoint: Checkpoint,
    *,
    model: ModelSource | None = None,
    input_shape: Sequence[int] | None = None,
    num_classes: int | None = None,
    **arguments: Any,
) -> nn.Module:
    """Return the model of a checkpoint, masks applied.

    Parameters
    ----------
    checkpoint
        From `read_checkpoint`.
    model
        The network that takes the weights: the name of one of jacprobe's networks, "package.module:factory" (your own
        code: imported, the current folder included, and called without arguments), a callable, or a module, which is
        copied. None for a jacprobe checkpoint or a pickled module, which bring their own.
    input_shape, num_classes, **arguments
        Of `jacprobe.build`, where `model` is a name; not used otherwise. The number of classes, and the input size of
        a fully connected network, are read off the weights where not given.

    Raises
    ------
    ArgumentError
        `model` or `input_shape` is needed and missing, or names nothing that can be imported.
    CheckpointError
        The weights do not fit the model; the message names the first differences.
    ModelError
        The factory fails, or the model is masked already.
    DtypeError
        The factory returns no module.
    """
    if arguments and not (isinstance(model, str) and ":" not in model):
        raise ArgumentError(f"`{next(iter(arguments))}` must come with a network's name as `model`. Leave it out.")
    if model is None and checkpoint.module is not None:
        return checkpoint.masks.apply(checkpoint.module)
    if model is None and checkpoint.spec is None:
        raise ArgumentError(
            f"`model` must name the network of {str(checkpoint.path)!r}, which holds only weights; got None. Pass"
            f" package.module:factory or one of {', '.join(model_names())} (`--model` at the shell)."
        )
    if model is None:
        net = _specified(checkpoint)
        label = f"{checkpoint.spec['name']!r}"
    elif isinstance(model, str) and ":" not in model:
        net = _network(checkpoint, model, input_shape, num_classes, arguments)
        label = f"{model!r}"
    else:
        net = _own_network(model)
        label = f"{model!r}" if isinstance(model, str) else type(net).__name__
    checkpoint = _without_shared_prefix(checkpoint, net)
    _fill(net, checkpoint, label)
    return checkpoint.masks.apply(net)


def _specified(checkpoint: Checkpoint) -> nn.Module:
    try:
        return build(checkpoint.spec["name"], **checkpoint.spec["arguments"])
    except (JacprobeError, TypeError) as error:
        raise CheckpointError(
            f"`{checkpoint.path}` must describe a network that jacprobe can build; {error} Update jacprobe, or pass"
            " `model`."
        ) from error


def _weights(checkpoint: Checkpoint) -> Mapping[str, Tensor]:
    return checkpoint.state_dict if checkpoint.module is None else checkpoint.module.state_dict()


def _network(
    checkpoint: Checkpoint,
    name: str,
    input_shape: Sequence[int] | None,
    num_classes: int | None,
    arguments: Mapping[str, Any],
) -> nn.Module:
    """Build one of jacprobe's networks, with what the weights tell about its ends: by name, files have any order."""
    weights = checkpoint.parameters
    first, last = _ends(build(name, **arguments)) if None in (num_classes, input_shape) else ("", "")
    if num_classes is None and last in weights:
        num_classes = weights[last].shape[0]
    if input_shape is None and first in weights and weights[first].ndim == 2:
        input_shape = _image_shape(weights[first].shape[1])
    if input_shape is None:
        raise ArgumentError(
            f"`input_shape` must be given to build {name!r}; the weights do not tell it. Pass channels, height and"
            " width, such as input_shape=(3, 32, 32) (`--input-shape` at the shell)."
        )
    classes = {} if num_classes is None else {"num_classes": num_classes}
    return build(name, input_shape=input_shape, **classes, **arguments)


def _ends(net: nn.Module) -> tuple[str, str]:
    """Names of the first weight and of the last parameter, which has a row per class."""
    names = [name for name, _ in net.named_parameters()]
    return names[0], names[-1]


def _image_shape(in_dim: int) -> tuple[int, int, int]:
    """Guess the image behind `in_dim` inputs of a fully connected network, for which only the product counts."""
    for channels in (1, 3):
        side = math.isqrt(in_dim // channels)
        if channels * side * side == in_dim:
            return channels, side, side
    return 1, 1, in_dim


def _own_network(model: ModelSource) -> nn.Module:
    """Return a fresh module from the caller's module, callable, or the name of one."""
    if isinstance(model, nn.Module):
        net = copy_model(model)
    elif isinstance(model, str) or callable(model):
        label = model if isinstance(model, str) else getattr(model, "__name__", type(model).__name__)
        with _importable_folder():
            factory = _imported(model) if isinstance(model, str) else model
            try:
                net = factory()
            except Exception as error:  # the user's own code may raise anything
                raise ModelError(
                    f"`model` must make a module when called without arguments; {label!r} raised"
                    f" {type(error).__name__}: {str(error).partition(chr(10))[0]}. Correct it."
                ) from error
        if not isinstance(net, nn.Module):
            raise DtypeError(f"`model` must make a torch.nn.Module; {label!r} made {type(net).__name__}. Return one.")
    else:
        raise DtypeError(
            f"`model` must be a network's name, package.module:factory, a module or a callable; got"
            f" {type(model).__name__}. Pass one of them."
        )
    if Masks.of(net):
        raise ModelError("`model` must be dense, since the masks come from the file; it is pruned. Pass it unpruned.")
    return net


@contextmanager
def _importable_folder() -> Iterator[None]:
    """Let the current folder be imported from for the block."""
    before = list(sys.path)
    sys.path.insert(0, str(Path.cwd()))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = before


def _imported(name: str) -> Callable[[], nn.Module]:
    module_name, _, attribute = name.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except (ImportError, ValueError, TypeError) as error:  # missing, or an empty or relative name
        raise ArgumentError(
            f"`model` must name an importable module; got {name!r}: {error}. Write package.module:factory."
        ) from error
    except Exception as error:  # the user's own code may raise anything
        raise ModelError(
            f"`model` must name a module that can be imported; {module_name!r} raised {type(error).__name__}:"
            f" {str(error).partition(chr(10))[0]}. Correct it."
        ) from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ArgumentError(f"`model` must name a factory; {module_name!r} has no {attribute!r}. Check its name.")
        found = getattr(found, part)
    if isinstance(found, nn.Module):
        return lambda: copy_model(found)
    if not callable(found):
        raise DtypeError(f"`model` must name a factory; {name!r} is {type(found).__name__}. Name a function.")
    return found


def _without_shared_prefix(checkpoint: Checkpoint, net: nn.Module) -> Checkpoint:
    """Drop a prefix that all names share, such as "model." of a training framework, where the rest are the net's."""
    weights = _weights(checkpoint)
    prefix = f"{next(iter(weights), '').partition('.')[0]}."
    stripped = {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}
    if checkpoint.module is not None or len(stripped) < len(weights) or stripped.keys() != net.state_dict().keys():
        return checkpoint
    masks = Masks({name.removeprefix(prefix): mask for name, mask in checkpoint.masks.items()})
    return replace(checkpoint, state_dict=stripped, masks=masks)


def _fill(net: nn.Module, checkpoint: Checkpoint, label: str) -> None:
    """Copy the weights into `net`, which must have exactly these names and shapes, and give it their dtype."""
    weights = dict(_weights(checkpoint))
    own = net.state_dict()
    for name, tensor in own.items():
        if name.endswith("num_batches_tracked") and name not in weights:  # files of before torch 0.4.1; a mere counter
            weights[name] = tensor
    check_fit(weights, own, f"`{checkpoint.path}` must fit {label}", "Check `model` and its arguments.")
    dtypes = {tensor.dtype for tensor in weights.values() if tensor.is_floating_point()}
    if len(dtypes) == 1:
        net.to(dtypes.pop())
    try:
        net.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"`{checkpoint.path}` must fit {label}; {reason}. Check `model`.") from error


def check_fit(weights: Mapping[str, Tensor], own: Mapping[str, Any], must: str, cure: str) -> None:
    """Raise a CheckpointError that names the first differences unless names and shapes are the same.

    Examples
    --------
    >>> check_fit({"a": Tensor(2)}, {"a": Tensor(3), "b": Tensor(1)}, "`x.pt` must fit 'net'", "Check it.")
    Traceback (most recent call last):
    jacprobe.errors.CheckpointError: `x.pt` must fit 'net'; missing keys: 'b'; shapes differ: 'a' is (2,) and the
    network's (3,). Check it.
    """
    missing = [repr(name) for name in own if name not in weights]
    unexpected = [repr(name) for name in weights if name not in own]
    shapes = [
        f"{name!r} is {tuple(tensor.shape)} and the network's {tuple(own[name].shape)}"
        for name, tensor in weights.items()
        if isinstance(own.get(name), Tensor) and own[name].shape != tensor.shape
    ]
    kinds = {"missing keys": missing, "unexpected keys": unexpected, "shapes differ": shapes}
    found = [f"{kind}: {_first(entries)}" for kind, entries in kinds.items() if entries]
    if found:
        raise CheckpointError(f"{must}; {'; '.join(found)}. {cure}")


def _first(entries: list[str], *, limit: int = 3) -> str:
    more = f" and {len(entries) - limit} more" if len(entries) > limit else ""
    return ", ".join(entries[:limit]) + more
