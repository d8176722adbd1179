"""The picture of a session: what is in it, and that it can be drawn."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import pytest

from hearout.errors import UsageError
from hearout.plot.picture import plot
from hearout.plot.timeline import Span, Timeline, arrange
from hearout.traces.records import Trace
from hearout.traces.replayer import replay
from tests.traces.test_replayer import ORDER, answered, make, result, voice


def session(*more: dict[str, object]) -> Trace:
    return make(*ORDER, answered(), {"t": 8.0, "end": True}, *more, source="a $5 test")


def timeline(trace: Trace) -> Timeline:
    return arrange(trace, replay(trace))


def test_lanes() -> None:
    trace = session({"t": 1.8, "stt": result("to coffees please", 1.0, final=False)})
    (lanes,) = timeline(trace).lanes
    assert lanes.voice == [Span(1.0, 1.9)]
    (hangover,) = lanes.hangover
    assert (hangover.start, hangover.stop) == pytest.approx((1.9, 2.1))
    # An interim word is shown where it first appears and where it is revised, not each time it is repeated.
    assert [word.label for word in lanes.interims] == ["two", "coffees", "to", "please"]
    assert [word.label for word in lanes.finals] == ["two", "coffees", "please."]
    assert [mark.kind for mark in lanes.results] == ["interim", "interim", "final", "answer"]
    ((sent, got),) = lanes.finalizes
    assert got == pytest.approx(sent + 0.25)
    (turn,) = lanes.turns
    assert (turn.number, turn.start) == (1, 1.0)
    assert lanes.audio_end == 8.0


def test_words_after_a_stall_are_drawn_when_they_were_spoken() -> None:
    trace = make(
        *voice(1.0, 1.9),
        {"t": 2.2, "stt": result("two coffees please.", 1.0, endpoint=True)},
        {"t": 2.6, "audio": "stalled", "heard": 2.4},
        # Ten seconds later audio goes on where it stopped.
        {"t": 12.6, "vad": "start", "audio": 2.5, "heard": 2.6},
        {"t": 13.5, "vad": "stop", "audio": 3.3, "heard": 3.5},
        {"t": 13.6, "stt": result("thank you.", 2.5, endpoint=True)},
    )
    (lanes,) = timeline(trace).lanes
    assert [round(word.start, 3) for word in lanes.finals] == [1.0, 1.3, 1.6, 12.5, 12.8]
    assert [(round(span.start, 3), round(span.stop, 3)) for span in lanes.voice] == [(1.0, 1.9), (12.5, 13.3)]
    assert [(round(span.start, 3), round(span.stop, 3)) for span in lanes.stalls] == [(2.6, 12.5)]


def test_outages_and_what_goes_on_at_the_end() -> None:
    trace = make(
        {"t": 1.0, "link": "lost"},
        {"t": 2.0, "link": "restored", "audio": 0.5},
        {"t": 3.0, "agent": "started"},
        {"t": 4.0, "link": "lost"},
        {"t": 6.0, "end": True},
    )
    drawn = timeline(trace)
    assert drawn.outages == [Span(1.0, 2.0), Span(4.0, 6.0)]
    assert drawn.lanes[0].agent == [Span(3.0, 6.0)]


def width_and_height(path: Path) -> tuple[int, int]:
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def test_a_short_session_is_one_picture(tmp_path: Path) -> None:
    trace = session({"t": 3.0, "agent": "started"}, {"t": 5.0, "link": "lost"}, {"t": 6.0, "app": "force_end"})
    assert plot(trace, replay(trace), tmp_path / "a.png") == [tmp_path / "a.png"]
    width, height = width_and_height(tmp_path / "a.png")
    assert width == 1600
    two = make(*ORDER, *voice(2.0, 3.0, channel=1), channels=2, source="日本語")
    plot(two, replay(two), tmp_path / "b.png")
    assert width_and_height(tmp_path / "b.png")[1] > 1.5 * height


def test_a_long_session_is_drawn_page_by_page(tmp_path: Path) -> None:
    trace = make(*ORDER, answered(), *voice(44.0, 47.0), {"t": 70.0, "end": True})
    assert [path.name for path in plot(trace, replay(trace), tmp_path / "a.png")] == ["a-1.png", "a-2.png", "a-3.png"]
    assert [path.name for path in plot(trace, replay(trace), tmp_path / "b.png", start=40, stop=50)] == ["b.png"]


def test_bad_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = session()
    with pytest.raises(UsageError, match=r"must end in .png"):
        plot(trace, replay(trace), tmp_path / "a.gif")
    with pytest.raises(UsageError, match="nothing to draw from 5 to 2 seconds"):
        plot(trace, replay(trace), tmp_path / "a.png", start=5, stop=2)
    with pytest.raises(UsageError, match="name a part with --from and --to"):
        plot(trace, replay(trace), tmp_path / "a.png", stop=1e6)
    with pytest.raises(UsageError, match="cannot write the picture: No such file"):
        plot(trace, replay(trace), tmp_path / "missing" / "a.png")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match=r"pip install 'hearout\[plot\]'"):
        plot(trace, replay(trace), tmp_path / "a.png")
