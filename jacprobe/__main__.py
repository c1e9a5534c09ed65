"""``python -m jacprobe``."""

import sys

from jacprobe.cli import main

sys.exit(main())
