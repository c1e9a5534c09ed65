"""The prunable set: which parameters of a model compete for being kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase

from torch import nn

from jacprobe.errors import ArgumentError, DtypeError, ModelError, UnknownNameError
from jacprobe.modelstate import AFFINE, Owned, owned_parameters, plain_name, unwrapped

PRUNABLE = ("weights", "paper")
EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)

Predicate = Callable[[str, nn.Module, nn.Parameter], bool]
Choice = str | type[nn.Module]


def prunable_names(
    model: nn.Module, prunable: str | Choice | Predicate | Iterable[Choice] = "weights",
    protected: Choice | Iterable[Choice] = (),
) -> list[str]:
    """Return the parameter names of the prunable set, tied parameters once, under their first name.

    Parameters
    ----------
    model
        Any module; order and names are those in which it registers its modules, without parametrisations or wrappers.
    prunable
        "weights": those of all linear and convolutional layers; "paper": their biases too, as published; neither holds
        what is tied to an embedding, for rows of tokens that do not occur score zero. Or a module type, which stands
        for all its parameters but biases; a predicate ``(name, module, parameter) -> bool``; or names, patterns such
        as ``"block*.weight"``, and types.
    protected
        Names of parameters or of modules, patterns, and types. What they match is not in the set, also under another
        name of a tied parameter: it is never pruned, and does not count.

    Raises
    ------
    UnknownNameError
        A name or pattern matches no parameter of `model`, or there is no such set.
    DtypeError
        What is given is neither a name nor a type nor a predicate.
    ArgumentError
        The set is empty.
    ModelError
        The weight of a layer is computed from other parameters, as by a weight norm.

    Examples
    --------
    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    >>> prunable_names(net)
    ['0.weight', '3.weight']
    >>> prunable_names(net, nn.BatchNorm2d), prunable_names(net, "paper", protected="3")
    (['1.weight'], ['0.weight', '0.bias'])
    """
    known = owned_parameters(model)
    if isinstance(prunable, str) or not (callable(prunable) or isinstance(prunable, Iterable)):
        names = _named_set(model, known, prunable)
    elif callable(prunable) and not isinstance(prunable, type):
        names = [name for name, owned in known.items() if prunable(name, owned.module, owned.tensor)]
    else:
        names = _matches(known, _entries("prunable", prunable), "prunable")
    if not names:
        raise ArgumentError("`prunable` must name at least one parameter; the model has no linear or convolutional"
                            " layer, or none that matches. Pass parameter names.")
    first = _first_names(known)
    shielded = {first[name] for name in _matches(known, _entries("protected", protected), "protected", modules=True)}
    found = [name for name in dict.fromkeys(first[name] for name in names) if name not in shielded]
    if not found:
        raise ArgumentError("`protected` must leave parameters to prune; it matches the whole prunable"
                            f" set, {', '.join(list(dict.fromkeys(names))[:5])} and so on. Protect fewer.")
    return found


def describe_choice(chosen: object) -> object:
    """Return plain JSON values that say what was chosen: names as they are, types and functions by their names."""
    if isinstance(chosen, str):
        return chosen
    if isinstance(chosen, Iterable) and not isinstance(chosen, type):
        return [describe_choice(entry) for entry in chosen]
    return getattr(chosen, "__qualname__", type(chosen).__qualname__)


def _named_set(model: nn.Module, known: dict[str, Owned], prunable: str) -> list[str]:
    if prunable not in PRUNABLE:
        raise UnknownNameError("prunable", prunable, PRUNABLE, "Or pass a list of parameter names.")
    kinds = ("weight", "bias") if prunable == "paper" else ("weight",)
    layers = {name: module for name, module in unwrapped(model).named_modules() if isinstance(module, AFFINE)}
    names = [plain_name(f"{name}.{kind}".lstrip(".")) for name, module in layers.items() for kind in kinds
             if module._parameters.get(kind, kind) is not None]  # a layer without bias has None there
    for name in names:
        if name not in known:
            raise ModelError(f"`model` must own the weights to prune; {name!r} is computed from other parameters."
                             " Remove that, or pass parameter names.")
    embedded = {id(owned.tensor) for owned in known.values() if isinstance(owned.module, EMBEDDINGS)}
    return [name for name in names if id(known[name].tensor) not in embedded]


def _entries(argument: str, chosen: object) -> list[Choice]:
    entries = list(chosen) if isinstance(chosen, Iterable) and not isinstance(chosen, (str, type)) else [chosen]
    for entry in entries:
        if not (isinstance(entry, str) or (isinstance(entry, type) and issubclass(entry, nn.Module))):
            raise DtypeError(f"`{argument}` must hold parameter names, patterns or module types; got {entry!r}."
                             " Pass a list such as ['fc1.weight', torch.nn.Conv2d].")
    return entries


def _matches(known: dict[str, Owned], entries: list[Choice], argument: str, *, modules: bool = False) -> list[str]:
    """Return the names that each entry stands for, in the order of the entries; with `modules` a module's name too."""
    found = []
    for entry in entries:
        if isinstance(entry, type):
            found += [name for name, owned in known.items()
                      if isinstance(owned.module, entry) and (modules or "bias" not in owned.attribute)]
            continue
        hits = [entry] if entry in known else [
            name for name in known if fnmatchcase(name, entry) or (modules and name.startswith(f"{entry}."))]
        if not hits:
            raise UnknownNameError(argument, entry, known)
        found += hits
    return found


def _first_names(known: dict[str, Owned]) -> dict[str, str]:
    first: dict[int, str] = {}
    return {name: first.setdefault(id(owned.tensor), name) for name, owned in known.items()}
