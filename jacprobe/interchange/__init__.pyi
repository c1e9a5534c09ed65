from .contents import MaskFile as MaskFile
from .formats import FORMATS as FORMATS
from .formats import WRITABLE as WRITABLE
from .formats import Format as Format
from .reading import find_masks as find_masks
from .reading import read_mask_file as read_mask_file
from .reading import read_masks as read_masks
from .writing import write_masks as write_masks
