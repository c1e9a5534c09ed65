from .curves import plot_paper_curves as plot_paper_curves
from .entries import plot_paper_entries as plot_paper_entries
from .masks import plot_paper_masks as plot_paper_masks
from .sculpting import plot_paper_sculpting as plot_paper_sculpting
