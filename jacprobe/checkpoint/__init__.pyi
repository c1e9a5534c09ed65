from .building import build_model as build_model
from .building import load_model as load_model
from .contents import Checkpoint as Checkpoint
from .contents import LayerRow as LayerRow
from .reading import read_checkpoint as read_checkpoint
from .writing import save_model as save_model
