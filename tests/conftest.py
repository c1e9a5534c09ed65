"""Put this folder on the path, so that tests import ``oracles`` and ``architectures``."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
