from .names import model_names as model_names
from .registry import build as build
