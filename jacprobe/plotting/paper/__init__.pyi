from .curves import plot_paper_curves as plot_paper_curves
from .masks import plot_paper_masks as plot_paper_masks
from .sculpting import plot_paper_sculpting as plot_paper_sculpting
