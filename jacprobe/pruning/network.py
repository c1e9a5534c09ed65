"""A model as a function of the weights that are scored, which leaves the caller's model alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from jacprobe.errors import JacprobeError, ModelError, ShapeError, UnknownNameError
from jacprobe.modelstate import AFFINE, detached_state, owned_parameters, preserved, run_on, unwrapped
from jacprobe.pruning.batches import Batch, Batches
from jacprobe.pruning.batchnorm import set_batch_norm
from jacprobe.pruning.context import Scoring


class Network:
    """A model on a state of its own; use it inside ``opened``.

    Attributes
    ----------
    weights
        Per scored name the dense weights, without ``scoring.masks``; of a model that is pruned already the hidden
        ones, whose gradient is zero where the model itself masks them.
    leaves
        Per scored name the weights at which the network is evaluated, with ``scoring.masks``.
    state
        Tensors of the forward pass by name in the model; those that are scored are the leaves.
    device, dtype
        Of the first scored weight.
    """

    def __init__(self, model: nn.Module, names: list[str], scoring: Scoring, *, shared: bool = False,
                 dtype: torch.dtype | None = None):
        self.model, self.names, self.scoring = model, names, scoring
        owned = owned_parameters(model)
        for name in names:
            if name not in owned:
                raise UnknownNameError("names", name, owned)
        self.state = _shared_state(model) if shared else detached_state(model, dtype=dtype)
        self._keys = {name: [key for key, tensor in self.state.items() if tensor is self.state[owned[name].name]]
                      for name in names}
        self.weights = {name: self.state[owned[name].name] for name in names}
        self.keep = {name: _fitting(scoring.masks, name, self.weights[name]) for name in names}
        scored = {key for keys in self._keys.values() for key in keys}
        set_batch_norm(model, self.state, scoring.batch_norm, scored)
        self.leaves = {name: self.masked(name, self.weights[name]).detach().requires_grad_() for name in names}
        self.state = self.substituted(self.leaves)
        first = self.weights[names[0]]
        self.device, self.dtype = first.device, first.dtype

    def masked(self, name: str, values: Tensor) -> Tensor:
        """Return `values`, one per weight, with zeros where ``scoring.masks`` remove the weight."""
        keep = self.keep[name]
        return values if keep is None else torch.where(keep, values, 0)

    def substituted(self, leaves: dict[str, Tensor], state: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Return the state, or another, with `leaves` for scored weights, at every owner of a tied one."""
        changed = {key: leaves[name] for name in leaves for key in self._keys[name]}
        return {**(self.state if state is None else state), **changed}

    def parameters(self) -> list[Tensor]:
        """Return all floating parameters, each once, ready to be trained in place."""
        keys = dict(self.model.named_parameters(remove_duplicate=False))
        distinct = {id(self.state[key]): self.state[key] for key in keys if self.state[key].is_floating_point()}
        return [tensor.requires_grad_() for tensor in distinct.values()]

    def placed(self, inputs: Tensor, labels: Tensor | None = None) -> Batch:
        """Return copies as the model takes them; token ids stay whole numbers."""
        dtype = self.dtype if inputs.is_floating_point() else inputs.dtype
        inputs = inputs.to(self.device, dtype, copy=True)  # a forward may write into its input
        return inputs, None if labels is None else labels.to(self.device, copy=True)

    def __call__(self, inputs: Tensor, state: dict[str, Tensor] | None = None) -> Tensor:
        """Return the output for `inputs` as ``placed`` gives them, on the state or another.

        Raises
        ------
        ModelError
            It is not one tensor; besides, whatever the model raises.
        """
        outputs = run_on(self.model, self.state if state is None else state, inputs)
        if not isinstance(outputs, Tensor):
            raise ModelError(f"`model` must return one tensor; got {type(outputs).__name__}. Wrap it in a module that"
                             " returns the tensor to score.")
        return outputs

    def run(self, inputs: Tensor, state: dict[str, Tensor] | None = None) -> Tensor:
        """As a call, with one line for whatever is wrong.

        Raises
        ------
        ModelError
            The model raises, or does not return one tensor.
        """
        with named_failures(f"run on inputs of shape {tuple(inputs.shape)}", "Check shapes."):
            return self(inputs, state)

    def is_tied(self, name: str) -> bool:
        """Whether the parameter is used under several names."""
        return len(self._keys[name]) > 1


@contextlib.contextmanager
def opened(model: nn.Module, names: list[str], scoring: Scoring, *, trial: Batches | None = None,
           dtype: torch.dtype | None = None) -> Iterator[Network]:
    """Yield the network of `model`, which comes back bit-identical with the random states.

    Parameters
    ----------
    trial
        Batches. Given, large weights are read in place rather than copied, if a pass over two samples shows that
        the forward pass writes into none (as a norm limit on a weight does).
    dtype
        Of the copy, where it shall not be the model's own.
    """
    model = unwrapped(model)  # functional_call refuses some wrappers
    with preserved(model), torch.inference_mode(False), torch.enable_grad():
        yield Network(model, names, scoring, dtype=dtype,
                      shared=trial is not None and _writes_no_weight(model, names, scoring, trial.first()[0][:2]))


def _writes_no_weight(model: nn.Module, names: list[str], scoring: Scoring, inputs: Tensor) -> bool:
    network = Network(model, names, replace(scoring, masks=None))
    before = dict(network.state)
    with torch.no_grad(), contextlib.suppress(Exception):  # it will be raised again, and named, where it matters
        network(network.placed(inputs)[0])
    originals = dict(model.named_parameters(remove_duplicate=False))
    keys = {owned.name for owned in owned_parameters(model).values() if isinstance(owned.module, AFFINE)}
    return all(torch.equal(before[key], originals[key]) for key in keys)


def _shared_state(model: nn.Module) -> dict[str, Tensor]:
    """Return copies of everything but the weights of linear and convolutional layers, which are only read."""
    affine = {id(owned.tensor) for owned in owned_parameters(model).values() if isinstance(owned.module, AFFINE)}
    seen: dict[int, Tensor] = {}
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    for _, tensor in named:
        if id(tensor) not in seen:
            kept = id(tensor) in affine and not tensor.is_inference()  # which autograd could not save
            seen[id(tensor)] = tensor.detach() if kept else tensor.detach().clone()
    return {name: seen[id(tensor)] for name, tensor in named}


def _fitting(masks: object, name: str, weight: Tensor) -> Tensor | None:
    if masks is None or name not in masks:
        return None
    keep = masks[name]
    if keep.shape != weight.shape:
        raise ShapeError(f"`masks` must match the model's shapes; {name!r} is {tuple(weight.shape)} in the model and"
                         f" {tuple(keep.shape)} in the masks. Use masks made for this model.")
    return keep.to(weight.device)


@contextlib.contextmanager
def named_failures(task: str, cure: str) -> Iterator[None]:
    """Turn whatever the user's forward or loss raises into one line.

    Raises
    ------
    ModelError
        The block raised; lack of memory passes.
    """
    try:
        yield
    except (JacprobeError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # the user's forward may raise anything; it is chained and named
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise ModelError(f"`model` must {task}; it raised {type(error).__name__}: {reason}. {cure}") from error
