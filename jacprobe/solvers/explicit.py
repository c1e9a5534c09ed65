"""Products of explicit matrices in place of convolutions: whole, or as parts that ignore each other."""

from __future__ import annotations

from jacprobe.linop import Convolution, Diagonal, LinearMap, LinearOperator, Matrix, Product, Selection

_EXPLICIT = (Matrix, Diagonal, Selection)


def is_explicit(operator: LinearOperator) -> bool:
    """Whether `operator` is a product of matrices, diagonals, selections, convolutions and averages."""
    return isinstance(operator, Product) and all(
        isinstance(factor, (*_EXPLICIT, Convolution, LinearMap)) for factor in operator.factors)


def matrix_bytes(product: Product) -> float:
    """Return the memory of the explicit matrices that take the place of convolutions, averages and copies."""
    if _is_pointwise(product) or common_copies(product) > 1:
        return 0.0
    dense = [f for f in product.factors if isinstance(f, (Convolution, LinearMap)) or _has_copies(f)]
    groups = _groups(product)
    return sum(3.0 * f.dtype.itemsize * f.shape[1] * f.shape[2] / groups for f in dense)


def explicit_parts(product: Product) -> list[tuple[Product, int]]:
    """Return products of explicit matrices whose singular values together are those of `product`, and their copies.

    A product with so many copies acts on that many equal parts, which count as so many more inputs. Pointwise
    convolutions act on every pixel by itself, the groups of a convolution on their channels by themselves.
    """
    if _is_pointwise(product):
        return [_pixels_first(product)]
    if _groups(product) > 1:
        return [(part, 1) for part in _by_group(product)]
    copies = common_copies(product)
    if copies > 1:
        return [(_split(product, copies), copies)]
    return [(Product([_explicit(factor) for factor in product.factors]), 1)]


def num_parts(product: Product) -> int:
    """Return how many parts of equal size the explicit products fall into."""
    return common_copies(product) * _groups(product)


def common_copies(product: LinearOperator) -> int:
    """Return the number of equal parts on which every matrix of a product acts in the same way, else 1."""
    if not isinstance(product, Product):
        return 1
    if _is_pointwise(product):
        return next(f.copies for f in product.factors if isinstance(f, Convolution))
    if not all(isinstance(factor, (Matrix, Diagonal)) for factor in product.factors):
        return 1
    copies = {factor.copies for factor in product.factors if isinstance(factor, Matrix)}
    return copies.pop() if len(copies) == 1 else 1


def _has_copies(factor: LinearOperator) -> bool:
    return isinstance(factor, Matrix) and factor.copies > 1


def _explicit(factor: LinearOperator) -> LinearOperator:
    if isinstance(factor, _EXPLICIT) and not _has_copies(factor):
        return factor
    if not hasattr(factor, "explicit"):  # the same factor comes back for every chunk of inputs
        factor.explicit = Matrix(factor.dense()[0])
    return factor.explicit


def _is_pointwise(product: Product) -> bool:
    convolutions = [f for f in product.factors if isinstance(f, Convolution)]
    return bool(convolutions) and all(
        isinstance(f, Diagonal) or (isinstance(f, Convolution) and f.is_pointwise and f.groups == 1)
        for f in product.factors) and all(set(f.stride) == {1} for f in convolutions)


def _pixels_first(product: Product) -> tuple[Product, int]:
    """Order every vector by pixels, then channels: a pointwise convolution is one matrix for every pixel."""
    copies, factors = common_copies(product), []
    for factor in product.factors:
        if isinstance(factor, Diagonal):
            entries = factor.entries.expand(product.shape[0], -1).unflatten(1, (-1, copies))
            factors.append(Diagonal(entries.transpose(1, 2).flatten(0, 1)))
        else:
            if not hasattr(factor, "of_a_pixel"):
                factor.of_a_pixel = Matrix(factor.pointwise_matrices[0])
            factors.append(factor.of_a_pixel)
    return Product(factors), copies


def _groups(product: Product) -> int:
    """The groups of a convolution that stands alone among diagonals, else 1."""
    others = [f for f in product.factors if not isinstance(f, Diagonal)]
    return others[0].groups if len(others) == 1 and isinstance(others[0], Convolution) else 1


def _by_group(product: Product) -> list[Product]:
    groups, parts = _groups(product), []
    convolution = next(f for f in product.factors if isinstance(f, Convolution))
    if not hasattr(convolution, "explicit_groups"):
        convolution.explicit_groups = [Matrix(block) for block in convolution.dense_blocks()]
    for group, block in enumerate(convolution.explicit_groups):
        factors: list[LinearOperator] = []
        for factor in product.factors:
            is_matrix = isinstance(factor, Convolution)
            factors.append(block if is_matrix else Diagonal(factor.entries.chunk(groups, dim=1)[group]))
        parts.append(Product(factors))
    return parts


def _split(product: Product, copies: int) -> Product:
    """A product that acts on `copies` parts separately, as so many times more inputs."""
    num_inputs = product.shape[0]
    parts: list[LinearOperator] = []
    for factor in product.factors:
        if isinstance(factor, Matrix):
            parts.append(factor.one_copy)
        else:
            entries = factor.entries.expand(num_inputs, -1)
            parts.append(Diagonal(entries.reshape(num_inputs * copies, -1)))
    return Product(parts)
