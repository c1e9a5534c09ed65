"""A network as a graph of units, in which paths are walked; knows nothing of autograd, nor of patterns."""

import itertools

import numpy as np
import scipy.sparse
import torch

from jacprobe.masks import Masks


class Graph:
    """Edges between units, each with the parameter entry that it uses, or None."""

    def __init__(self, masks):
        self.masks, self.edges, self.num_units = masks, [], 0

    def units(self, *shape):
        first, self.num_units = self.num_units, self.num_units + int(np.prod(shape))
        return np.arange(first, self.num_units).reshape(shape)

    def wire(self, source, target, entry=None):
        if entry is None or entry[0] not in self.masks or self.masks[entry[0]][entry[1]]:
            self.edges.append((int(source), int(target), entry))

    def linear(self, sources, name, out):
        targets = self.units(out)
        for i, j in itertools.product(range(out), range(sources.size)):
            self.wire(sources.flat[j], targets[i], (name, (i, j)))
        return targets

    def conv(self, sources, name, module):
        """Every tap of every filter at every place of the image, padding left out."""
        (channels, height, width), (stride, padding, dilation) = sources.shape, (
            module.stride[0], module.padding[0], module.dilation[0])
        reach = dilation * (module.kernel_size[0] - 1) + 1
        sides = [(side + 2 * padding - reach) // stride + 1 for side in (height, width)]
        targets = self.units(module.out_channels, *sides)
        per_in, per_out = channels // module.groups, module.out_channels // module.groups
        for out, y, x, c, ky, kx in itertools.product(*map(range, (*targets.shape, per_in, *module.kernel_size))):
            row, column = y * stride + ky * dilation - padding, x * stride + kx * dilation - padding
            if 0 <= row < height and 0 <= column < width:
                source = sources[out // per_out * per_in + c, row, column]
                self.wire(source, targets[out, y, x], (name, (out, c, ky, kx)))
        return targets

    def pool(self, sources, kernel, stride, sides):
        channels, height, width = sources.shape
        targets = self.units(channels, *sides)
        for c, y, x, ky, kx in itertools.product(*map(range, (*targets.shape, kernel, kernel))):
            if y * stride + ky < height and x * stride + kx < width:
                self.wire(sources[c, y * stride + ky, x * stride + kx], targets[c, y, x])
        return targets

    def add(self, first, second):
        targets = self.units(*first.shape)
        for sources in (first, second):
            for source, target in zip(sources.flat, targets.flat, strict=True):
                self.wire(source, target)
        return targets

    def effective(self, inputs, outputs):
        """Entries on an edge whose start is reached from an input and whose end reaches an output."""
        starts, ends = (np.array([edge[side] for edge in self.edges], dtype=int) for side in (0, 1))
        matrix = scipy.sparse.csr_array((np.ones(len(starts)), (starts, ends)), shape=(self.num_units,) * 2)
        reached, useful = _reached(matrix, inputs.flat), _reached(matrix.T.tocsr(), outputs.flat)
        found = {name: torch.zeros_like(mask) for name, mask in self.masks.items()}
        for start, end, entry in self.edges:
            if entry is not None and entry[0] in found and start in reached and end in useful:
                found[entry[0]][entry[1]] = True
        return Masks(found)


def _reached(matrix, starts):
    search = scipy.sparse.csgraph.breadth_first_order
    return set().union(*(search(matrix, int(start), return_predecessors=False).tolist() for start in starts))


def random_masks(model, density, seed=0, kinds=("weight",)):
    generator = torch.Generator().manual_seed(seed)
    return Masks({name: torch.rand(parameter.shape, generator=generator) < density
                  for name, parameter in model.named_parameters() if name.rpartition(".")[2] in kinds})
