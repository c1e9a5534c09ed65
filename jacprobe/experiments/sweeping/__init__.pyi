from .backends import BACKENDS as BACKENDS
from .cell import Cell as Cell
from .run import Outcome as Outcome
from .run import check_backend as check_backend
from .run import run_cells as run_cells
from .store import Store as Store
