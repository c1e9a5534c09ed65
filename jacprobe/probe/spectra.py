"""From a model and inputs to spectra."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from jacprobe.errors import ArgumentError, ModelError
from jacprobe.linop import LinearOperator
from jacprobe.masks import Masks
from jacprobe.probe import segments as parts
from jacprobe.probe.checks import check_positive
from jacprobe.probe.operators import GraphJacobian
from jacprobe.probe.probing import Probing
from jacprobe.probe.session import Session
from jacprobe.probe.survey import mixes, unfit
from jacprobe.probe.trace import OutputChoice
from jacprobe.results import SpectrumSet


def spectra(
    model: nn.Module,
    inputs: Tensor | np.ndarray,
    *,
    kind: str | Sequence[str] = ("layers", "end_to_end"),
    segments: Iterable[tuple[str, str]] = (),
    output: OutputChoice | None = None,
    accuracy: str = "standard",
    epsilon: float = 0.1,
    theory: bool = False,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    method: str = "auto",
    num_values: int = 6,
    num_probes: int | None = None,
    num_steps: int = 40,
    seed: int | torch.Generator = 0,
    memory: float | str | None = None,
    work: float = 5e12,
    progress: bool | None = None,
) -> SpectrumSet:
    """Compute the singular values of the Jacobians of a model's layers, modules or any of its segments.

    The model runs in evaluation mode and is left untouched.

    Parameters
    ----------
    model
        Any module of one floating tensor, batch dimension first, that treats samples one by one.
    inputs
        (num_inputs, ...) floating point.
    kind
        One or several of "layers", "modules", "end_to_end", "cumulative".
    segments
        Further pairs of sites: "input", "output", the qualified name of a module for its output, that name with
        ".input" for its input; "#2" behind the name for its second call. See ``jacprobe.sites``.
    output
        Picks the output tensor where the model returns several.
    accuracy
        "fast": the model in float32. "standard": the model in its own precision, decompositions in float64.
        "reference": all in float64. "relative": all in float64, and small singular values to full relative accuracy,
        by the factors of plain chains.
    epsilon
        Half-width of the band around 1 that counts as isometric.
    theory
        Whether the result carries what ``jacprobe.theory.spectrum`` expects of this model, for figures; such a model
        must be a chain.
    device, dtype
        Where and in what the model runs; default its own (half precision runs in float32).
    method
        "auto": exact where that fits `memory` and `work`; otherwise rigorous bounds where there are any, or the
        estimated density, or two moments; the result's `note` says why. "exact": exact or a reason why not, by an SVD
        ("svd") or the eigenvalues of squares in float64 ("gram") where it matters. "fourier": exactly, circular
        convolutions. "bounds": intervals for zero-padded convolutions. "density": the distribution, by stochastic
        Lanczos quadrature. "largest": the `num_values` largest, with intervals. "moments": mean square and relative
        variance.
    num_values, num_probes, num_steps
        Of the matrix-free methods: values per input, random probes per input (default by the size of the segment) and
        Lanczos steps per probe.
    seed
        Of the random probes.
    memory
        Budget in bytes, or a text such as "2GiB"; default half of the free memory. It is for matrices, bases and
        activations, and comes on top of the copies of the model's parameters: one in working precision, one in float64
        while rounding errors are measured.
    work
        Limit on the floating-point operations of one segment.
    progress
        Whether to show progress on stderr; default only on a terminal, and in a notebook with ipywidgets.

    Returns
    -------
    SpectrumSet
        In forward order; weighted modules that have no Jacobian appear with the reason.

    Raises
    ------
    DtypeError, ShapeError, NonFiniteError, ArgumentError, UnknownNameError
        An argument is wrong.
    ModelError
        The forward pass fails, mixes samples, is random, or does not depend on the input.
    BudgetError
        One input at a time does not fit the device.

    References
    ----------
    Lee et al. 2020 (arXiv 1906.06307), equations 4 and 7, section 4.

    Examples
    --------
    An orthogonal linear layer is an isometry:

    >>> layer = nn.init.orthogonal_(torch.empty(4, 4), generator=torch.Generator().manual_seed(0))
    >>> net = nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU())
    >>> net[0].weight.data = layer
    >>> result = spectra(net, torch.randn(8, 4, generator=torch.Generator().manual_seed(1)), kind="modules")
    >>> result["0"].values.sub(1).abs().max().item() < 1e-6
    True
    """
    epsilon = check_positive("epsilon", epsilon, "It is the half-width of the band around 1.")
    if epsilon == float("inf"):
        raise ArgumentError("`epsilon` must be finite; got inf. It is the half-width of the band around 1.")
    probing = Probing(model, inputs, kind=kind, segments=segments, output=output, accuracy=accuracy, device=device,
                      dtype=dtype, method=method, num_values=num_values, num_probes=num_probes, num_steps=num_steps,
                      seed=seed, memory=memory, work=work)
    expected = _expected(model, inputs) if theory else None
    found = probing.run(progress)
    return SpectrumSet(tuple(found), epsilon, _facts(model), probing.provenance, expected)


def jacobian(
    model: nn.Module,
    inputs: Tensor | np.ndarray,
    *,
    source: str = "input",
    target: str = "output",
    output: OutputChoice | None = None,
    accuracy: str = "standard",
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
) -> LinearOperator:
    """Return the Jacobian between two sites as a linear operator, (num_inputs, out_dim, in_dim).

    ``op @ block`` and ``op.rmatmat(block)`` multiply, ``op.dense()`` forms it. The operator keeps the graph of one
    forward pass over all inputs. Parameters and errors are those of ``spectra``.

    Examples
    --------
    >>> jacobian(nn.Tanh(), torch.zeros(1, 2)).dense()
    tensor([[[1., 0.],
             [0., 1.]]])
    """
    session = Session(model, inputs, output=output, accuracy=accuracy, dtype=dtype, device=device)
    with session.opened():
        traced = session.trace(session.inputs)
        parts.pair(traced, source, target)
        begin, end, fewer = traced.site(source), traced.site(target), session.trace_fewer(len(session.inputs))
        operator = GraphJacobian(begin, end, len(session.inputs))
        reason = unfit(begin, fewer) or unfit(end, fewer) or ("samples mix" if mixes(operator) else None)
        if reason:
            raise ModelError(f"`model` must have one Jacobian per input from {source!r} to {target!r}; {reason}."
                             " Choose other sites.")
        return operator


def sites(model: nn.Module, inputs: Tensor | np.ndarray, *, output: OutputChoice | None = None) -> dict[str, tuple]:
    """Return the shape per sample of every named site between input and output, in forward order.

    Examples
    --------
    >>> sites(nn.Sequential(nn.Linear(3, 2), nn.Tanh()), torch.zeros(1, 3))
    {'input': (3,), '0': (2,), 'output': (2,)}
    """
    session = Session(model, inputs, output=output, accuracy="standard", dtype=None, device=None)
    with session.opened():
        traced = session.trace(session.inputs[:1])
        ordered = sorted(traced.sites.values(), key=lambda site: traced.graph.position(site.edge))
        plainest = map(traced.preferred, ordered)
        return {site.name: site.shape[1:] for site in plainest}


def _expected(model: nn.Module, inputs: Tensor | np.ndarray) -> dict:
    from jacprobe.theory import spectrum  # takes long to import, for those who do not ask

    return spectrum(model, inputs=inputs).to_dict()


def _facts(model: nn.Module) -> dict:
    masks = Masks.of(model)
    spec = getattr(model, "jacprobe_spec", None)
    facts = {"name": spec["name"] if spec else type(model).__name__,
             "num_parameters": sum(p.numel() for p in model.parameters())}
    return {**facts, "num_prunable": masks.num_prunable, "sparsity": masks.sparsity} if masks else facts
