"""Figures of one number per layer, model or step: against depth, sparsity, training and another number."""
