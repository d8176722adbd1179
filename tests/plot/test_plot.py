"""The picture of a session: what is in it, and that it can be drawn."""

from __future__ import annotations

import itertools
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from hearout.errors import UsageError
from hearout.plot.canvas import Canvas
from hearout.plot.picture import plot
from hearout.plot.timeline import Moment, Span, Timeline, arrange
from hearout.plot.waveform import Waveform
from hearout.traces.reader import read_trace
from hearout.traces.records import Trace
from hearout.traces.replayer import replay
from tests.kit.paths import CASES
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


def test_a_turn_that_another_goes_on_from_is_a_cutoff() -> None:
    trace = read_trace(CASES / "continues_without_an_answer.jsonl")
    first, second, *_ = timeline(trace).lanes[0].turns
    assert second.ended is not None
    assert first.ended is not None
    assert (first.cut, second.cut) == (True, False)
    assert Moment(first.ended.at, "cutoff") in first.marks
    answered = timeline(read_trace(CASES / "continues_not_after_an_answer.jsonl"))
    assert not any(turn.cut for turn in answered.lanes[0].turns)


def test_what_a_bot_did_is_drawn(drawn: list[Canvas], tmp_path: Path) -> None:
    trace = make(
        *ORDER,
        answered(),
        {"t": 2.5, "bot": "committed", "text": "two coffees\nplease"},
        {"t": 7.0, "bot": "interrupted"},
        {"t": 9.5, "bot": "committed", "text": "and I have said very much more than has room there " * 9, "channel": 1},
        {"t": 9.6, "bot": "committed", "text": "", "channel": 1},
        channels=2,
    )
    shown = timeline(trace)
    assert shown.stop == 9.6
    assert shown.lanes[0].bot == [Moment(2.5, "committed: two coffees please"), Moment(7.0, "interrupted")]
    plot(trace, replay(trace), tmp_path / "a.png")
    found = [label for label, _ in labels(drawn[0])]
    assert {"bot", "committed: two coffees please", "interrupted", "committed:"} <= set(found)
    assert [label for label in found if label.startswith("committed: and I have") and label.endswith("…")]


def test_a_waveform_is_the_peaks_of_each_channel() -> None:
    waveform = Waveform(16_000, 2)
    samples = np.zeros((480, 2), "<i2")
    samples[5] = 16384, -8192
    samples[330] = -32768, 32767
    data = samples.tobytes()
    for at in range(0, len(data), 100 * 4):  # chunks that are no whole bins
        waveform.feed(data[at : at + 400])
    assert waveform.peaks(0) == [0.5, 0, 1]
    assert waveform.peaks(1) == pytest.approx([0.25, 0, 1], abs=1e-4)


def test_a_waveform_is_drawn_when_it_was_heard() -> None:
    trace = make(
        *voice(1.0, 1.9),
        {"t": 2.6, "audio": "stalled", "heard": 2.4},
        # Ten seconds later audio goes on where it stopped.
        {"t": 12.6, "vad": "start", "audio": 2.5, "heard": 2.6},
        {"t": 13.6, "end": True},
    )
    waveform = Waveform(16_000, 1)
    waveform.feed(np.full(16_000 * 3, 1000, "<i2").tobytes())
    (lanes,) = arrange(trace, replay(trace), waveform).lanes
    times = [at for at, _ in lanes.waveform]
    assert times[:3] == pytest.approx([0, 0.01, 0.02])
    assert times[249:251] == pytest.approx([2.49, 12.5])
    assert timeline(trace).lanes[0].waveform == []


# -- labels ----------------------------------------------------------------------------------------------------


