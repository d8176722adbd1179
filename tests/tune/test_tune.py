"""``hearout tune``: labels by what happened next, replay under another policy, search, and the command."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from benchmarks.endpointing.conversations import Conversation, sample
from benchmarks.endpointing.scenarios import SCENARIOS
from benchmarks.endpointing.simulated import converse, trace
from hearout.cli.main import main
from hearout.errors import UsageError
from hearout.traces.reader import parse_trace
from hearout.traces.records import Trace
from hearout.tune.episodes import Episode, episodes, run
from hearout.tune.figures import Figures, Outcome, figures, outcome
from hearout.tune.fit import _split, policy_toml, tune
from hearout.tune.labels import hear, pauses
from hearout.tune.search import Trial, chosen_parameters, front, search
from hearout_policies import Policy, TurnCompleted, load_policy, preset
from tests.kit.commandline import COMMAND, environment

SEED = 3
CALLS = 4


def simulated(policy: Policy, calls: list[Conversation]) -> list[Trace]:
    return [parse_trace([json.dumps(record) for record in trace(call, policy)], call.key) for call in calls]


def cut(traces: list[Trace]) -> list[Episode]:
    return [episode for number, one in enumerate(traces) for episode in episodes(one, number)]


@pytest.fixture(scope="module")
def calls() -> list[Conversation]:
    return [sample(SCENARIOS["agent"], SEED, number, turns=16) for number in range(CALLS)]


@pytest.fixture(scope="module")
def recorded(calls: list[Conversation]) -> list[Trace]:
    return simulated(preset("balanced"), calls)


@pytest.fixture(scope="module")
def turns(recorded: list[Trace]) -> list[Episode]:
    return cut(recorded)


@pytest.fixture(scope="module")
def files(recorded: list[Trace], calls: list[Conversation], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("calls")
    for number, call in enumerate(calls):
        lines = [json.dumps(record) + "\n" for record in trace(call, preset("balanced"))]
        (folder / f"{number}.jsonl").write_text("".join(lines))
    return sorted(str(path) for path in folder.iterdir())


# Labels


def hand_made(*records: dict[str, Any], vad: bool = True, channels: int = 1) -> Trace:
    header = {"hearout_trace": 1, "stt": "deepgram", "channels": channels, "vad": vad}
    return parse_trace([json.dumps(r) for r in (header, *sorted(records, key=lambda r: r["t"]))], "hand.jsonl")


def voice(start: float, stop: float, channel: int = 0) -> list[dict[str, Any]]:
    return [
        {"t": start + 0.1, "vad": "start", "audio": start, "channel": channel},
        {"t": stop + 0.2, "vad": "stop", "audio": stop, "channel": channel},
    ]


def final(t: float, start: float, end: float, channel: int = 0, **more: Any) -> dict[str, Any]:
    words = [{"word": "yes", "start": start, "end": end}]
    alternatives = [{"transcript": "yes", "words": words}]
    message = {"type": "Results", "channel_index": [channel, 2], "start": start, "duration": end - start}
    return {"t": t, "stt": message | {"is_final": True, "channel": {"alternatives": alternatives}} | more}


def spoken(*spans: tuple[float, float], channel: int = 0) -> list[dict[str, Any]]:
    return [r for a, b in spans for r in (*voice(a, b, channel), final(b + 0.3, a, b, channel))]


def kinds(one: Trace, channel: int = 0) -> list[tuple[float, str]]:
    return [(round(pause.start, 2), pause.kind) for _, pause in pauses(one, hear(one))[channel]]


def test_what_happens_next_is_the_label() -> None:
    end = {"t": 40.0, "end": True}
    assert kinds(hand_made(*spoken((1, 2), (3, 4), (9.5, 10)), end)) == [(2, "hold"), (4, "end"), (10, "end")]
    talk = {"t": 2.5, "agent": "started"}, {"t": 3.5, "agent": "stopped"}
    assert kinds(hand_made(*spoken((1, 2), (4, 5)), *talk, end)) == [(2, "end"), (5, "end")]
    # The user speaks on as the agent begins: it may have cut in, or the user was quick.
    assert kinds(hand_made(*spoken((1, 2), (3.2, 5)), *talk, end)) == [(2, "unclear"), (5, "end")]
    # Nobody answers what is said over the agent.
    over = {"t": 0.5, "agent": "started"}, {"t": 8.0, "agent": "stopped"}
    assert kinds(hand_made(*spoken((1, 2), (9, 10)), *over, end)) == [(2, "unclear"), (10, "end")]


def test_what_the_policy_did_not_decide_counts_for_nothing() -> None:
    two = spoken((1, 2), (12, 13))
    assert kinds(hand_made(*two, {"t": 2.4, "app": "force_end"}, {"t": 13.4, "end": True})) == [
        (2, "unclear"),
        (13, "unclear"),  # the recording ends too soon
    ]
    lost = {"t": 2.1, "link": "lost"}, {"t": 4.0, "link": "restored", "audio": 2.5}
    assert kinds(hand_made(*two, *lost, {"t": 20.0, "end": True}))[0] == (2, "unclear")


def test_the_other_channel_answers() -> None:
    one = hand_made(
        *spoken((1, 2), (6, 7)), *spoken((3, 4), channel=1), {"t": 20.0, "end": True}, channels=2
    )  # fmt: skip
    assert kinds(one) == [(2, "end"), (7, "end")]
    assert kinds(one, 1) == [(4, "end")]


def test_noise_is_no_speech() -> None:
    end = {"t": 30.0, "end": True}
    # A click between; a voice that noise holds open; no VAD at all.
    assert kinds(hand_made(*spoken((1, 2), (4, 5)), *voice(2.6, 2.9), end)) == [(2, "hold"), (5, "end")]
    assert kinds(hand_made(*voice(1, 9), final(2.3, 1.1, 2), final(9.3, 7, 8.9), end)) == [(2, "end"), (9, "end")]
    assert kinds(hand_made(final(2.3, 1.1, 2), final(5.3, 3, 4), end, vad=False)) == [(2, "hold"), (4, "end")]


# Another policy


def test_under_the_recorded_policy_all_is_as_recorded(calls: list[Conversation], recorded: list[Trace]) -> None:
    for call, one in zip(calls, recorded, strict=True):
        # An episode does not know of the caller's pauses before it.
        policy = preset("balanced").replace({"silence.prior": 1e6})
        happened = [o.at for o in converse(call, policy) if isinstance(o, TurnCompleted)]
        replayed = [completion.at for episode in episodes(one) for completion in run(episode, policy)]
        assert replayed == pytest.approx(happened, abs=1e-4)


@pytest.mark.parametrize(
    ("settings", "cutoffs", "late"),
    [
        ({"silence.price": 0.3}, 0.005, 0.005),
        ({"silence.price": 8}, 0.005, 0.02),
        ({"odds.plain": 0.1, "odds.stop": 0.7}, 0.005, 0.005),
        ({"finalize_on_silence.finalize_after": 0.05}, 0.005, 0.005),
        # Asks later than the recorded policy, whose Finalizes left no endpoint: known to come out too slow.
        ({"finalize_on_silence.finalize_after": 0.5}, 0.06, 0.12),
    ],
)
def test_another_policy_comes_out_as_in_a_session_of_its_own(
    calls: list[Conversation], turns: list[Episode], settings: dict[str, float], cutoffs: float, late: float
) -> None:
    other = preset("balanced").replace(settings)
    predicted = figures(outcome(turns, other))
    happened = figures(outcome(cut(simulated(other, calls)), other))
    assert (predicted.holds, predicted.ends) == (happened.holds, happened.ends)
    assert predicted.cutoffs == pytest.approx(happened.cutoffs, abs=cutoffs)
    assert predicted.mean == pytest.approx(happened.mean, abs=late)


def test_an_answer_follows_its_finalize_and_knows_no_more() -> None:
    """Recorded: Finalize at 2.5, answered at 2.9; "b" was spoken by 2.0."""
    words = [{"word": "a", "start": 1.0, "end": 1.4}, {"word": "b", "start": 1.5, "end": 2.0}]
    answer = final(2.9, 1.0, 2.5, from_finalize=True)
    answer["stt"]["channel"]["alternatives"] = [{"transcript": "a b", "words": words}]
    one = hand_made(*voice(1, 2), {"t": 2.5, "sent": {"type": "Finalize"}}, answer, {"t": 20.0, "end": True})
    (episode,) = episodes(one)
    quick = {"silence.price": 0.0}
    for after in (0.25, 0.6, 1.5):
        policy = Policy().replace(quick | {"finalize_on_silence.finalize_after": after})
        (completion,) = run(episode, policy)
        assert completion.reach == 2.0
        assert completion.at == pytest.approx(2.0 + after + 0.4, abs=0.001)


def test_figures() -> None:
    index = np.zeros(100, np.int64)
    latency = np.array([0.5] * 90 + [2.0] * 8 + [np.inf] * 2)
    result = Outcome(np.arange(100) < 10, index, latency, index, np.isfinite(latency))
    f: Figures = figures(result)
    assert (f.cutoffs, f.p50, f.p90, f.missed, f.incomplete) == (0.1, 0.5, 2.0, 0.02, 0.0)
    assert f.mean == pytest.approx(0.9 * 0.5 + 0.08 * 2 + 0.02 * 5)
    assert f.cutoffs_between == pytest.approx((0.0552, 0.1744), abs=1e-3)  # Wilson's interval of 10 in 100
    assert f.mean_between[0] < f.mean < f.mean_between[1]


# Search


def test_front_is_what_nothing_beats() -> None:
    random = Random(SEED)
    none = np.zeros(0, np.int64)
    trials = []
    for _ in range(50):
        cuts = np.arange(20) < random.randrange(20)
        trials.append(Trial({}, Outcome(cuts, none, np.array([random.random()]), none, np.array([True]))))
    found = front(trials)
    for trial in trials:
        beaten = any(
            (f.cutoffs <= trial.cutoffs and f.latency < trial.latency)
            or (f.cutoffs < trial.cutoffs and f.latency <= trial.latency)
            for f in trials
        )
        assert (trial in found) != beaten


def test_search_does_not_depend_on_the_processes(recorded: list[Trace]) -> None:
    few = ["silence.price", "odds.plain", "odds.comma"]
    alone = tune(recorded, target=0.2, parameters=few, trials=30, seed=1)
    assert tune(recorded, target=0.2, parameters=few, trials=30, seed=1, jobs=2).as_dict() == alone.as_dict()
    assert alone.chosen.searched.cutoffs <= 0.2
    assert alone.chosen.searched.mean < alone.factor.searched.mean


def test_what_is_held_out_is_not_searched(turns: list[Episode]) -> None:
    for traces, unit in ((CALLS, "turns"), (6, "traces")):  # so few traces are divided by turns
        seen, unseen, name = _split(turns, traces, SEED)
        assert name == unit
        assert sorted(map(id, [*seen, *unseen])) == sorted(map(id, turns))
        holds = [sum(p.kind == "hold" for e in part for p in e.pauses) for part in (seen, unseen)]
        assert 0.2 < holds[1] / sum(holds) < 0.5
    assert _split(turns, CALLS, SEED + 1)[1] != _split(turns, CALLS, SEED)[1]
    assert not {e.trace for e in seen} & {e.trace for e in unseen}


def test_parameters_by_name_and_pattern() -> None:
    assert [p.key for p in chosen_parameters(Policy(), ["odds.st*", "max_turn"])] == [
        "odds.stop",
        "max_turn",
    ]
    with pytest.raises(UsageError, match=r"no parameter 'silence\.stop'; did you mean odds\.stop\?"):
        chosen_parameters(Policy(), ["silence.stop"])


def test_one_parameter_alone_is_swept_no_wider_than_among_others(turns: list[Episode]) -> None:
    (odds,) = chosen_parameters(Policy(), ["odds.comma"])
    trials = search(turns[:1], Policy(), [odds], target=0.1, trials=16, seed=1, jobs=1)
    swept = [trial.settings.get("odds.comma", odds.value) for trial in trials]
    assert min(swept) == 0.02
    assert max(swept) == 0.32
    assert len(set(swept)) > 8  # and not the same at both ends


@pytest.mark.parametrize(("key", "least", "most"), [("odds.question", 0.21, 0.999), ("odds.stop", 0.11, 0.999)])
def test_one_parameter_alone_is_swept_to_its_bounds_and_wastes_no_trial_beyond(
    turns: list[Episode], key: str, least: float, most: float
) -> None:
    chosen = chosen_parameters(Policy(), [key])
    first, *trials = search(turns[:1], Policy(), chosen, target=0.1, trials=16, seed=1, jobs=1)
    assert first.settings == {}
    swept = [trial.settings.get(key, chosen[0].value) for trial in trials]
    assert swept == sorted(set(swept))
    assert (swept[0], swept[-1]) == (least, most)


def test_the_price_is_swept_sixteen_times_each_way(turns: list[Episode]) -> None:
    price = chosen_parameters(Policy(), ["silence.price"])
    trials = search(turns[:1], Policy(), price, target=0.1, trials=16, seed=1, jobs=1)
    swept = [trial.settings.get("silence.price", price[0].value) for trial in trials[1:]]
    assert swept == pytest.approx(list(price[0].value * np.geomspace(1 / 16, 16, 15)), abs=0.01)


# The command


def test_command(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, png = tmp_path / "found.toml", tmp_path / "front.png"
    options = ["--target-cutoff", "0.2", "--trials", "17", "--jobs", "1", "--parameters", "silence.price,odds.p*"]
    assert main(["tune", *files, *options, "-o", str(out), "--plot", str(png)]) == 0
    table = capsys.readouterr().out
    assert "held out:" in table
    assert png.read_bytes().startswith(b"\x89PNG")
    assert str(tmp_path) not in out.read_text()
    found = load_policy(str(out))
    assert main(["tune", *files, *options, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert found.to_dict() == data["policy"]
    assert data["chosen"]["settings"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["found.toml", "front.png"]
    # What the file says of itself is what comes out when it is used.
    assert main(["tune", *files, *options, "--trials", "1", "--policy", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["base"]["searched"] == data["chosen"]["searched"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["CALL", "--target-cutoff", "1.5"], "the target is a share of pauses, more than 0 and less than 1, not 1.5"),
        (["CALL", "--parameters", "silence.hold"], "--parameters: policy 'balanced' has no parameter 'silence.hold'"),
        (["SHORT"], "too little to learn from: 3 ends of turns, and 10 are the least; record about 4 times as much"),
        (["SILENT"], "no final words in it"),
        (["missing.jsonl"], "missing.jsonl: cannot read the trace"),
        (["CALL", "-o", "nowhere/found.toml"], "nowhere/found.toml: cannot write: No such file or directory"),
        (["CALL", "-o", "found.txt"], "must end in .toml"),
        (["CALL", "--plot", "front.gif"], "must end in .png"),
        (["CALL", "--trials", "0"], "at least one policy"),
        (["CALL", "--seed", "-1"], "a seed is 0 or more"),
    ],
)
def test_bad_input_is_one_line(
    files: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("silent.jsonl").write_text('{"hearout_trace": 1, "stt": "deepgram"}\n{"t": 9, "end": true}\n')
    three = sorted(spoken((1, 2), (12, 13), (23, 24)), key=lambda record: float(record["t"]))
    records = [{"hearout_trace": 1, "stt": "deepgram"}, *three, {"t": 60.0, "end": True}]
    Path("short.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    names = {"CALL": files[0], "SILENT": "silent.jsonl", "SHORT": "short.jsonl"}
    assert main(["tune", *(names.get(argument, argument) for argument in arguments)]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["short.jsonl", "silent.jsonl"]


def test_the_file_admits_a_target_that_was_missed(recorded: list[Trace]) -> None:
    tuned = tune(recorded, target=0.06, trials=2)
    assert not tuned.reached
    assert "which was not reached" in policy_toml(tuned)
    assert "note" not in " ".join(tuned.notices)


def test_interrupted(files: list[str], tmp_path: Path) -> None:
    command = [*COMMAND, "tune", *files, "--target-cutoff", "0.1", "--trials", "100000", "--jobs", "2", "-o", "p.toml"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        while process.poll() is None and children.exists() and len(children.read_text().split()) < 2:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        try:
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, err) == (130, "hearout: interrupted\n")
    assert list(tmp_path.iterdir()) == []


# What was asked


def test_what_was_asked_goes_with_its_turn_and_recorded_policies_do_not() -> None:
    """Each turn is run by itself: the question that came before it is asked again."""

    def digits(t: float, start: float) -> dict[str, Any]:
        words = [
            {"word": word, "start": start + 0.3 * n, "end": start + 0.3 * n + 0.3}
            for n, word in enumerate(("one", "two", "three"))
        ]
        alternatives = [{"transcript": "one two three", "words": words}]
        message = {"type": "Results", "channel_index": [0, 1], "start": start, "duration": 0.9}
        return {"t": t, "stt": message | {"is_final": True, "channel": {"alternatives": alternatives}}}

    turns = [1.0, 13.0]
    asked = [{"t": at - 0.5, "expected": [{"type": "digits", "least": 3}]} for at in turns]
    talk = [r for at in turns for r in (*voice(at, at + 0.9), digits(at + 1.2, at))]
    slow = {"t": 0.2, "policy": {"base": "dictation"}}
    end = {"t": 40.0, "end": True}
    untold, told, recorded = ([*talk, end], [*talk, *asked, end], [slow, *talk, *asked, end])
    means = []
    for records in (untold, told, recorded):
        found = figures(outcome(cut([hand_made(*records)]), Policy()))
        assert found.ends == 2
        means.append(round(found.mean, 3))
    assert means[0] > 1.0
    assert means[1:] == [0.3, 0.3]  # when the final words are there
