"""Voice activity detection: PCM in, speech start and stop out, on the audio clock.

Two parts. A *detector* says of one short frame whether it is speech: `WebRtcDetector`, `SileroVad`, and anything else
with the shape of `VoiceDetector`. A `SpeechGate` smooths those verdicts into edges. Both are functions of the samples
alone: no clock, and the same samples give the same edges however they are cut.

Every number was chosen on the benchmark: ``python -m benchmarks.vad``.
"""

from hearout.vad.base import VoiceDetector
from hearout.vad.gate import SpeechEdge, SpeechGate
from hearout.vad.silero import SileroVad, silero_gate
from hearout.vad.webrtc import WebRtcDetector, webrtc_gate

__all__ = [
    "SileroVad",
    "SpeechEdge",
    "SpeechGate",
    "VoiceDetector",
    "WebRtcDetector",
    "silero_gate",
    "webrtc_gate",
]
