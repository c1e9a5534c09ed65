"""Linear operators batched over inputs: matrices, diagonals, selections, convolutions, and products and sums of them.

Shapes: an operator is ``(num_inputs, out_dim, in_dim)``; a factor that is the same for every input has
``num_inputs == 1`` and broadcasts. Blocks of vectors are columns, ``(num_inputs, dim, num_columns)``.
"""

from jacprobe.linop.convolution import Convolution
from jacprobe.linop.layout import channels_last
from jacprobe.linop.matrices import Diagonal, Matrix, Selection
from jacprobe.linop.operator import LinearOperator, Transposed
from jacprobe.linop.pooling import LinearMap
from jacprobe.linop.products import Product, Sum

__all__ = ["Convolution", "Diagonal", "LinearMap", "LinearOperator", "Matrix", "Product", "Selection", "Sum",
           "Transposed", "channels_last"]
