"""The Jacobian between two sites as a linear operator on the autograd graph of one forward pass."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from jacprobe.errors import ModelError
from jacprobe.linop import LinearOperator
from jacprobe.probe.graph import PathGraph
from jacprobe.probe.precision import full_precision
from jacprobe.probe.trace import Site


class GraphJacobian(LinearOperator):
    """Products with the Jacobian d target / d source by vector-Jacobian products; the forward pass is never repeated.

    The traced batch may hold every input several times, ``copies`` of the whole batch one after the other: one
    backward pass then gives that many rows per input, at the efficiency of a large batch and without vmap, so that
    every operation that can be trained can be probed.

    Parameters
    ----------
    source, target
        Sites of one trace, batch dimension first, ``target`` depending on ``source``.
    num_inputs
        Inputs in the batch, each ``copies = batch // num_inputs`` times.
    """

    broadcasts = False

    def __init__(self, source: Site, target: Site, num_inputs: int):
        self.source, self.target = source, target
        self.copies = source.shape[0] // num_inputs
        self.shape = (num_inputs, target.dim, source.dim)
        self.dtype = torch.promote_types(source.dtype, torch.float32)  # of half precision only the graph makes use

    @property
    def device(self) -> torch.device:
        return self.source.edge.node._input_metadata[self.source.edge.output_nr].device

    def vjp(self, cotangents: Tensor) -> Tensor:
        """(batch, *target shape) -> (batch, *source shape), every copy by itself."""
        try:
            with full_precision(self.device):
                (pulled,) = torch.autograd.grad(
                    [self.target.edge], [self.source.edge], [cotangents.to(self.target.dtype)], retain_graph=True
                )
        except torch.utils.checkpoint.CheckpointError as error:
            raise ModelError("`model` must keep its activations; some are recomputed by torch.utils.checkpoint."
                             " Switch activation checkpointing off.") from error
        return pulled

    def jvp(self, tangents: Tensor) -> Tensor:
        """(batch, *source shape) -> (batch, *target shape), as the derivative of the linear map u -> vjp(u).

        Raises
        ------
        ModelError
            An operation between the sites has no second derivative.
        """
        if not self.is_differentiable_twice:
            raise ModelError(
                f"`model` must be differentiable twice between {self.source.name!r} and {self.target.name!r}; an"
                " operation there is not. Use products with the transpose."
            )
        with full_precision(self.device):
            return _push(*self._pullback, tangents.to(self.source.dtype))

    @cached_property
    def _pullback(self) -> tuple[Tensor, Tensor] | None:
        """Some u and vjp(u) with the graph between them; None where that graph is missing, in whole or in part.

        Autograd reports a missing second derivative with a RuntimeError, or not at all where a backward pass detaches;
        <u, J v> = <J'u, v> on random vectors tells.
        """
        try:
            with torch.enable_grad():
                zero = torch.zeros(self.target.shape, dtype=self.target.dtype, device=self.device, requires_grad=True)
                (pulled,) = torch.autograd.grad([self.target.edge], [self.source.edge], [zero], create_graph=True)
            u, v = (_normal(site, self.device) for site in (self.target, self.source))
            image, transposed = _push(zero, pulled, v), self.vjp(u)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:
            return None
        gap = ((u.double() * image.double()).sum() - (transposed.double() * v.double()).sum()).abs()
        size = transposed.double().norm()
        tolerance = torch.finfo(self.target.dtype).eps ** 0.75 * size * v.double().norm()
        holds = gap <= tolerance or gap <= 8 * self._coarsest_unit() * size  # the latter walks through the graph
        return (zero, pulled) if holds else None

    def _coarsest_unit(self) -> float:
        """Relative rounding error of the coarsest type between the sites: a forward may convert and convert back."""
        nodes = PathGraph(self.source.edge, self.target.edge).order
        dtypes = {data.dtype for node in nodes for data in node._input_metadata}
        return max(torch.finfo(dtype).eps for dtype in dtypes)

    @property
    def is_differentiable_twice(self) -> bool:
        """Whether products with the Jacobian itself go through autograd, as those with its transpose do."""
        return self._pullback is not None

    def _rmatmat(self, block: Tensor) -> Tensor:
        return self._columns(self.vjp, block, self.target, self.source)

    def _matmat(self, block: Tensor) -> Tensor:
        if not self.is_differentiable_twice:
            with full_precision(self.device):
                return self.dense() @ block
        return self._columns(self.jvp, block, self.source, self.target)

    def _columns(self, product, block: Tensor, taken: Site, given: Site) -> Tensor:
        """Apply `product` to the columns of `block`, ``copies`` of them at a time."""
        num_inputs, num_columns = self.shape[0], block.shape[2]
        result = block.new_empty(num_inputs, given.dim, num_columns)
        for start in range(0, num_columns, self.copies):
            part = block[:, :, start : start + self.copies]
            vectors = block.new_zeros(self.copies, num_inputs, taken.dim)
            vectors[: part.shape[2]] = part.permute(2, 0, 1)
            images = product(vectors.reshape(taken.shape)).reshape(self.copies, num_inputs, given.dim)
            result[:, :, start : start + self.copies] = images[: part.shape[2]].permute(1, 2, 0).to(block.dtype)
        return result

    def dense(self) -> Tensor:
        """Form the matrices by rows, or by columns where these are fewer and the second derivative exists."""
        _, out_dim, in_dim = self.shape
        if in_dim < out_dim and self._pullback is not None:
            return self._identity(self.jvp, self.source, self.target).mT
        return self._identity(self.vjp, self.target, self.source)

    def _identity(self, product, taken: Site, given: Site) -> Tensor:
        """Images of all unit vectors, (num_inputs, taken.dim, given.dim), without ever storing the unit vectors."""
        num_inputs = self.shape[0]
        result = torch.empty(num_inputs, taken.dim, given.dim, dtype=self.dtype, device=self.device)
        for start in range(0, taken.dim, self.copies):
            count = min(self.copies, taken.dim - start)
            units = torch.zeros(self.copies, num_inputs, taken.dim, dtype=taken.dtype, device=self.device)
            units[range(count), :, range(start, start + count)] = 1
            images = product(units.reshape(taken.shape)).reshape(self.copies, num_inputs, given.dim)
            result[:, start : start + count] = images[:count].transpose(0, 1)
        return result


def _push(zero: Tensor, pulled: Tensor, tangents: Tensor) -> Tensor:
    """Derivative of the linear map ``zero -> pulled``, transposed."""
    if not pulled.requires_grad:
        return torch.zeros_like(zero)
    (pushed,) = torch.autograd.grad([pulled], [zero], [tangents], retain_graph=True, materialize_grads=True)
    return pushed


def _normal(site: Site, device: torch.device) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(site.shape, generator=generator, dtype=torch.float64).to(dtype=site.dtype, device=device)
