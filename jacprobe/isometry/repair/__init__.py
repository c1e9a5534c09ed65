"""Isometry on a fixed mask: the parts of `isometrize`, which work on stacks of matrices and know no model."""
