"""Model and data in, scores and masks out."""

import lazy_loader

from jacprobe.pruning.controls import Control, controls
from jacprobe.pruning.prune import prune, scores
from jacprobe.pruning.rewinding import Rewound, prune_iteratively

# reports need pandas and SciPy, which pruning does not
__getattr__, _, _ = lazy_loader.attach(
    __name__, submod_attrs={"effective": ["effective_masks"], "report": ["MaskReport", "mask_report"]})

__all__ = ["Control", "MaskReport", "Rewound", "controls", "effective_masks", "mask_report", "prune",
           "prune_iteratively", "scores"]
