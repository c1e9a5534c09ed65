"""Figures of connection sensitivities and what masks keep of them."""
