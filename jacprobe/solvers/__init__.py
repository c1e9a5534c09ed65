"""Singular values from linear operators: exact, bounded or estimated. Knows no networks."""
