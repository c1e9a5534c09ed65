"""The Jacobian between two sites as a linear operator on the autograd graph of one forward pass."""

from __future__ import annotations

import torch
from torch import Tensor

from jacprobe.linop import LinearOperator
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

    def __init__(self, source: Site, target: Site, num_inputs: int):
        self.source, self.target = source, target
        self.copies = source.shape[0] // num_inputs
        self.shape = (num_inputs, target.dim, source.dim)
        self.dtype = source.dtype
        self._pullback: tuple[Tensor, Tensor] | None = None

    @property
    def device(self) -> torch.device:
        return self.source.edge.node._input_metadata[self.source.edge.output_nr].device

    def vjp(self, cotangents: Tensor) -> Tensor:
        """(batch, *target shape) -> (batch, *source shape), every copy by itself."""
        (pulled,) = torch.autograd.grad(
            [self.target.edge], [self.source.edge], [cotangents.to(self.target.dtype)], retain_graph=True
        )
        return pulled

    def jvp(self, tangents: Tensor) -> Tensor:
        """(batch, *source shape) -> (batch, *target shape), as the derivative of the linear map u -> vjp(u)."""
        if self._pullback is None:
            with torch.enable_grad():
                zero = torch.zeros(self.target.shape, dtype=self.target.dtype, device=self.device, requires_grad=True)
                (pulled,) = torch.autograd.grad([self.target.edge], [self.source.edge], [zero], create_graph=True)
            self._pullback = (zero, pulled)
        zero, pulled = self._pullback
        if not pulled.requires_grad:  # the map is zero
            return torch.zeros_like(zero)
        (pushed,) = torch.autograd.grad([pulled], [zero], [tangents], retain_graph=True, materialize_grads=True)
        return pushed

    def _rmatmat(self, block: Tensor) -> Tensor:
        return self._columns(self.vjp, block, self.target, self.source)

    def _matmat(self, block: Tensor) -> Tensor:
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
        num_inputs, out_dim, in_dim = self.shape
        if in_dim < out_dim and self._has_jvp():
            return self._identity(self.jvp, self.source, self.target).mT
        return self._identity(self.vjp, self.target, self.source)

    def _has_jvp(self) -> bool:
        """Some operations have no second derivative; autograd says so with a RuntimeError only when it is asked."""
        try:
            self.jvp(torch.zeros(self.source.shape, dtype=self.source.dtype, device=self.device))
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:
            return False
        return True

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
