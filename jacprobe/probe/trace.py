"""One real forward pass, with every site on it named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn.attention import SDPBackend, sdpa_kernel

from jacprobe.errors import ModelError, UnknownNameError
from jacprobe.modelstate import run_on
from jacprobe.probe.graph import PathGraph, edge_key

OutputChoice = Callable[[object], Tensor]
Observer = Callable[[str, Tensor], None]  # is shown the tensor of every named site during the forward pass


@dataclass(frozen=True)
class Site:
    """A named tensor of the forward pass, `shape` with the batch dimension."""

    name: str
    edge: GradientEdge
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def dim(self) -> int:
        """Number of entries per sample, where the batch dimension is the first."""
        return torch.Size(self.shape[1:]).numel()


@dataclass(frozen=True)
class Call:
    """One call of a weighted module: the sites of its differentiable input tensors, and its output or None."""

    name: str
    module_name: str
    module: nn.Module
    inputs: tuple[Site, ...]
    output: Site | None


class Trace:
    """Sites, calls of weighted modules, and the graph between input and output, of one forward pass."""

    def __init__(self, entry: Site, exit_: Site, recorder: _Recorder):
        self.weighted, self.num_calls, self.calls = recorder.weighted, recorder.num_calls, recorder.calls
        self.graph = PathGraph(entry.edge, exit_.edge)
        self.sites = _by_unique_name([entry, exit_, *(site for site in recorder.sites if site.edge in self.graph)])
        self.cuts = self._named_cuts()
        self.sites.update({site.name: site for site in self.cuts})

    def site(self, name: str) -> Site:
        if name not in self.sites:
            plainest = dict.fromkeys(self.preferred(site).name for site in self.sites.values())
            raise UnknownNameError("segment", name, plainest, "A module's input is its name with .input.")
        return self.sites[name]

    @property
    def dtypes(self) -> set[torch.dtype]:
        """The real floating dtypes that the sites have; more than one where the model converts."""
        return {site.dtype for site in self.sites.values() if not site.dtype.is_complex}

    def keep_cuts(self, fits: Callable[[Site], bool]) -> None:
        """Let only those cuts end a layer that fit; input and output always do."""
        inner = [site for site in self.cuts[1:-1] if fits(site)]
        self.cuts = [self.cuts[0], *inner, self.cuts[-1]]

    def bytes_per_sample(self) -> float:
        """Estimate the memory of the graph: each distinct tensor, once for its values and once for a gradient."""
        distinct = {edge_key(site.edge): site for site in self.sites.values()}
        return max(1.0, sum(2.0 * site.dtype.itemsize * site.dim for site in distinct.values()))

    def preferred(self, site: Site) -> Site:
        """Return the site on the same edge with the plainest name."""
        return self._plainest[edge_key(site.edge)]

    def _named_cuts(self) -> list[Site]:
        """Every cut once, by its plainest name; a cut that no module touches is named after its operation."""
        self._plainest: dict[tuple, Site] = {}
        for site in self.sites.values():
            other = self._plainest.setdefault(edge_key(site.edge), site)
            if _plainness(site.name) < _plainness(other.name):
                self._plainest[edge_key(site.edge)] = site
        counts: dict[str, int] = {}
        for node, output_nr in self.graph.cuts:
            operation = node.name().removeprefix("torch::autograd::").rstrip("0123456789").removesuffix("Backward")
            counts[operation] = counts.get(operation, 0) + 1
            if (node, output_nr) not in self._plainest:
                metadata = node._input_metadata[output_nr]
                name = f"{operation.lower()}@{counts[operation]}"
                site = Site(name, GradientEdge(node, output_nr), tuple(metadata.shape), metadata.dtype)
                self._plainest[node, output_nr] = site
        return [self._plainest[cut] for cut in self.graph.cuts]


def _by_unique_name(sites: list[Site]) -> dict[str, Site]:
    """Map names to sites; where a module is called like another site, such as "output", the later gets "~2"."""
    found: dict[str, Site] = {}
    for site in sites:
        name, count = site.name, 1
        while name in found and edge_key(found[name].edge) != edge_key(site.edge):
            count += 1
            name = f"{site.name}~{count}"
        found.setdefault(name, replace(site, name=name))
    return found


def _plainness(name: str) -> tuple:
    return name not in ("input", "output"), name.endswith(".input"), name.count("."), "#" in name


def trace(
    model: nn.Module,
    state: dict[str, Tensor],
    inputs: Tensor,
    *,
    output: OutputChoice | None = None,
    weighted: dict[str, nn.Module],
    observe: Observer | None = None,
) -> Trace:
    """Run `model` with the tensors of `state` on `inputs` and record the sites.

    Attention runs by its plain formula: the fused kernels have no second derivative.

    Raises
    ------
    ModelError
        The forward pass fails, gives no single floating tensor of one row per sample, or does not depend on `inputs`.
    """
    observe = observe or (lambda name, tensor: None)
    recorder = _Recorder(weighted, observe)
    with torch.inference_mode(False), torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), recorder.attached(model):
        leaf = inputs.clone().requires_grad_()
        entry = leaf.clone()  # in-place operations are not allowed on a leaf
        source = _site("input", entry)
        observe("input", entry)
        result = run(model, state, entry, output=output)
        observe("output", result)
        if not result.requires_grad:
            raise _independent(result)
        trace_ = Trace(source, _site("output", result), recorder)
    if not trace_.graph.cuts:
        raise _independent(result)
    return trace_


def run(model: nn.Module, state: dict[str, Tensor], inputs: Tensor, *, output: OutputChoice | None) -> Tensor:
    """Return the chosen output tensor of one forward pass; raise ModelError as `trace` does."""
    try:
        result = run_on(model, state, inputs)
        result = result if output is None else output(result)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # the user's forward may raise anything; it is chained and named
        text = str(error).strip().splitlines() or [""]
        raise ModelError(
            f"`model` must accept samples of shape {tuple(inputs.shape[1:])}; its forward pass raised"
            f" {type(error).__name__}: {text[0].rstrip('.')}. Check the inputs and `output`."
        ) from error
    if not isinstance(result, Tensor):
        picks = "output=lambda out: out[0]"
        if isinstance(result, Mapping) and result:
            picks = f"output=lambda out: out[key], key one of {', '.join(map(repr, result))}"
        raise ModelError(f"`model` must return one tensor; got {type(result).__name__}. Pick one with {picks}.")
    if not result.is_floating_point() or result.ndim == 0 or result.shape[0] != inputs.shape[0]:
        raise ModelError(
            f"`model` must return a floating tensor with one row per sample; got {result.dtype} of shape"
            f" {tuple(result.shape)} for {inputs.shape[0]} samples. Put the batch dimension first."
        )
    return result


def _independent(result: Tensor) -> ModelError:
    return ModelError(
        f"`model` must depend on its input; its output of shape {tuple(result.shape)} does not, and has no Jacobian."
        " Look for detach(), torch.no_grad() or an integer step in its forward."
    )


def _site(name: str, tensor: Tensor) -> Site:
    return Site(name, get_gradient_edge(tensor), tuple(tensor.shape), tensor.dtype)


class _Recorder:
    """Forward hooks that note each module's input and output, before any later in-place change of them."""

    def __init__(self, weighted: dict[str, nn.Module], observe: Observer):
        self._observe = observe
        self.sites: list[Site] = []
        self.calls: list[Call] = []
        self.num_calls: dict[str, int] = {}
        self.weighted = weighted
        self._pending: list[tuple[str, tuple[Site, ...]]] = []

    @contextmanager
    def attached(self, model: nn.Module) -> Iterator[None]:
        handles = []
        for name, module in model.named_modules():
            if "parametrizations" not in name.split("."):
                handles.append(module.register_forward_pre_hook(self._before(name), with_kwargs=True))
                handles.append(module.register_forward_hook(self._after(name), with_kwargs=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _before(self, module_name: str):
        def hook(module: nn.Module, args: tuple, kwargs: dict) -> None:
            self.num_calls[module_name] = count = self.num_calls.get(module_name, 0) + 1
            name = module_name or "model"
            name = name if count == 1 else f"{name}#{count}"
            inputs: dict[tuple, Site] = {}
            for tensor in [*args, *kwargs.values()]:
                if isinstance(tensor, Tensor) and tensor.requires_grad:
                    site = _site(f"{name}.input", tensor)
                    self._observe(site.name, tensor)
                    inputs.setdefault(edge_key(site.edge), site)
            self._pending.append((name, tuple(inputs.values())))

        return hook

    def _after(self, module_name: str):
        def hook(module: nn.Module, args: tuple, kwargs: dict, result: object) -> None:
            name, inputs = self._pending.pop()
            tensor = result[0] if isinstance(result, tuple) and result else result
            known = isinstance(tensor, Tensor) and tensor.requires_grad
            output = _site(name, tensor) if known else None
            if len(inputs) == 1:  # its tensor may have changed in place by now
                self.sites.append(inputs[0])
            if output is not None:
                self.sites.append(output)
                self._observe(output.name, tensor)
            if module_name in self.weighted:
                self.calls.append(Call(name, module_name, module, inputs, output))

        return hook
