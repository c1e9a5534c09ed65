"""Spectra of every kind, the functions that draw them, and their artists: for the tests of single spectra."""

import math

import made_up
import numpy as np
from matplotlib.patches import StepPatch

from jacprobe.plotting import (
    draw_ecdf,
    draw_inputs,
    draw_scree,
    draw_spectrum,
    ecdf_data,
    inputs_data,
    plot_ecdf,
    plot_inputs,
    plot_scree,
    plot_spectrum,
    scree_data,
    spectrum_curve,
    spectrum_data,
)
from jacprobe.theory.bands import Table
from jacprobe.theory.spectrallaw import SpectralLaw

DRAW = {"spectrum": draw_spectrum, "density": lambda s, **o: draw_spectrum(s, kind="density", **o),
        "scree": draw_scree, "ecdf": draw_ecdf, "inputs": draw_inputs}
PLOT = {"spectrum": plot_spectrum, "density": lambda s, **o: plot_spectrum(s, kind="density", **o),
        "scree": plot_scree, "ecdf": plot_ecdf, "inputs": plot_inputs}
DATA = {"spectrum": spectrum_data, "curve": spectrum_curve, "scree": scree_data, "ecdf": ecdf_data,
        "inputs": inputs_data}

RNG = np.random.default_rng(0)
FC1 = made_up.exact("fc1", np.sort(RNG.uniform(0.5, 1.5, (3, 40)))[:, ::-1].copy())
FC2 = made_up.exact("fc2", [[2.0, 1.0, 0.5, 1e-9, 0.0], [3.0, 1.5, 0.5, 0.25, 0.0]], zeros=1)
CONV = made_up.estimated("conv", [[[1.5, 1.0, 0.5], [1.4, 0.9, 0.4]]] * 2, [[[1, 3, 2], [2, 2, 2]]] * 2, zeros=2)
EDGES = made_up.bounded("edges", [[1.5, 0.9, 0.2], [1.6, 0.8, 0.2]], [[2.0, 1.0, 0.4], [2.0, 1.0, 0.4]])
TOP = made_up.bounded("top", [[1.5]], [[2.0]], dim=10, confidence=0.99)
ZERO = made_up.exact("zero", [[0.0, 0.0, 0.0]], zeros=3)
ONE = made_up.exact("one", [[1.0]])
MOMENTS = made_up.only_moments("moments")
GONE = made_up.missing(kind="layer")
CASES = {"exact": FC1, "zeros": FC2, "estimated": CONV, "bounded": EDGES, "only the largest": TOP, "all zero": ZERO,
         "one value": ONE, "moments": MOMENTS, "missing": GONE}


def uniform_law(low, high):
    """Return the law of values between `low` and `high` that are even in t = log s^2."""
    ends = 2 * math.log(low), 2 * math.log(high)
    return SpectralLaw((), (Table(np.linspace(*ends, 400), np.full(400, 1 / 400)),))


def labels(ax):
    return ax.get_legend_handles_labels()[1]


def steps(ax, label):
    (found,) = [patch for patch in ax.patches if isinstance(patch, StepPatch) and patch.get_label() == label]
    return found.get_data()


def line(ax, label):
    (found,) = [one for one in ax.lines if one.get_label() == label]
    return found


def gauge(ax):
    (strip,) = ax.child_axes
    return {label: [bar.get_height() for c in strip.containers if c.get_label() == label for bar in c]
            for label in ("zeros", "under floor")}, [text.get_text() for text in strip.texts]
