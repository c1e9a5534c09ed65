"""Which parts of a network are probed: layers, modules, cumulative segments and pairs of sites."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile

from torch import nn

from jacprobe.errors import ArgumentError
from jacprobe.modelstate import AFFINE
from jacprobe.probe.graph import PathGraph
from jacprobe.probe.trace import Call, Site, Trace

_WEIGHTED = (*AFFINE, nn.Bilinear, nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention, nn.Embedding, nn.EmbeddingBag)
_NOT_WEIGHTED = (  # normalisations and activations belong to the layer of the weights before them
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    nn.PReLU,
)
_PARAMETERS = (nn.ParameterList, nn.ParameterDict)  # never called; they belong to the module that holds them


@dataclass(frozen=True)
class Segment:
    """The map from one site to a later one, or a weighted module that has none, with the `reason`."""

    name: str
    kind: str
    source: str | None
    target: str | None
    modules: tuple[str, ...] = ()
    reason: str | None = None


def weighted_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Return the modules that own a weight, by qualified name.

    Linear, convolutional, recurrent, attention and embedding modules, and any other module with a parameter of two or
    more dimensions of its own, also in a ParameterList or ParameterDict; not normalisations and PReLU.
    """
    found = {}
    for name, module in model.named_modules():
        if "parametrizations" in name.split(".") or isinstance(module, (*_NOT_WEIGHTED, *_PARAMETERS)):
            continue
        own = dict(module.named_parameters(recurse=False))
        for child, parameters in module.named_children():
            if isinstance(parameters, _PARAMETERS):
                own |= {f"{child}.{part}": parameter for part, parameter in parameters.named_parameters()}
        for attribute, parametrization in getattr(module, "parametrizations", {}).items():
            own |= {f"{attribute}.{part}": p for part, p in parametrization.named_parameters(recurse=False)}
        if isinstance(module, _WEIGHTED) or any(parameter.ndim >= 2 for parameter in own.values()):
            found[name] = module
    return found


def layers(trace: Trace) -> list[Segment]:
    """Return the layers: between consecutive cuts, each with a weighted module, as fine as the cuts allow.

    A layer ends at the last cut before the next weighted module, so that normalisation, activation and pooling belong
    to the weights before them: the paper's J = D W.
    """
    cuts = [trace.graph.position(site.edge) for site in trace.cuts]
    groups: list[tuple[int, int, list[str]]] = []  # first cut, last cut, modules
    innermost = [call for call in trace.calls if _is_on_path(trace, call) and not _holds_weighted(trace, call)]
    for call in sorted(innermost, key=lambda c: _interval(trace, c)):
        begin, end = _interval(trace, call)
        first = max(i for i, position in enumerate(cuts) if position <= begin)
        last = min(i for i, position in enumerate(cuts) if position >= end)
        held = [call.name]
        if groups and first < groups[-1][1]:  # no cut lies between them: one layer holds both
            first, last_before, held_before = groups.pop()
            last, held = max(last, last_before), held_before + held
        groups.append((first, last, held))
    starts = [0, *[first for first, _, _ in groups[1:]]]
    ends = [*starts[1:], len(cuts) - 1]
    names = _layer_names([held for _, _, held in groups])
    return [
        Segment(name, "layer", trace.cuts[start].name, trace.cuts[end].name, tuple(held))
        for name, start, end, (_, _, held) in zip(names, starts, ends, groups, strict=False)
    ]


def modules(trace: Trace) -> list[Segment]:
    """Return one segment per call of a weighted module, from its own input to its own output."""
    refused = {segment.name for segment in unprobed(trace)}
    return [
        Segment(c.name, "module", trace.preferred(c.inputs[0]).name, trace.preferred(c.output).name, (c.name,))
        for c in trace.calls
        if c.name not in refused
    ]


