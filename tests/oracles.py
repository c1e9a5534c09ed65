"""Slow, separate answers: Jacobians row by row in float64, singular values by NumPy. Imports nothing of the probe."""

import copy
import itertools

import numpy as np
import torch
from torch import nn
from torch.autograd.graph import get_gradient_edge


def dense_jacobian(function, inputs):
    """(num_inputs, out_dim, in_dim) of `function`, one sample, one output and one backward pass at a time."""
    matrices = []
    for sample in inputs:
        leaf = sample.detach().unsqueeze(0).requires_grad_()
        output = function(leaf).flatten()
        rows = [torch.autograd.grad(entry, leaf, retain_graph=True, materialize_grads=True, allow_unused=True)[0]
                for entry in output]
        matrices.append(torch.stack(rows).flatten(1))
    return torch.stack(matrices)


class SiteOracle:
    """Jacobians between named sites of a copy of `model` in float64, every sample by itself.

    Sites go by the names of the probe: "input", "output", "fc" (output of fc), "fc.input", "fc#2" (second call),
    "output~2" (output of a module that is called output).
    """

    def __init__(self, model, inputs, output=None):
        self._edges = [self._run(model, sample.unsqueeze(0).double(), output) for sample in inputs]
        self._found = {}

    def _run(self, model, sample, output):
        derived = {id(t): t.detach() for m in model.modules() for t in vars(m).values()
                   if isinstance(t, torch.Tensor) and not t.is_leaf}  # of old hooks; deepcopy refuses them
        model = copy.deepcopy(model, derived).double().eval()
        edges, counts = {}, {}

        def before(name):
            def hook(module, args, kwargs):
                counts[name] = counts.get(name, 0) + 1
                call = name if counts[name] == 1 else f"{name}#{counts[name]}"
                for tensor in [*args, *kwargs.values()]:
                    if isinstance(tensor, torch.Tensor) and tensor.requires_grad:
                        edges.setdefault(f"{call}.input", (get_gradient_edge(tensor), tensor.shape))
            return hook

        def after(name):
            def hook(module, args, kwargs, result):
                call = name if counts[name] == 1 else f"{name}#{counts[name]}"
                tensor = result[0] if isinstance(result, tuple) else result
                if isinstance(tensor, torch.Tensor) and tensor.requires_grad:
                    call = f"{call}~2" if call in ("input", "output") else call
                    edges[call] = get_gradient_edge(tensor), tensor.shape
            return hook

        for name, module in model.named_modules():
            if name or not hasattr(model, "model"):
                module.register_forward_pre_hook(before(name or "model"), with_kwargs=True)
                module.register_forward_hook(after(name or "model"), with_kwargs=True)
        entry = sample.clone().requires_grad_().clone()
        edges["input"] = get_gradient_edge(entry), entry.shape
        result = model(entry)
        result = result if output is None else output(result)
        edges["output"] = get_gradient_edge(result), result.shape
        return edges

    def jacobian(self, source, target):
        """(num_inputs, out_dim, in_dim), kept: one pair of sites may bound segments of several kinds."""
        if (source, target) not in self._found:
            matrices = [self._matrix(edges[source], edges[target]) for edges in self._edges]
            self._found[source, target] = torch.stack(matrices)
        return self._found[source, target]

    def _matrix(self, source, target):
        units = torch.eye(target[1].numel(), dtype=torch.float64)
        rows = [torch.autograd.grad([target[0]], [source[0]], [unit.reshape(target[1])], retain_graph=True)[0].flatten()
                for unit in units]
        return torch.stack(rows)


def singular_values(matrices):
    """(num_inputs, rank) by NumPy."""
    return np.linalg.svd(np.asarray(matrices), compute_uv=False)


def assert_spectrum_close(values, oracle, *, floor):
    """Assert equal shapes, decreasing rows, and an absolute error of at most `floor` everywhere."""
    values, oracle = np.asarray(values, dtype=np.float64), np.asarray(oracle)
    assert values.shape == oracle.shape
    assert (np.diff(values, axis=1) <= 0).all(), "rows must decrease"
    error = np.abs(values - oracle).max()
    assert error <= floor, f"error {error:.3g} is above the floor {floor:.3g}"


def randomized(model, seed=0):
    """Return `model` in training mode with every weight, bias and batch statistic drawn from a seeded generator."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        norm = isinstance(module, (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm))
        own = itertools.chain(module.named_parameters(recurse=False), module.named_buffers(recurse=False))
        for name, tensor in own:
            if not tensor.is_floating_point():
                continue
            noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            fan_in = tensor[0].numel() if tensor.ndim > 1 else 1
            positive = name == "running_var" or (norm and name == "weight") or isinstance(module, nn.PReLU)
            scale = 1.3 / fan_in**0.5 if tensor.ndim > 1 else 0.2
            drawn = 0.3 + 0.7 * noise.abs() if positive else scale * noise
            tensor.data.copy_(drawn)
    return model


def seeded_normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)
