"""Data sets in their standard file layouts, as standardised tensors."""

from jacprobe.data.loader import Data, data_names, load_data

__all__ = ["Data", "data_names", "load_data"]
