"""Test hearout inside Pipecat, in an environment of its own.

    python tests/integration/run_pipecat.py [--cache DIR] [--compare] [PYTEST ARGUMENT...]

Installs hearout and Pipecat there the first time (0.5 GB). ``--compare``: in place of the tests, see
``tests/integration/pipecat/compare.py``, to which the other arguments then go.
"""

from __future__ import annotations

import sys

from environment import ROOT, main

# The extras, and ElevenLabs' own client, are for the service and the voice detection to compare with, and for what the
# local server is tested with (tests/integration/servers).
NEEDED = (
    "-e",
    f"{ROOT}[local]",
    "pipecat-ai[assemblyai,deepgram,elevenlabs,openai,silero,soniox]==1.14.*",
    "elevenlabs>=2.78",
    "pytest>=8.3",
)

if __name__ == "__main__":
    sys.exit(main("Pipecat", "pipecat", NEEDED))
