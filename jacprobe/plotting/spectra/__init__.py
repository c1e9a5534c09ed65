"""Figures of one segment, or a panel each: its spectrum, scree curve, distribution function and inputs."""
