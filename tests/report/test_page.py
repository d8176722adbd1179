"""The page: what is on it, that it needs nothing else, and that no text of a call becomes part of it."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import trio

from hearout.cli.main import main
from hearout.report.changes import Change, Learned, _asked, _other_language, _without_noise, learn
from hearout.report.judge import judge, price_of
from hearout.report.page import _change
from hearout.report.parts import Part
from hearout.report.sums import Delays, Sums
from hearout.report.survey import Options
from hearout.traces.reader import read_trace
from hearout.tune.episodes import episodes, run
from hearout_policies import Policy, preset
from hearout_policies.signals import Asked
from tests.kit.browser import CHROMIUM, browsing
from tests.kit.paths import ROOT
from tests.report.hand_made import agent, bot, lines, said, trace

HOSTILE = "</pre></svg><script>alert(1)</script><img src=x onerror=alert(1)> {{ 7*7 }} $x_$ \"' &amp;"
GOOD = (
    said("yes please", 2, 3),
    bot(3.6, "yes please"),
    agent(4, 5),
    said("no thanks", 8, 9),
    bot(9.5, "no"),
    agent(10, 11),
)
CUT = (
    said("my number is", 2, 3),
    bot(3.4, "my number is"),
    agent(3.8, 4.4),
    said("five six", 4.2, 5),
    bot(9, "five six"),
)


@pytest.fixture
def calls(tmp_path: Path) -> Callable[..., list[str]]:
    def write(*texts: str) -> list[str]:
        for number, text in enumerate(texts):
            (tmp_path / f"{number}.jsonl").write_text(text, encoding="utf-8")
        return sorted(str(path) for path in tmp_path.glob("*.jsonl"))

    return write


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)
        self.attributes += attrs


def report(*arguments: str, status: int = 0) -> None:
    assert main(["report", "--jobs", "1", *arguments]) == status


def test_a_page_that_needs_nothing_else(
    calls: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    traces = calls(lines(*GOOD, started="2026-11-27T14:03:00", caller="A"), lines(*CUT, caller="B"))
    page, figures, table = (tmp_path / name for name in ("report.html", "report.json", "report.csv"))
    report(*traces, "-o", str(page), "--json", str(figures), "--csv", str(table), "--title", "Yesterday")
    text = page.read_text()
    assert "<h1>Yesterday</h1>" in text
    assert not re.search(r"https?:|//[a-z]|@import|<script|<link|<img|url\((?!#)", text)
    assert "2 calls, 4 turns" in text
    assert "By caller" in text
    assert text.count("<article>") == 4
    data = json.loads(figures.read_text())
    assert (data["calls"], data["bot"]["turns"], data["bot"]["cut_ins"]["hits"]) == (2, 4, 1)
    assert data["bot"]["lost_words"]["hits"] == 1
    assert set(data["groups"]["caller"]) == {"A", "B"}
    rows = table.read_text().splitlines()
    assert rows[0].startswith("trace,channel,start,end,who,commits")
    assert len(rows) == 1 + 2 * 4
    assert "yes please" not in table.read_text()
    assert "cut-ins" in capsys.readouterr().out


def test_backchannels_count_where_they_were_said(calls: Callable[..., list[str]], tmp_path: Path) -> None:
    figures = tmp_path / "report.json"
    told = agent(0.5, 5), said("uh-huh", 2, 2.3), [{"t": 2.6, "bot": "interrupted"}], *GOOD[3:]
    report(*calls(lines(*told, caller="A"), lines(*GOOD, caller="B")), "--json", str(figures))
    data = json.loads(figures.read_text())
    assert data["bot"]["backchannels_that_interrupted"]["hits"] == 1
    counts = {who: pair["bot"]["backchannels_that_interrupted"]["n"] for who, pair in data["groups"]["caller"].items()}
    assert counts == {"A": 1, "B": 0}


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_on_a_phone_nothing_is_cut(calls: Callable[..., list[str]], tmp_path: Path) -> None:
    """No chart, table or line goes beyond a screen of 360 pixels, in light and dark; one of each two charts is seen."""
    page = tmp_path / "report.html"
    traces = calls(*(lines(*CUT, caller=f"c{n}", started=f"2026-11-27T0{n}:03:00") for n in range(2)))
    report(*traces, "-o", str(page))
    beyond = (
        "[...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > innerWidth"
        " || (e.tagName == 'DIV' && e.scrollWidth > e.clientWidth)).map((e) => e.outerHTML.slice(0, 80))"
    )
    seen = "[...document.querySelectorAll('svg')].filter((e) => e.getBoundingClientRect().width > 0).length"

    async def look() -> None:
        async with browsing() as tab:
            await tab.call("Page.navigate", url=page.as_uri())
            await tab.until("document.readyState === 'complete' && document.querySelector('svg')")
            for width in (360, 1000):
                await tab.size(width, 740, mobile=width == 360)
                for scheme in ("light", "dark"):
                    wanted = {"name": "prefers-color-scheme", "value": scheme}
                    await tab.call("Emulation.setEmulatedMedia", features=[wanted])
                    ground = await tab.run("getComputedStyle(document.body).backgroundColor")
                    assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 29)"}[scheme]
                    assert await tab.run(beyond) == []
                    assert await tab.run("[...document.querySelectorAll('text')].length") > 20
                    assert 2 * await tab.run(seen) == await tab.run("document.querySelectorAll('svg').length")
            await tab.call("Emulation.setEmulatedMedia", media="print")
            assert await tab.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
            assert not [address for address in tab.requests if not address.startswith("file:")]
            assert not tab.complaints

    trio.run(look)


def test_texts_of_calls_are_no_html(calls: Callable[..., list[str]], tmp_path: Path) -> None:
    hostile = said(HOSTILE, 2, 3), bot(6.5, HOSTILE), agent(7, 8)
    page = tmp_path / "report.html"
    traces = calls(lines(*hostile, caller=HOSTILE, source=HOSTILE), lines(*GOOD, caller="A"))
    report(*traces, "-o", str(page), "--title", HOSTILE)
    tags = Tags()
    tags.feed(page.read_text())
    assert not tags.found & {"script", "img", "iframe", "link", "object", "embed", "a", "base", "form"}
    assert not [name for name, _ in tags.attributes if name.startswith("on")]
    assert not [value for name, value in tags.attributes if name == "href" and not str(value).startswith("#")]
    assert "7*7" in page.read_text()
    assert "&lt;script&gt;alert(1)" in page.read_text()


def test_the_same_bytes_on_any_number_of_processes(calls: Callable[..., list[str]], tmp_path: Path) -> None:
    traces = calls(*(lines(*(GOOD if number % 3 else CUT), caller=f"c{number % 2}") for number in range(9)))
    outputs = []
    for jobs in ("1", "2"):
        files = [tmp_path / f"{jobs}.{ending}" for ending in ("html", "json", "csv")]
        options = ["-o", str(files[0]), "--json", str(files[1]), "--csv", str(files[2])]
        assert main(["report", *traces, *options, "--jobs", jobs]) == 0
        outputs.append([file.read_bytes() for file in files])
    assert outputs[0] == outputs[1]


def test_what_is_bad_is_told_in_a_line_and_the_rest_reported(
    calls: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    traces = calls(
        lines(*GOOD),
        "",
        '{"hearout_trace": 2, "stt": "deepgram"}\n',
        lines(said("yes", 1, 2)),  # nobody says when the agent spoke
        lines(agent(1, 2)),  # nobody says anything
        lines(said("yes", 1, 2), agent(3, 4)),  # without the bot
    )
    figures = tmp_path / "report.json"
    report(*traces, str(tmp_path / "none.jsonl"), f"{tmp_path}/./{Path(traces[0]).name}", "--json", str(figures))
    complaints = capsys.readouterr().err.splitlines()
    assert len(complaints) == 7
    assert all(line.startswith("skipped: ") for line in complaints)
    for part in (
        "1.jsonl:1: the trace is empty",
        "2.jsonl:1: trace of version 2",
        "3.jsonl: does not say when the agent",
        "4.jsonl: no final words",
        "5.jsonl: it does not tell of the bot",
        "none.jsonl: cannot read",
        "0.jsonl: named twice; it counts once",
    ):
        assert sum(part in line for line in complaints) == 1, part
    data = json.loads(figures.read_text())
    assert data["skipped"] == {
        "cannot be read": 3,
        "named twice": 1,
        "no agent": 1,
        "no turn of the bot": 1,
        "no words": 1,
    }
    assert data["calls"] == 1
    report(*traces[1:3], status=2)
    assert capsys.readouterr().err.endswith("hearout: nothing to report on: all 2 traces were skipped\n")


def test_of_a_trace_that_is_broken_off_the_whole_lines_are_judged(
    calls: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = lines(*GOOD)
    traces = calls(whole[: whole.index('{"t": 60.0')] + '{"t": 60.0, "e', whole)
    figures, page = tmp_path / "report.json", tmp_path / "report.html"
    report(*traces, "--json", str(figures), "-o", str(page))
    note = f"note: {traces[0]}: broken off in line {whole.count(chr(10))}, the last, which is left out"
    assert capsys.readouterr().err.splitlines() == [note]
    data = json.loads(figures.read_text())
    assert (data["calls"], data["broken_off"], data["skipped"], data["bot"]["turns"]) == (2, 1, {}, 4)
    assert data["learned"]["calls"] == 2
    assert "1 traces: the last line, in which they are broken off" in page.read_text()
    # A line that is wrong and whole, or nothing before it, is another matter.
    report(*calls(whole + "x\n", whole[:20]), status=2)
    assert len(capsys.readouterr().err.splitlines()) == 3
    Path(traces[0]).write_text(whole.rstrip("\n"))
    report(traces[0])
    assert not capsys.readouterr().err


def test_a_bot_that_never_commits(
    calls: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """More likely nobody wrote down that it did than that it never did: its delays would be five seconds each."""
    figures = tmp_path / "report.json"
    spoken = said("yes please", 2, 3), agent(9, 10)
    never = lines(*spoken, [{"t": 9.5, "bot": "interrupted"}]), lines(*spoken, source="a shadow of pipecat-ai 1.14.0")
    traces = calls(*never)
    report(*traces, status=2)
    first, second, last = capsys.readouterr().err.splitlines()
    assert first.endswith(
        '0.jsonl: its bot never ended a turn (no "committed" line), so there is nothing to judge it by'
    )
    assert "1.jsonl: its bot never ended a turn" in second
    assert last == "hearout: nothing to report on: all 2 traces were skipped"
    report(*calls(*never, lines(*GOOD)), "--json", str(figures), "-o", str(tmp_path / "report.html"))
    data = json.loads(figures.read_text())
    assert (data["calls"], data["skipped"], data["learned"]["calls"]) == (1, {"no commit": 2}, 1)
    assert "2 traces: the bot never ended a turn in it" in (tmp_path / "report.html").read_text()
    for framework in ("pipecat", "livekit"):
        assert '"a shadow of ' in (ROOT / "engine" / "hearout" / "shadow" / f"{framework}.py").read_text()
    # Without any sign of a bot it is one of hearout's own.
    capsys.readouterr()
    report(*calls(*[lines(*spoken)] * 3))
    assert "no trace tells of a bot's own turn detection: what follows is on hearout alone" in capsys.readouterr().out


def test_against_another_week_and_another_policy(
    calls: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = calls(*[lines(*GOOD)] * 12)
    week = tmp_path / "week.json"
    report(*good, "--json", str(week))
    report(*good, "--against", str(week))
    bad = calls(*[lines(*CUT)] * 12)
    capsys.readouterr()
    report(*bad, "--against", str(week), status=1)
    assert "| bot | cut-ins | 0.0 % (n 24) |" in capsys.readouterr().out
    # A shadow that broke does not pass.
    broken = calls(*[lines(*(one for one in GOOD if "bot" not in one[0]))] * 12)
    report(*broken, "--against", str(week), status=2)
    err = capsys.readouterr().err
    assert err.splitlines()[-1].startswith("hearout: --against: before there are figures of the bot, and now no trace")
    bad = calls(*[lines(*CUT)] * 12)
    # The same traces under two policies.
    report(*bad, "--policy", "patient", "--against", "balanced", status=1)
    assert re.search(r"\| ours \| mean delay \| 1\.\d\d s .* \*\*worse\*\* \|", capsys.readouterr().out)
    report(*bad, "--policy", "balanced", "--against", "patient", "--worse-cut-ins", "1")
    for wrong, what in (
        (["--against", "balanced"], "name the one to compare with it by --policy"),
        (["--against", "nobody"], "--against nobody: neither a report's JSON nor a policy: no policy named 'nobody'"),
        (["--against", "nobody", "--policy", "fast"], "--against nobody: neither a report's JSON nor a policy"),
        (["--against", bad[0]], "not a report that `hearout report --json` wrote"),
        (["--against", bad[0] + "x.json"], "cannot read the report"),
        (["--confidence", "95"], "a share from 0.5 to 1"),
        (["-o", "report.pdf"], "must end in .html"),
        (["--channel", "3"], "nothing to report on"),
    ):
        report(*bad, *wrong, status=2)
        assert what in capsys.readouterr().err


# Changes


def test_a_question_for_numbers_is_worth_trying() -> None:
    number = said("five five one two", 2, 4), agent(6, 7)
    (turn,) = episodes(trace(*number))
    asked = _asked(turn, Policy())
    assert [one.expectations[0].to_dict() for one in asked.signals if isinstance(one, Asked)] == [
        {"type": "digits", "least": 4, "most": 4}
    ]
    (before,), (after,) = run(turn, Policy()), run(asked, Policy())
    assert after.at < before.at
    (words,) = episodes(trace(said("yes please", 2, 4), agent(6, 7)))
    assert _asked(words, Policy()) is words
    (told,) = episodes(trace(*number, [{"t": 1.0, "agent": "said", "text": "Your number?"}]))
    assert _asked(told, Policy()) is told


def test_another_language_is_told_by_its_words() -> None:
    german = (
        "ich habe das nicht und der Termin ist mit dem Arzt wenn es geht aber die Zeit ist für mich und uns zu früh "
    )
    turns = episodes(trace(said(german * 2, 2, 20), agent(22, 23)))
    assert _other_language(turns, Policy()) == "de"
    assert _other_language(turns, Policy(language="de")) is None
    assert _other_language(episodes(trace(said("ja und", 2, 3), agent(5, 6))), Policy()) is None


def test_a_voice_detection_that_noise_holds_open() -> None:
    first, stop, final = said("yes please", 2, 3)
    held: list[dict[str, Any]] = [first, stop | {"t": 6.0, "audio": 5.85}, final]
    (turn,) = episodes(trace(held, agent(8, 9)))
    (before,), (after,) = run(turn, Policy()), run(_without_noise(turn), Policy())
    assert (before.at > 5.9, after.at < 4.5) == (True, True)
    (clean,) = episodes(trace([first, stop, final], agent(8, 9)))
    assert _without_noise(clean) is clean


def test_the_change_is_chosen_on_two_thirds_and_told_of_the_last(calls: Callable[..., list[str]]) -> None:
    number = lines(said("five five one two", 2, 4), agent(6, 7), said("five five one three", 9, 11), agent(13, 14))
    traces = calls(*[number] * 24)
    learned = learn(traces, Options())
    assert learned is not None
    assert (learned.calls, learned.held_out, learned.ends) == (24, 8, 32)
    assert learned.before.turns == learned.after.turns == 16
    assert learned.between == pytest.approx((learned.saved, learned.saved))  # all calls are the same
    assert learned.change is not None
    assert learned.change.kind in ("question", "price")
    assert learned.saved > 0
    prices = [point.price for point in learned.curve]
    assert prices == sorted(prices)
    assert prices[4] == 1.3
    means = [point.sums.delays.mean for point in learned.curve]
    assert means == sorted(means)
    assert learned.curve[4].sums.delays.mean == pytest.approx(learned.before.delays.mean)
    assert str(Change("price", 2.6)) == "--set silence.price=2.6"
    slow = lines(said("five five one two", 2, 4), agent(6, 7), policy={"base": "patient"})
    learned = learn(calls(slow)[:1], Options())
    assert learned is not None
    assert learned.price == price_of(preset("patient")) == learned.curve[4].price > 1.3
    calls(number)
    few = learn(traces[:21], Options())
    assert few is not None
    assert (few.ends, few.change) == (28, None)
    assert learn([str(Path(traces[0]).parent / "none")], Options()) is None


def talk(pause: float, turns: int = 10) -> str:
    """Turns ten seconds apart; in each a pause of so long, none: 0."""
    said_: list[list[dict[str, Any]]] = []
    for at in (10.0 * n for n in range(turns)):
        said_ += [said("yes please", at + 1, at + 2), said("a tea", at + 2 + pause, at + 3 + pause)][not pause :]
        said_ += [agent(at + 6, at + 7)]
    return lines(*said_, [{"t": 10.0 * turns + 5, "end": True}])


def test_haste_does_not_look_cheap_where_pauses_are_long(calls: Callable[..., list[str]]) -> None:
    """Whose pause is 2.3 s long does not go on within two seconds of a commit at its beginning, but it cuts him off."""
    learned = learn(calls(*[talk(2.3)] * 4), Options())
    assert learned is not None
    hasty, *_, patient = learned.curve
    assert [point.sums.cut_ins for point in (hasty, patient)] == [0, 40]
    assert [point.sums.early for point in (hasty, patient)] == [40, 40]
    assert patient.sums.turns == 40
    assert hasty.sums.cost(learned.price) == pytest.approx(hasty.sums.delays.mean + learned.price)
    learned = learn(calls(*[talk(1.2)] * 4), Options())
    assert learned is not None
    early = [point.sums.shares["too early"].value for point in learned.curve]
    assert early == sorted(early, reverse=True)
    assert early[0] == 0.5 > early[-1]
    # What takes place in the call counts, too: the agent begins, and he goes on.
    spoken = said("my number is", 1, 2), said("five six", 4.3, 5), agent(4, 4.6), agent(8, 9)
    (first, _), (later, _) = [
        judge(trace(*spoken, bot(at, "my number is"), bot(6, "five six"))).turns for at in (2.2, 3.5)
    ]
    assert first.bot
    assert later.bot
    assert (first.bot.cut_ins, first.bot.early, first.bot.split) == (0, 1, True)
    assert (later.bot.cut_ins, later.bot.early, later.bot.split) == (1, 1, True)


def test_where_nothing_helps_the_page_says_so(calls: Callable[..., list[str]], tmp_path: Path) -> None:
    """Shorter waits cut off, longer ones wait for nothing."""
    page, figures = tmp_path / "report.html", tmp_path / "report.json"
    report(*calls(*[talk(0.4)] * 4), "-o", str(page), "--json", str(figures))
    change = json.loads(figures.read_text())["learned"]["change"]
    assert (change["helps"], change["saved"] < 0) == (False, True)
    text = " ".join(page.read_text().split())
    assert "<h2>No change would have helped</h2>" in text
    assert "The one change that" not in text
    assert re.search(
        r"Leave things as they are\. Of 8 changes tried, --set \S+ came nearest, .* costs \d\.\d\d s", text
    )
    assert text.count("<b>0.0%</b>") > 2


def test_what_helped_only_where_it_was_chosen_does_not_help() -> None:
    one, other = Sums(), Sums()
    one.add(Part((1.0,), 1, delay=0.5, words=3))
    other.add(Part((1.0,), 1, delay=0.7, words=3))
    learned = Learned(3, 1, one, (), Change("price", 2.6), True, one, other, (-0.2, -0.2), 1.3, 8, 40)
    assert learned.saved == pytest.approx(-0.2)
    assert (learned.helps, replace(learned, after=one).helps) == (False, False)
    assert _change(learned)["title"] == "No change would have helped"
    hardly = replace(learned, before=one, after=replace(one, delays=Delays(Counter({50: 399, 49: 1}))))
    assert 0 < hardly.saved < 0.005
    assert not hardly.helps
    better = replace(learned, before=other, after=one)
    assert _change(replace(better, between=(0.1, 0.3)))["title"] == "The one change that helps most"
    assert _change(replace(better, between=(-0.1, 0.3)))["title"] == "The one change that may help most"
    alone = _change(replace(better, between=(math.nan, math.nan)))
    assert alone["title"] == "The one change that may help most"
    assert "0.20 s an end (one call does not tell how sure that is)" in alone["what"]


def test_of_prices_that_cost_the_same_the_nearest_is_named(calls: Callable[..., list[str]], tmp_path: Path) -> None:
    slow = [json.loads(line) for line in talk(0).splitlines()]  # the transcriber: so much more haste is of no use
    slow = [record | {"t": record["t"] + 0.3 * ("stt" in record)} for record in slow[1:]]
    traces, page = calls(*[lines(slow)] * 4), tmp_path / "report.html"
    learned = learn(traces, Options())
    assert learned is not None
    assert learned.helps
    cheapest = min(point.sums.delays.mean for point in learned.curve)
    same = [point.price for point in learned.curve if point.sums.delays.mean == cheapest]
    assert len(same) > 1
    assert learned.change == Change("price", max(same))
    # Of one call none can be held out.
    report(*calls(talk(0, turns=30))[:1], "-o", str(page))
    assert "There are too few calls to choose one by" in page.read_text()


def test_tune_takes_traces_of_bots(
    calls: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = tmp_path / "mine.toml"
    traces = calls(*[lines(*GOOD)] * 5, lines(*GOOD) + '{"t": 60')
    assert main(["tune", *traces, "--jobs", "1", "-o", str(policy)]) == 0
    assert f"note: {traces[5]}: broken off in line " in capsys.readouterr().err
    assert policy.exists()
    assert read_trace(traces[0]).records
    assert math.isfinite(next(p.value for p in preset("balanced").parameters()))
