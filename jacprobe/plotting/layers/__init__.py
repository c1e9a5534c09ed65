"""Figures of all layers beside each other, each with its whole distribution."""
