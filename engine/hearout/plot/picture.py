"""Draw a session against time: voice, words, what the transcriber said and when, turns and their latency."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path

from hearout.errors import UsageError
from hearout.extras import needs_extra
from hearout.plot.canvas import BAND, GAP, INK, LINE, MUTED, ROW, Canvas, Symbol
from hearout.plot.timeline import Lanes, Moment, Span, Timeline, TurnSpan, arrange
from hearout.traces.records import Trace
from hearout.traces.replayer import Replayed
from hearout_policies.events import TurnCompleted

__all__ = ["check_picture", "plot"]

_PAGE = 30.0  # seconds on one picture; words stay legible
_LONGEST_PAGE = 36.0  # a session a little longer is not worth a second page
_MOST_PAGES = 100

_VOICE, _HANGOVER = "#38a3a5", "#c7e8e6"
_AGENT, _ALARM, _HINT = "#a78bbd", "#e5484d", "#b4236a"
_INTERIM, _FINAL, _ENDPOINT = "#8792a0", "#2563b8", "#8b3fd9"
_COMMAND, _TURN, _LATENCY = "#d9730d", "#2f8f4e", "#f2a93b"

_SYMBOLS = {
    "interim": Symbol("o", _INTERIM, True, "interim result"),
    "empty interim": Symbol("o", _INTERIM, False, "interim, empty"),
    "final": Symbol("s", _FINAL, True, "final result"),
    "empty final": Symbol("s", _FINAL, False, "final, empty"),
    "endpoint": Symbol("s", _ENDPOINT, True, "final, with endpoint"),
    "empty endpoint": Symbol("s", _ENDPOINT, False, "endpoint, empty"),
    "Finalize": Symbol("v", _COMMAND, True, "Finalize sent"),
    "answer": Symbol("D", _COMMAND, False, "answer to Finalize", 13),
    "SpeechStarted": Symbol(">", "#0e7490", False, "SpeechStarted"),
    "UtteranceEnd": Symbol("X", _HINT, True, "UtteranceEnd"),
    "turn started": Symbol(">", _HINT, True, "provider: turn started"),
    "turn eager end": Symbol("D", _HINT, False, "provider: eager end"),
    "turn resumed": Symbol("<", _HINT, False, "provider: turn resumed"),
    "turn ended": Symbol("D", _HINT, True, "provider: turn ended"),
    "predicted": Symbol("d", _TURN, False, "end predicted"),
    "resumed": Symbol("X", _ALARM, True, "prediction taken back"),
    "amended": Symbol("*", _TURN, True, "turn amended", 11),
}


def plot(
    trace: Trace,
    replayed: Replayed,
    path: str | Path,
    *,
    start: float | None = None,
    stop: float | None = None,
) -> list[Path]:
    """Draw a replayed trace.

    Args:
        path: the picture to write (.png, .svg or .pdf). A session longer than a page becomes several, with
            ``-1``, ``-2`` ... before the suffix.
        start, stop: draw this part only; seconds on the session clock.

    Returns:
        the files written.

    Raises:
        UsageError: as `check_picture`; the file cannot be written, or the part is empty or too long.
    """
    check_picture(path)
    path = Path(path)
    timeline = arrange(trace, replayed)
    pages = _pages(start or 0.0, timeline.stop + 0.4 if stop is None else stop)
    out = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # scripts that the font lacks show boxes
        for number, (first, last) in enumerate(pages, 1):
            target = path if len(pages) == 1 else path.with_stem(f"{path.stem}-{number}")
            canvas = Canvas(first, last, _SYMBOLS)
            _draw(canvas, timeline)
            try:
                canvas.save(trace.header.source or Path(trace.name).name, target)
            except OSError as error:
                raise UsageError(f"{target}: cannot write the picture: {error.strerror or error}") from None
            out.append(target)
    return out


def check_picture(path: str | Path) -> None:
    """Find out whether `plot` can work before there is anything to draw.

    Raises:
        UsageError: matplotlib is missing, or does not know this kind of file.
    """
    if Path(path).suffix not in (".png", ".svg", ".pdf"):
        raise UsageError(f"{path}: the name of a picture must end in .png, .svg or .pdf")
    with needs_extra("plot", "drawing"):
        import matplotlib  # noqa: F401


def _pages(start: float, stop: float) -> list[tuple[float, float]]:
    if stop <= start:
        raise UsageError(f"nothing to draw from {start:g} to {stop:g} seconds")
    if stop - start <= _LONGEST_PAGE:
        return [(start, stop)]
    count = math.ceil((stop - start) / _PAGE)
    if count > _MOST_PAGES:
        raise UsageError(
            f"{stop - start:.0f} seconds make {count} pictures, at most {_MOST_PAGES} are drawn; "
            "name a part with --from and --to"
        )
    return [(start + n * _PAGE, start + (n + 1) * _PAGE) for n in range(count)]


def _draw(canvas: Canvas, timeline: Timeline) -> None:
    for outage in timeline.outages:
        canvas.axes.axvspan(outage.start, outage.stop, color=_ALARM, alpha=0.10, lw=0, zorder=0.5)
        if canvas.shows(outage):
            canvas.y = 18.0
            canvas.text(max(outage.start, canvas.start), 8, "no connection", colour=_ALARM)
    for number, lanes in enumerate(timeline.lanes):
        if len(timeline.lanes) > 1:
            canvas.text(canvas.start, canvas.y + 9, f"channel {number}", weight="bold", dx=4)
            canvas.y += 20
        _draw_channel(canvas, lanes, timeline.stop)
        canvas.y += 10


def _draw_channel(canvas: Canvas, lanes: Lanes, stop: float) -> None:
    top = canvas.y
    if lanes.agent or lanes.calls:
        canvas.lane("agent, app", 24, lambda y: _draw_agent(canvas, lanes, y))
    canvas.lane("voice", 30, lambda y: _draw_voice(canvas, lanes, y))
    _draw_words(canvas, "interim words", lanes.interims, _INTERIM, italic=True)
    _draw_words(canvas, "final words", lanes.finals, _FINAL, italic=False)
    canvas.lane("transcriber", 78 if lanes.hints else 56, lambda y: _draw_messages(canvas, lanes, y))
    _draw_latencies(canvas, lanes, top, canvas.y + 36)
    _draw_turns(canvas, lanes.turns, stop)


def _draw_agent(canvas: Canvas, lanes: Lanes, y: float) -> None:
    for span in lanes.agent:
        canvas.bar(span, y + 5, 14, _AGENT)
        if canvas.shows(span):
            canvas.text(max(span.start, canvas.start), y + 12, "agent", colour="white", dx=6)
    for call in lanes.calls:
        _draw_moment(canvas, call.at, call.kind, y + 12)


def _draw_moment(canvas: Canvas, at: float, label: str, y: float) -> None:
    """A line with a label beside it; near the right edge to the left of it."""
    if canvas.start <= at <= canvas.stop:
        canvas.axes.plot([at, at], [y - 9, y + 9], color=INK, lw=1.5)
        left = canvas.x(at) + canvas.width(label) + 8 > canvas.x(canvas.stop)
        canvas.text(at, y, label, dx=-4 if left else 4, align="right" if left else "left")


def _draw_voice(canvas: Canvas, lanes: Lanes, y: float) -> None:
    for span in lanes.hangover:
        canvas.bar(span, y + 9, 12, _HANGOVER)
    for span in lanes.voice:
        canvas.bar(span, y + 6, 18, _VOICE)
    for span in lanes.stalls:
        canvas.bar(span, y + 6, 18, "none", edgecolor=MUTED, hatch="////", lw=0.5)
        if canvas.shows(span):
            canvas.text(max(span.start, canvas.start), y + 15, "no audio", dx=6, background=BAND)
    if lanes.audio_end is not None:
        _draw_moment(canvas, lanes.audio_end, "end of audio", y + 15)


def _draw_words(canvas: Canvas, name: str, words: Sequence[Span], colour: str, *, italic: bool) -> None:
    """Words at their audio times; labels that do not fit beside each other go to the next row."""
    rows: list[float] = []  # right end of the last label of each row, pixels
    places = []
    for word in words:
        if not canvas.shows(word):
            continue
        width = canvas.width(word.label, italic=italic)
        left = min(max(canvas.x(word.start), 0), canvas.x(canvas.stop) - width)
        row = next((n for n, end in enumerate(rows) if end + GAP <= left), len(rows))
        if row == len(rows):
            rows.append(0.0)
        rows[row] = left + width
        places.append((word, row, canvas.time(left)))

    def draw(y: float) -> None:
        for word, row, left in places:
            below = y + 16 + row * ROW
            if row:
                canvas.axes.plot([word.start] * 2, [y + 5, below + 4], color=LINE, lw=0.8, zorder=1.5)
            # Words follow each other without a gap; the picture leaves one to tell them apart.
            end = max(word.stop - canvas.seconds(2), word.start)
            canvas.bar(Span(word.start, end), y + 3, 4, colour)
            canvas.text(left, below, word.label, colour=colour, italic=italic)

    canvas.lane(name, 12 + max(len(rows), 1) * ROW, draw)


def _draw_messages(canvas: Canvas, lanes: Lanes, y: float) -> None:
    sent_at, results_at, hints_at = y + 12, y + 42, y + 64
    for sent, answered in lanes.finalizes:
        if answered is not None:
            arrow = {"arrowstyle": "->", "color": _COMMAND, "lw": 1.1, "shrinkA": 0, "shrinkB": 0}
            start, tip = (sent, sent_at + 5), (answered, results_at - 9)
            canvas.axes.annotate("", tip, start, arrowprops=arrow, annotation_clip=True)
        canvas.mark(Moment(sent, "Finalize"), sent_at)
    for mark in lanes.results:
        # An answer is a ring round the result that it is.
        canvas.mark(mark, results_at, zorder=3 if mark.kind == "answer" else 4)
    for mark in lanes.hints:
        canvas.mark(mark, hints_at)


def _draw_latencies(canvas: Canvas, lanes: Lanes, top: float, bottom: float) -> None:
    """A band from the end of speech to the decision, through all lanes down to the turn."""
    for turn in lanes.turns:
        if isinstance(turn.ended, TurnCompleted):
            at, begin = turn.ended.at, turn.ended.timings.speech_end
            if begin is not None:
                band = [top, bottom]
                canvas.axes.fill_betweenx(band, begin, at, color=_LATENCY, alpha=0.15, lw=0, zorder=0.5)
            canvas.axes.plot([at, at], [top, bottom], color=_TURN, lw=1, ls=(0, (4, 3)), zorder=1)


def _draw_turns(canvas: Canvas, turns: Sequence[TurnSpan], stop: float) -> None:
    spans = [Span(turn.start, stop if turn.ended is None else turn.ended.at) for turn in turns]
    shown = [(turn, span) for turn, span in zip(turns, spans, strict=True) if canvas.shows(span)]
    lefts = [max(span.start, canvas.start) for _, span in shown]
    texts = []
    for (turn, _), left, right in zip(shown, lefts, [*lefts, canvas.stop][1:], strict=True):
        texts.append(_describe(canvas, turn, max(canvas.x(right) - canvas.x(left) - 2 * GAP, 30)))

    def draw(y: float) -> None:
        for (turn, span), left, lines in zip(shown, lefts, texts, strict=True):
            _draw_turn(canvas, turn, span, y + 26)
            for number, (line, colour) in enumerate(lines):
                canvas.text(left, y + 48 + number * ROW, line, colour=colour)

    canvas.lane("turns", 46 + max((len(lines) for lines in texts), default=1) * ROW, draw)


def _draw_turn(canvas: Canvas, turn: TurnSpan, span: Span, y: float) -> None:
    ended = turn.ended
    if not isinstance(ended, TurnCompleted):
        canvas.bar(span, y, 10, LINE, edgecolor=MUTED, hatch="////", lw=0.5)
    elif ended.confirmed:
        canvas.bar(span, y, 10, _TURN)
    else:
        canvas.bar(span, y, 10, _TURN, edgecolor="white", hatch="////")
    if isinstance(ended, TurnCompleted) and ended.timings.speech_end is not None:
        start, stop, foot = ended.timings.speech_end, ended.at, y - 4
        canvas.axes.plot([start, start, stop, stop], [foot, foot - 4, foot - 4, foot], color=_COMMAND, lw=1.2)
        if canvas.start <= stop <= canvas.stop:
            label = f"{(stop - start) * 1000:.0f} ms"
            canvas.text(stop, foot - 12, label, colour=_COMMAND, align="right", weight="bold")
    for mark in turn.marks:
        canvas.mark(mark, y + 5)


def _describe(canvas: Canvas, turn: TurnSpan, room: float) -> list[tuple[str, str]]:
    """The lines under a turn, with their colours: its text, then what else is to be said about it."""
    ended = turn.ended
    if not isinstance(ended, TurnCompleted):
        note = "open" if ended is None else ended.reason.replace("_", " ")
        return [(line, MUTED) for line in canvas.wrap(f"{turn.number}  {note}", room, most=2)]
    notes = [ended.reason]
    if not ended.confirmed:
        notes.append("not confirmed")
    if ended.backchannel:
        notes.append("backchannel")
    if ended.continues is not None:
        notes.append(f"continues {ended.continues}")
    if turn.amended is not None:
        notes.append(f"amended: {turn.amended}")
    text = [(line, INK) for line in canvas.wrap(f"{turn.number}  {ended.text}", room, most=4)]
    return text + [(line, MUTED) for line in canvas.wrap(", ".join(notes), room, most=3)]
