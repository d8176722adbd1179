"""``python -m hearout``."""

import sys

from hearout.cli import main

sys.exit(main())
