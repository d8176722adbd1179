"""``python -m turnwise``."""

import sys

from turnwise.cli import main

sys.exit(main())
