"""Spectra of every label, made up from known numbers; no probe code."""

import math

import torch
from torch import Tensor

from jacprobe.results import Density, Moments, Spectrum, SpectrumSet


def tensor(rows) -> Tensor:
    return torch.as_tensor(rows, dtype=torch.float64)


def exact(name="fc", rows=((2.0, 1.05, 0.5), (3.0, 0.95, 0.0)), *, kind="layer", zeros=0, floor=1e-6, **fields):
    values = tensor(rows)
    zeros = torch.as_tensor(zeros).expand(len(values)).clone()
    facts = {"source": "input", "target": name, "modules": (name,), "method": "svd", "label": "exact"}
    facts |= {"out_dim": values.shape[1], "in_dim": values.shape[1] + 1}
    return Spectrum(name, kind, num_inputs=len(values), values=values, zeros=zeros, floor=floor, **{**facts, **fields})


def missing(name="gone", kind="module"):
    return Spectrum(name, kind, None, None, None, None, 2, reason="never called in the forward pass", modules=(name,))


def bounded(name="conv", lower=((1.5, 0.9, 0.0),), upper=((2.0, 1.0, 0.4),), *, dim=3, values=None, **fields):
    """Intervals of the first of `dim` values."""
    facts = {"kind": "layer", "source": "input", "target": name, "method": "bounds", "label": "bounded"}
    return Spectrum(name, out_dim=dim, in_dim=dim + 2, num_inputs=len(lower), bounds=(tensor(lower), tensor(upper)),
                    values=None if values is None else tensor(values), **{**facts, **fields})


def estimated(name="conv", nodes=(((1.5, 1.0, 0.5),),), counts=(((1, 3, 2),),), *, zeros=0, norms=None, seed=7,
              kind="layer", **fields):
    """A density of which the nodes of each probe occur so often, behind which come structural zeros."""
    nodes, counts = tensor(nodes), tensor(counts)
    zeros = torch.as_tensor(zeros).expand(len(nodes)).clone()
    live = counts.sum(2)
    dim = int(live[0, 0] + zeros[0])
    density = Density(nodes, counts / live[..., None], dim, zeros, None if norms is None else tensor(norms), seed)
    facts = {"source": "input", "target": name, "method": "lanczos quadrature", "label": "estimated"}
    return Spectrum(name, kind, out_dim=dim, in_dim=dim, num_inputs=len(nodes), density=density, **{**facts, **fields})


def only_moments(name="conv", mean_square=(1.0, 3.0), relative_variance=(0.5, 1.5), *, dim=4, kind="layer", **fields):
    found = Moments(tensor(mean_square), 0.1 * tensor(mean_square), tensor(relative_variance),
                    0.2 * tensor(relative_variance), num_probes=10, seed=3)
    facts = {"source": "input", "target": name, "method": "hutchinson", "label": "estimated"}
    return Spectrum(name, kind, out_dim=dim, in_dim=dim, num_inputs=len(found.mean_square), moments=found,
                    **{**facts, **fields})


def one_of_each() -> SpectrumSet:
    """Every label, with every kind of array that a file must keep."""
    spectra = (
        exact("fc1", zeros=torch.tensor([0, 1]), note="it fits"),
        exact("fc2", relative_floor=1e-9, floor=math.nan, gradient_ratio=0.5, dead_units=0.25, cosine_in=0.1,
              cosine_out=0.2),
        estimated("conv1", [[[1.5, 1.0, 0.5], [1.25, 0.75, 0.0]]] * 2, [[[1, 3, 2], [2, 4, 0]]] * 2, zeros=2,
                  norms=[2.4, 2.4], note="too large"),
        estimated("conv2", note="too large"),
        bounded("conv3"),
        bounded("conv4", [[1.5, 1.2]], [[1.6, 1.4]], dim=9, values=[[1.5, 1.2]], zeros=torch.tensor([2]),
                confidence=0.99),
        only_moments("conv5"),
        missing("gone", "layer"),
        exact("end_to_end", kind="end_to_end"),
    )
    return SpectrumSet(spectra, 0.1, {"name": "net"}, {"dtype": "float32"})