def labels(canvas: Canvas) -> list[tuple[str, Bbox]]:
    """All text of a picture that was drawn, and where it is, in pixels from the lower left corner."""
    figure, axes = canvas.axes.figure, canvas.axes
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    ticks = [label for label in axes.get_xticklabels() if canvas.start <= label.get_position()[0] <= canvas.stop]
    texts = [*axes.texts, *figure.texts, *ticks, *(text for legend in figure.legends for text in legend.get_texts())]
    return [(text.get_text(), Text.get_window_extent(text, renderer)) for text in texts if text.get_text()]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Canvas]:
    """The canvas of each picture that is drawn."""
    canvases = []
    save = Canvas.save

    def keep(canvas: Canvas, title: str, path: Path) -> None:
        save(canvas, title, path)
        canvases.append(canvas)

    monkeypatch.setattr(Canvas, "save", keep)
    return canvases


def crowded() -> Trace:
    """Much at one time, and at both edges of the pages."""
    records: list[dict[str, Any]] = []
    for n in range(36):
        at = 1.9 * n
        records += [*voice(at, at + 0.4), {"t": at + 0.5, "stt": result("yes indeed.", at, endpoint=True)}]
        records += [
            {"t": at + 0.6, "app": "hold"},
            {"t": at + 0.7, "app": "release"},
            {"t": at + 0.9, "app": "force_end"},
            {"t": at + 0.9, "bot": "interrupted"},
            {"t": at + 0.9, "bot": "committed", "text": "Yes, indeed, that is what I said."},
        ]
    for at in (0.5, 29.8, 59.0):
        records += [{"t": at, "link": "lost"}, {"t": at + 0.3, "link": "restored", "audio": at}]
        records += [{"t": at, "agent": "started"}, {"t": at + 0.2, "agent": "stopped"}]
    records += [{"t": 68.9, "audio": "stalled"}, {"t": 69.5, "end": True}]
    return make(*records, channels=2, source="everything at once, " * 20)


@pytest.mark.parametrize(
    "name",
    [
        None,
        "continues_without_an_answer",
        "early_goes_on_after_the_end",
        "continues_over_a_short_mute",
    ],
)
def test_no_label_is_cut_by_the_edge_or_another(name: str | None, drawn: list[Canvas], tmp_path: Path) -> None:
    trace = crowded() if name is None else read_trace(CASES / f"{name}.jsonl")
    waveform = Waveform(16_000, trace.header.channels)
    waveform.feed(np.random.RandomState(1).randint(-9000, 9000, 64_000 * trace.header.channels, "<i2").tobytes())
    plot(trace, replay(trace), tmp_path / "a.png", waveform=waveform)
    assert len(drawn) == (3 if name is None else 1)
    for number, canvas in enumerate(drawn, 1):
        width, height = width_and_height(tmp_path / (f"a-{number}.png" if len(drawn) > 1 else "a.png"))
        found = labels(canvas)
        assert {"seconds", "audio", "turns", "final words"} <= {label for label, _ in found}
        for label, box in found:
            assert box.x0 >= 0, label
            assert box.y0 >= 0, label
            assert box.x1 <= width, label
            assert box.y1 <= height, label
        for (label, box), (other, its) in itertools.combinations(found, 2):
            # Lines of text may touch: the extent has room for letters that stand out.
            sideways = min(box.x1, its.x1) - max(box.x0, its.x0)
            upwards = min(box.y1, its.y1) - max(box.y0, its.y0)
            assert sideways <= 0 or upwards <= 3, (label, other)


def test_cutoffs_are_in_the_legend(drawn: list[Canvas], tmp_path: Path) -> None:
    for name in ("continues_without_an_answer", "continues_not_after_an_answer"):
        trace = read_trace(CASES / f"{name}.jsonl")
        plot(trace, replay(trace), tmp_path / "a.png")
    cut, whole = ({label for label, _ in labels(canvas)} for canvas in drawn)
    assert "cutoff: the next turn goes on from this one" in cut
    assert "continues 1" in cut
    assert not any("cutoff" in label or "continues" in label for label in whole)


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
    assert width_and_height(tmp_path / "b.png")[1] > 1.4 * height


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
