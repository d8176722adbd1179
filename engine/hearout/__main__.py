"""``python -m hearout``."""

import sys

from hearout.cli.main import main

sys.exit(main())
