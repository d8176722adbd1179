"""What is assumed of the people, the line and the network of simulated conversations: every number, and its source.

"measured" is what the project measured itself; "assumed" has no source and is there so that the case occurs at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from hearout_policies.text import Ending

__all__ = ["ENDINGS", "SCENARIOS", "EndingShare", "LogNormal", "Network", "Scenario", "Transcriber", "VoiceErrors"]


@dataclass(frozen=True, slots=True)
class LogNormal:
    """``shift + exp(mu + sigma * z)`` seconds (or words), no more than ``cap``; z is standard normal."""

    mu: float
    sigma: float
    shift: float = 0.0
    cap: float = float("inf")


@dataclass(frozen=True, slots=True)
class EndingShare:
    """How often a text ends so before a hold and at the end of a turn, and how long such a hold is (seconds)."""

    holds: float
    ends: float
    median: float
    p90: float


#: 9,845 holds and 5,117 ends of turn of 27 hand-timed interviews (CORAAL).
ENDINGS: Mapping[Ending, EndingShare] = {
    Ending.QUESTION: EndingShare(0.016, 0.159, 0.55, 1.37),
    Ending.PLAIN: EndingShare(0.135, 0.221, 0.47, 1.11),
    Ending.STOP: EndingShare(0.329, 0.454, 0.62, 1.53),
    Ending.CONJUNCTION: EndingShare(0.141, 0.068, 0.53, 1.30),
    Ending.FILLER: EndingShare(0.089, 0.031, 0.71, 1.82),
    Ending.FUNCTION_WORD: EndingShare(0.101, 0.030, 0.49, 1.14),
    Ending.CUT_OFF: EndingShare(0.075, 0.018, 0.44, 1.13),
    Ending.COMMA: EndingShare(0.115, 0.019, 0.48, 1.13),
}

#: Pauses of the interviews, for which the table above holds.
INTERVIEW_PAUSE = LogNormal(-0.571, 0.658, cap=5.0)


@dataclass(frozen=True, slots=True)
class VoiceErrors:
    """How the local VAD errs. Seconds and shares.

    Attributes:
        late_end: the end of speech is dated so much too late. Measured with `SpeechGate` on a recorded telephone
            call: median 0.02, p90 0.17, p99 0.54.
        early_onset: the onset is dated so much too early; likewise, median 0.01.
        onset, hangover, suspicion, pause: of the gate, its defaults; 0: it tells of none. 198 of 201 starts on
            recordings came with one; here all do.
        suspected: suspicions without a start, a minute of silence. Measured on the call: 35 in 4.8 min; a little less
            on other recordings, none in steady noise.
        missed: share of the stretches of speech not heard. None of 95 was on the call.
        false: stretches of "speech" where there is none, a minute. Measured on the call: 19 in 8.2 min.
        stuck: share of the ends of speech after which noise keeps the VAD open for a while (assumed).
        stuck_for: mean of that time, exponential (assumed).
    """

    late_end: LogNormal = LogNormal(-3.912, 1.5, cap=0.6)
    early_onset: LogNormal = LogNormal(-4.605, 1.2, cap=0.3)
    onset: float = 0.1
    hangover: float = 0.2
    suspicion: float = 0.04
    pause: float = 0.1
    suspected: float = 7.3
    missed: float = 0.0
    false: float = 2.0
    stuck: float = 0.0
    stuck_for: float = 1.5

    @classmethod
    def none(cls) -> VoiceErrors:
        """A VAD that knows at once."""
        never = LogNormal(-50.0, 0.0)
        return cls(never, never, onset=0.0, hangover=0.0, suspicion=0.0, pause=0.0, suspected=0.0, false=0.0)


@dataclass(frozen=True, slots=True)
class Network:
    """The way between engine and transcriber, one direction, seconds. In order, as TCP is.

    Attributes:
        base: least delay.
        jitter: on top of it.
        stalls: a minute: nothing gets through for a while (a lost packet), then all at once.
        stall_for: longest of those times, uniform from a third of it.
    """

    base: float = 0.03
    jitter: LogNormal = LogNormal(-5.3, 1.0, cap=0.2)
    stalls: float = 0.0
    stall_for: float = 0.6


@dataclass(frozen=True, slots=True)
class Transcriber:
    """How Deepgram v1 hears. Options of a connection have Deepgram's names.

    Attributes:
        endpointing_ms: silence before ``speech_final``; None: off.
        utterance_end_ms: word gap before UtteranceEnd; None: off.
        smart_format: withholds the final result of digits at the end for up to 3 s, unless Finalize asks.
        interim_every: seconds of audio between interim results; captured.
        finalise: from Finalize to its answer over the network of "agent": nova-3, Pipecat's stt-benchmark, 1000
            clips: 0.247 median, 0.326 p99. Finals after an endpoint take as long.
        interim: from the audio to the interim result on the way back (assumed; 0.0-0.15 captured in all).
        segment: a final result without an endpoint comes after so much talk (captured: 2.3-5 s).
        empty_every: seconds of silence between empty finals; captured: 3.5-5.
        endpoint_missed: share of the silences without ``speech_final``: 6,785 of 65,026 turns in production.
        unanswered: share of Finalizes without an answer (documented to happen; the share is assumed). One without
            new audio never is answered (captured).
    """

    endpointing_ms: int | None = 300
    utterance_end_ms: int | None = 1000
    smart_format: bool = False
    interim_every: float = 1.0
    finalise: LogNormal = LogNormal(-1.398, 0.115)
    interim: LogNormal = LogNormal(-2.303, 0.25)
    segment: tuple[float, float] = (3.0, 5.0)
    empty_every: float = 4.0
    endpoint_missed: float = 0.104
    unanswered: float = 0.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """All that a conversation is sampled from.

    Attributes:
        pause: length of a hold, seconds.
        holds_per_word: chance of a hold behind a word that is not a turn's last.
        words: of a turn.
        rate: words per second of speech; drawn once a turn.
        numbers: share of the turns that read out a number in groups (assumed).
        asks: the application says what it has asked for, where that is a number.
        verbatim: "um" and cut-off words are written as said. Deepgram's default is to leave "um" out, and it
            writes whole words.
        ear: how well an ear tells the ends of turns from the pauses within them, as area under the ROC curve; None:
            there is no ear. Measured (`benchmarks.people`): Smart Turn v3.2 has 0.84 over recordings of several kinds,
            0.75 to 0.81 within one kind.
    """

    name: str
    pause: LogNormal = LogNormal(-2.086, 1.469, shift=0.2, cap=5.0)
    holds_per_word: float = 0.1094
    words: LogNormal = LogNormal(1.973, 1.427, cap=120)
    rate: LogNormal = LogNormal(1.342, 0.254)
    numbers: float = 0.04
    asks: bool = False
    verbatim: bool = False
    voice: VoiceErrors = field(default_factory=VoiceErrors)
    network: Network = field(default_factory=Network)
    transcriber: Transcriber = field(default_factory=Transcriber)
    ear: float | None = None


_AGENT = Scenario("agent")

#: By name. "agent": pauses, and 1.76 holds a turn, as people have who talk to an agent (eot-bench EN); turn lengths
#: and rates of CORAAL. "hesitant": pauses of the interviews, 2.0 holds a turn. The others are "agent" with a bad line
#: (shares assumed), and with a network of 2 x 150 ms that stalls.
SCENARIOS: Mapping[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        _AGENT,
        replace(_AGENT, name="hesitant", pause=replace(INTERVIEW_PAUSE, cap=5.0), holds_per_word=0.1243),
        replace(
            _AGENT,
            name="noisy line",
            voice=VoiceErrors(missed=0.05, false=6.0, suspected=22.0, stuck=0.15),
            transcriber=Transcriber(endpoint_missed=0.3, unanswered=0.02),
        ),
        replace(_AGENT, name="slow network", network=Network(0.15, LogNormal(-3.5, 1.0, cap=0.5), stalls=3.0)),
    )
}
