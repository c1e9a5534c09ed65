from . import sweeping as sweeping
from .paper.reproduction import paper_figure as paper_figure
from .paper.reproduction import paper_table as paper_table
from .paper.result import PaperResult as PaperResult
from .sweeping import Cell as Cell
from .sweeping import Outcome as Outcome
from .sweeping import Store as Store
from .sweeping import run_cells as run_cells