def unprobed(trace: Trace) -> list[Segment]:
    """Return the weighted modules that have no Jacobian of their own, each with the reason; none is ever silent."""
    found = []
    for name in trace.weighted:
        if name not in trace.num_calls:
            reason = "its forward is never called; where its weight is used directly, the layer around it holds it"
            found.append(Segment(name or "model", "module", None, None, (name or "model",), reason))
    for call in trace.calls:
        reason = None
        if isinstance(call.module, nn.Bilinear):
            reason = "Bilinear takes two inputs; it has no single input-output Jacobian"
        elif _holds_weighted(trace, call):
            reason = (f"has parameters of its own beside the weighted modules it holds; they act in the layers around"
                      f" these, within the segment {call.name}.input:{call.name}")
        elif not call.inputs:
            reason = "its input does not depend on the model's input"
        elif len(call.inputs) > 1:
            reason = f"takes {len(call.inputs)} different tensors; it has no single input-output Jacobian"
        elif call.output is None:
            reason = "its output is not a tensor that depends on its input"
        elif call.output.edge not in trace.graph:
            reason = "the model's output does not depend on it"
        elif call.inputs[0].edge not in trace.graph:
            reason = "its output does not depend on its input"
        if reason:
            found.append(Segment(call.name, "module", None, None, (call.name,), reason))
    return found


def cumulative(trace: Trace) -> list[Segment]:
    """Return the segments from the input to the end of each layer, named after that layer."""
    found, held = [], ()
    for layer in layers(trace):
        held += layer.modules
        found.append(Segment(layer.name, "cumulative", "input", layer.target, held))
    return found


def end_to_end(trace: Trace) -> list[Segment]:
    held = tuple(call.name for call in trace.calls if _is_on_path(trace, call))
    return [Segment("end_to_end", "end_to_end", "input", "output", held)]


def pair(trace: Trace, source: str, target: str) -> Segment:
    """Return the segment between two named sites.

    Raises
    ------
    UnknownNameError
        A name is no site.
    ArgumentError
        The second site does not depend on the first.
    """
    graph = between(trace.site(source), trace.site(target))
    if not graph.cuts or source == target:
        raise ArgumentError(
            f"`segment` must lead from a site to one that depends on it; got {source}:{target}. Swap or change them."
        )
    held = tuple(c.name for c in trace.calls if c.output is not None and c.inputs
                 and c.output.edge in graph and c.inputs[0].edge in graph)
    return Segment(f"{source}:{target}", "pair", source, target, held)


def between(source: Site, target: Site) -> PathGraph:
    return PathGraph(source.edge, target.edge)


def _is_on_path(trace: Trace, call: Call) -> bool:
    reached = any(site.edge in trace.graph for site in call.inputs)
    return reached and call.output is not None and call.output.edge in trace.graph


def _holds_weighted(trace: Trace, call: Call) -> bool:
    """Whether the module only adds parameters to weighted modules inside it, as position embeddings to an encoder."""
    prefix = f"{call.module_name}." if call.module_name else ""
    return any(other.module_name.startswith(prefix) for other in trace.calls if other is not call)


def _interval(trace: Trace, call: Call) -> tuple[int, int]:
    begin = min(trace.graph.position(site.edge) for site in call.inputs if site.edge in trace.graph)
    return begin, trace.graph.position(call.output.edge)


def _layer_names(groups: list[list[str]]) -> list[str]:
    """Name a layer after its module; a block after the modules' common prefix, or the first and last of them."""
    names = []
    for held in groups:
        levels = zip(*(name.split(".")[:-1] for name in held), strict=False)
        prefix = [level[0] for level in takewhile(lambda level: len(set(level)) == 1, levels)]
        names.append(held[0] if len(held) == 1 else ".".join(prefix) or f"{held[0]}..{held[-1]}")
    return [
        name if names.count(name) == 1 or len(held) == 1 else f"{held[0]}..{held[-1]}"
        for name, held in zip(names, groups, strict=True)
    ]
