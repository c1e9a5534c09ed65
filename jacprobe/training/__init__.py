"""Train dense and masked networks as the paper does, or by a protocol that never looks at the test data."""

from jacprobe.training.data import split_validation
from jacprobe.training.run import TrainingRun
from jacprobe.training.settings import PROTOCOLS, Training
from jacprobe.training.train import train

__all__ = ["PROTOCOLS", "Training", "TrainingRun", "split_validation", "train"]
