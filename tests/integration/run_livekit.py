"""Test hearout inside LiveKit Agents, in an environment of its own.

    python tests/integration/run_livekit.py [--cache DIR] [--compare] [PYTEST ARGUMENT...]

Installs hearout and LiveKit Agents there the first time (0.4 GB). ``--compare``: in place of the tests, see
``tests/integration/livekit/compare.py``, to which the other arguments then go.
"""

from __future__ import annotations

import sys

from environment import ROOT, main

# LiveKit's Deepgram plugin is to compare with, and all plugins are to test the local server with
# (tests/integration/servers).
NEEDED = (
    "-e",
    f"{ROOT}[local]",
    "livekit-agents==1.8.*",
    "livekit-plugins-assemblyai==1.8.*",
    "livekit-plugins-deepgram==1.8.*",
    "livekit-plugins-elevenlabs==1.8.*",
    "livekit-plugins-soniox==1.8.*",
    "pytest>=8.3",
    "pytest-xdist",
)

if __name__ == "__main__":
    # The tests wait more than they work, so two files run at a time.
    sys.exit(main("LiveKit Agents", "livekit", NEEDED, ("-n", "2", "--dist", "loadfile")))
