"""Draw a session against time: voice, words, what the transcriber said and when, turns and their latency."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path

from hearout.errors import UsageError
from hearout.extras import needs_extra
from hearout.plot.canvas import BAND, GAP, INK, LINE, MUTED, ROW, Canvas, Rows, Symbol
from hearout.plot.timeline import Lanes, Moment, Span, Timeline, TurnSpan, arrange
from hearout.plot.waveform import Waveform
from hearout.traces.records import Trace
from hearout.traces.replayer import Replayed
from hearout_policies.events import TurnCompleted

__all__ = ["check_picture", "plot"]

_PAGE = 30.0  # seconds on one picture; words stay legible
_LONGEST_PAGE = 36.0  # a session a little longer is not worth a second page
_MOST_PAGES = 100
_NARROWEST = 150.0  # pixels that the text of a turn gets at least: the longest name of a rule
_QUIETEST = 0.05  # of full scale, -26 dBFS: the noise of a line is not drawn as if it were a voice
_CALL = 20  # pixels of a row of the application's calls, and the bot's
_COMMITTED = 300  # pixels that what a bot committed gets at most

_WAVE, _VOICE, _HANGOVER = "#5f7f9c", "#38a3a5", "#c7e8e6"
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
    "resumed": Symbol("X", INK, False, "prediction taken back"),
    "cutoff": Symbol("X", _ALARM, True, "cutoff: the next turn goes on from this one", 15),
    "amended": Symbol("*", _TURN, True, "turn amended", 11),
}


def plot(
    trace: Trace,
    replayed: Replayed,
    path: str | Path,
    *,
    start: float | None = None,
    stop: float | None = None,
    waveform: Waveform | None = None,
) -> list[Path]:
    """Draw a replayed trace.

    Args:
        path: the picture to write (.png, .svg or .pdf). A session longer than a page becomes several, with
            ``-1``, ``-2`` ... before the suffix.
        start, stop: draw this part only; seconds on the session clock.
        waveform: of the audio, which a trace does not hold.

    Returns:
        the files written.

    Raises:
        UsageError: as `check_picture`; the file cannot be written, or the part is empty or too long.
    """
    check_picture(path)
    path = Path(path)
    timeline = arrange(trace, replayed, waveform)
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
    free = 0.0  # pixels: where the next label of an outage has room
    for outage in timeline.outages:
        canvas.axes.axvspan(outage.start, outage.stop, color=_ALARM, alpha=0.10, lw=0, zorder=0.5)
        width = canvas.width("no connection")
        left = min(max(canvas.x(outage.start), 0), canvas.right - width)
        if canvas.shows(outage) and free <= left:
            canvas.y = 18.0
            canvas.text(canvas.time(left), 8, "no connection", colour=_ALARM)
            free = left + width + GAP
    # Channels are drawn to one scale: what leaks from one into the other is seen to be weaker.
    loudest = max((peak for lanes in timeline.lanes for _, peak in lanes.waveform), default=0)
    for number, lanes in enumerate(timeline.lanes):
        if len(timeline.lanes) > 1:
            canvas.text(canvas.start, canvas.y + 9, f"channel {number}", weight="bold", dx=4)
            canvas.y += 20
        _draw_channel(canvas, lanes, timeline.stop, max(loudest, _QUIETEST))
        canvas.y += 10


def _draw_channel(canvas: Canvas, lanes: Lanes, stop: float, loudest: float) -> None:
    top = canvas.y
    if lanes.agent:
        canvas.lane("agent", 24, lambda y: _draw_agent(canvas, lanes.agent, y))
    if lanes.calls:
        _draw_moments(canvas, "application", lanes.calls)
    if lanes.waveform:
        canvas.lane("audio", 44, lambda y: _draw_waveform(canvas, lanes.waveform, loudest, y))
    canvas.lane("voice", 30, lambda y: _draw_voice(canvas, lanes, y))
    _draw_words(canvas, "interim words", lanes.interims, _INTERIM, italic=True)
    _draw_words(canvas, "final words", lanes.finals, _FINAL, italic=False)
    canvas.lane("transcriber", 78 if lanes.hints else 56, lambda y: _draw_messages(canvas, lanes, y))
    _draw_turns(canvas, lanes.turns, stop, top)
    if lanes.bot:
        shown = [Moment(moment.at, canvas.shorten(moment.kind, _COMMITTED)) for moment in lanes.bot]
        _draw_moments(canvas, "bot", shown)


def _draw_agent(canvas: Canvas, speech: Sequence[Span], y: float) -> None:
    for span in speech:
        canvas.bar(span, y + 5, 14, _AGENT)
        left, right = max(canvas.x(span.start), 0), min(canvas.x(span.stop), canvas.right)
        if right - left >= canvas.width("agent") + 2 * GAP:
            canvas.text(canvas.time(left), y + 12, "agent", colour="white", dx=GAP)


def _draw_moments(canvas: Canvas, name: str, moments: Sequence[Moment]) -> None:
    rows = Rows()
    places = []
    for moment in moments:
        if canvas.start <= moment.at <= canvas.stop:
            left, width = _extent(canvas, moment.at, moment.kind)
            places.append((moment, rows.place(left, width)))

    def draw(y: float) -> None:
        for moment, row in places:
            _draw_moment(canvas, moment.at, moment.kind, y + 12 + row * _CALL)

    canvas.lane(name, 4 + max(len(rows.ends), 1) * _CALL, draw)


def _extent(canvas: Canvas, at: float, label: str) -> tuple[float, float]:
    """Left edge and width, in pixels, of a line with a label beside it; near the right edge to the left of it."""
    width = canvas.width(label) + 4
    left = canvas.x(at)
    return (left - width if left + width + 4 > canvas.right else left), width


def _draw_moment(canvas: Canvas, at: float, label: str, y: float) -> None:
    if canvas.start <= at <= canvas.stop:
        canvas.axes.plot([at, at], [y - 9, y + 9], color=INK, lw=1.5)
        before = _extent(canvas, at, label)[0] < canvas.x(at)
        canvas.text(at, y, label, dx=-4 if before else 4, align="right" if before else "left", background=BAND)


def _draw_waveform(canvas: Canvas, waveform: Sequence[tuple[float, float]], loudest: float, y: float) -> None:
    shown = [(at, peak) for at, peak in waveform if canvas.start <= at <= canvas.stop]
    times = [at for at, _ in shown]
    heights = [20 * peak / loudest for _, peak in shown]
    below, above = [y + 22 + height for height in heights], [y + 22 - height for height in heights]
    canvas.axes.fill_between(times, below, above, color=_WAVE, lw=0.5, zorder=2)


def _draw_voice(canvas: Canvas, lanes: Lanes, y: float) -> None:
    for span in lanes.hangover:
        canvas.bar(span, y + 9, 12, _HANGOVER)
    for span in lanes.voice:
        canvas.bar(span, y + 6, 18, _VOICE)
    end = canvas.right
    if lanes.audio_end is not None:
        end = min(end, _extent(canvas, lanes.audio_end, "end of audio")[0])
        _draw_moment(canvas, lanes.audio_end, "end of audio", y + 15)
    for span in lanes.stalls:
        canvas.bar(span, y + 6, 18, "none", edgecolor=MUTED, hatch="////", lw=0.5)
        left, right = max(canvas.x(span.start), 0), min(canvas.x(span.stop), end)
        if right - left >= canvas.width("no audio") + 2 * GAP:
            canvas.text(canvas.time(left), y + 15, "no audio", dx=GAP, background=BAND)


def _draw_words(canvas: Canvas, name: str, words: Sequence[Span], colour: str, *, italic: bool) -> None:
    """Words at their audio times; labels that do not fit beside each other go to the next row."""
    rows = Rows()
    places = []
    for word in words:
        if not canvas.shows(word):
            continue
        width = canvas.width(word.label, italic=italic)
        left = min(max(canvas.x(word.start), 0), canvas.right - width)
        row = rows.place(left, width)
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

    canvas.lane(name, 12 + max(len(rows.ends), 1) * ROW, draw)


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


def _draw_turns(canvas: Canvas, turns: Sequence[TurnSpan], stop: float, top: float) -> None:
    """The lane of the turns, and what leads down to it from ``top``, through the lanes above."""
    spans = [Span(turn.start, stop if turn.ended is None else turn.ended.at) for turn in turns]
    shown = [(turn, span) for turn, span in zip(turns, spans, strict=True) if canvas.shows(span)]
    latencies = _place_latencies(canvas, [turn for turn, _ in shown])
    bar = 26 + ROW * max((row for _, _, row, _ in latencies), default=0)  # from the upper edge of the lane
    texts, height = _place_texts(canvas, shown)
    _draw_decisions(canvas, shown, top, canvas.y + bar + 10)

    def draw(y: float) -> None:
        for turn, span in shown:
            _draw_turn(canvas, turn, span, y + bar)
        for label, left, row, colour in latencies:
            canvas.text(canvas.time(left), y + bar - 16 - ROW * row, label, colour=colour, weight="bold")
        for left, below, lines in texts:
            for number, (line, colour) in enumerate(lines):
                canvas.text(canvas.time(left), y + bar + 22 + below + number * ROW, line, colour=colour)

    canvas.lane("turns", bar + 20 + max(height, ROW), draw)


def _place_latencies(canvas: Canvas, turns: Sequence[TurnSpan]) -> list[tuple[str, float, int, str]]:
    """How long after the end of speech each was over: label, left edge in pixels, row counted upwards, colour."""
    rows = Rows()
    out = []
    for turn in turns:
        latency = turn.ended.timings.latency if isinstance(turn.ended, TurnCompleted) else None
        if turn.ended is not None and latency is not None and canvas.start <= turn.ended.at <= canvas.stop:
            label = f"{latency * 1000:.0f} ms"
            width = canvas.width(label, weight="bold")
            left = max(canvas.x(turn.ended.at) - width, 0)
            out.append((label, left, rows.place(left, width), _ALARM if turn.cut else _COMMAND))
    return out


def _place_texts(
    canvas: Canvas, shown: Sequence[tuple[TurnSpan, Span]]
) -> tuple[list[tuple[float, float, list[tuple[str, str]]]], float]:
    """What is said under each turn: left and upper edge in pixels, and the lines; then the height of all.

    The text of a turn has the room up to the next turn; where that is too little, it takes more, and stands below
    those that it would overlap.
    """
    rows = Rows()
    placed: list[tuple[int, float, list[tuple[str, str]]]] = []
    edges = [max(canvas.x(span.start), 0) for _, span in shown]
    for (turn, _), edge, following in zip(shown, edges, [*edges, canvas.right][1:], strict=True):
        lines = _describe(canvas, turn, max(following - edge - 2 * GAP, _NARROWEST))
        width = max(canvas.width(line) for line, _ in lines)
        left = max(min(edge, canvas.right - width), 0)
        placed.append((rows.place(left, width), left, lines))
    heights = [
        max(len(lines) for row, _, lines in placed if row == number) * ROW + GAP for number in range(len(rows.ends))
    ]
    return [(left, sum(heights[:row]), lines) for row, left, lines in placed], sum(heights)


def _draw_decisions(canvas: Canvas, shown: Sequence[tuple[TurnSpan, Span]], top: float, bottom: float) -> None:
    """A band from the end of speech to the decision, through all lanes down to the turn; of cutoffs in red."""
    for turn, _ in shown:
        if isinstance(turn.ended, TurnCompleted):
            at, begin = turn.ended.at, turn.ended.timings.speech_end
            band, alpha = (_ALARM, 0.25) if turn.cut else (_LATENCY, 0.15)
            if begin is not None:
                canvas.axes.fill_betweenx([top, bottom], begin, at, color=band, alpha=alpha, lw=0, zorder=0.5)
            if turn.cut:
                canvas.axes.plot([at, at], [top, bottom], color=_ALARM, lw=2, zorder=1)
            else:
                canvas.axes.plot([at, at], [top, bottom], color=_TURN, lw=1, ls=(0, (4, 3)), zorder=1)


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
        colour = _ALARM if turn.cut else _COMMAND
        canvas.axes.plot([start, start, stop, stop], [foot, foot - 4, foot - 4, foot], color=colour, lw=1.2)
    for mark in turn.marks:
        canvas.mark(mark, y + 5, zorder=6 if mark.kind == "cutoff" else 4)


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
    if turn.amended is not None:
        notes.append(f"amended: {turn.amended}")
    lines = [(line, INK) for line in canvas.wrap(f"{turn.number}  {ended.text}", room, most=8)]
    lines += [(line, MUTED) for line in canvas.wrap(", ".join(notes), room, most=4)]
    if ended.continues is not None:
        lines.append((f"continues {ended.continues}", _ALARM))
    return lines
