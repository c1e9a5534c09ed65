"""Scores and masks of a small network, and the artists that show them."""

import torch
from matplotlib.patches import StepPatch

from jacprobe.masks import Masks


def drawn(seed=0, **shapes):
    generator = torch.Generator().manual_seed(seed)
    return {name.replace("_", "."): torch.randn(shape, generator=generator).abs() ** 3 * 1e-5
            for name, shape in shapes.items()}


SCORES = drawn(fc1_weight=(30, 20), fc2_weight=(20, 30), fc3_weight=(10, 20)) | {"fc1.bias": torch.zeros(30)}
CUT = 1e-5
MASKS = Masks({name: score >= CUT for name, score in SCORES.items()})


def outlines(ax, column="share"):
    return [p for p in ax.patches if isinstance(p, StepPatch) and p.get_label().endswith(column)]


def vertical_lines(ax):
    return [line.get_xdata()[0] for line in ax.lines if len(set(line.get_xdata())) == 1]


def strip(ax, column):
    (found,) = [child for child in ax.child_axes if child.get_label() == column]
    return found


def bar_widths(ax, column):
    (bars,) = [c for c in strip(ax, column).containers if c.get_label() == column]
    return [bar.get_width() for bar in bars]


def names(axis):
    return [tick.get_text() for tick in axis.get_ticklabels()]
