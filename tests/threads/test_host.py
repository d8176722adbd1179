"""The thread of all sessions: the end of the program, forks, Ctrl-C, servers with a thread for each request, gevent."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from socketserver import ThreadingMixIn
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest

from hearout import AudioFormat, Deepgram, TurnCompleted, threads
from tests.kit.callers import heard
from tests.kit.serving import playing
from tests.kit.threads_runs import opened, push_all, turns_of

SAID = heard(0.3, "hello.", 0.1, 0.2)


def program(code: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-c", code],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_program(code: str) -> tuple[str, str, int]:
    with program(code) as process:
        try:
            out, err = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)  # faulthandler tells where it stands
            pytest.fail(f"the program does not end: {process.communicate()}")
        return out, err, process.returncode


def test_nothing_begins_before_the_first_session() -> None:
    done = run_program("import threading\nfrom hearout import threads\nprint(threading.enumerate().__len__())")
    assert done == ("1\n", "", 0)


def test_the_program_ends_with_a_session_open() -> None:
    # As an object does that opens a session in its ``start`` and closes it in a ``stop`` that is never called.
    done = run_program("""
from contextlib import ExitStack
from tests.kit.provider import Source
from tests.kit.threads_runs import opened

class Told(Source):
    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        if name == "closed" and value:
            print("closed", flush=True)

stack = ExitStack()
session = stack.enter_context(opened(Told(60.0), realtime=True))
while not session.heard:
    pass
print("done", flush=True)
""")
    assert done == ("done\nclosed\n", "", 0)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process")
def test_ctrl_c_ends_the_session() -> None:
    with program("""
from tests.kit.provider import Source
from tests.kit.threads_runs import opened
with opened(Source(60.0), realtime=True) as session:
    print("listening", flush=True)
    for event in session:
        pass
""") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "listening\n"
        time.sleep(0.2)  # it may not be at its loop yet; before that the answer is the same
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert err.splitlines()[-1] == "KeyboardInterrupt"
    assert process.returncode == -signal.SIGINT


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_process_has_sessions_of_its_own() -> None:
    done = run_program("""
import os, sys, warnings
from hearout import AudioFormat, SessionError
from tests.kit.threads_runs import opened, push_all, turns_of

warnings.simplefilter("ignore", DeprecationWarning)  # of forks in a process with threads
def listen():
    with opened(AudioFormat()) as session:
        push_all(session)
        return turns_of(session)

listen()  # so that its thread imports nothing more: what it is importing, a forked process never gets
with opened(AudioFormat()) as session:
    if (child := os.fork()) == 0:
        for use in (session.force_end, session.wait, lambda: next(session), lambda: session.push(b"")):
            try:
                use()
            except SessionError as error:
                print(error)
        print("child", listen(), flush=True)
    else:
        print("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        push_all(session)
        print("parent", turns_of(session), flush=True)
""")
    inherited = "this session belongs to the process that this one was forked from: open sessions after the fork\n"
    assert done[1] == ""
    assert done == (inherited * 4 + "child ['yes please.']\nchild 0\nparent ['yes please.']\n", "", 0)


def test_sessions_fail_when_trio_itself_breaks_down_and_the_next_ones_run() -> None:
    done = run_program("""
from hearout import AudioFormat, SessionError
from tests.kit.threads_runs import break_trio, opened, push_all, turns_of

try:
    with opened(AudioFormat()) as session:
        break_trio()
        print(list(session))
except SessionError as error:
    print(error)
with opened(AudioFormat()) as session:
    push_all(session)
    print(turns_of(session))
""")
    assert done[0].splitlines()[0] == "[]"
    assert "trio broke down: TrioInternalError" in done[0]
    assert done[0].splitlines()[-1] == "['yes please.']"


class ThreadedServer(ThreadingMixIn, WSGIServer):
    """As Flask's development server is."""

    daemon_threads = True


class Quiet(WSGIRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


def test_a_server_with_a_thread_for_each_request() -> None:
    with playing(SAID) as address:

        def answer(environ: Any, start_response: Any) -> Iterator[bytes]:
            with threads.open_session(AudioFormat(), Deepgram("k", f"ws://{address}/v1/listen"), vad=None) as session:
                body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
                for at in range(0, len(body), 640):
                    session.push(body[at : at + 640])
                session.finish()
                texts = [event.text for event in session if isinstance(event, TurnCompleted)]
            start_response("200 OK", [("Content-Type", "text/plain")])
            return iter([" ".join(texts).encode()])

        def ask(_: int) -> str:
            connection = HTTPConnection("127.0.0.1", server.server_port, timeout=30)
            connection.request("POST", "/turns", bytes(16_000))
            text = connection.getresponse().read().decode()
            connection.close()
            return text

        with make_server("127.0.0.1", 0, answer, ThreadedServer, Quiet) as server:
            serving = Thread(target=server.serve_forever)
            serving.start()
            with ThreadPoolExecutor(4) as pool:
                assert list(pool.map(ask, range(4))) == ["hello."] * 4
            server.shutdown()
            serving.join()


@pytest.mark.skipif(importlib.util.find_spec("gevent") is None, reason="gevent is not installed")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])  # a name is looked up in a thread of trio's
def test_greenlets(host: str) -> None:
    with playing(SAID) as address:
        url = f"ws://{address.replace('127.0.0.1', host)}/v1/listen"
        done = run_program(f"""
from gevent import monkey
monkey.patch_all()
import gevent
from hearout import AudioFormat, Deepgram, TurnCompleted, threads

turns = []
ticks = 0

def tick():
    global ticks
    while True:
        gevent.sleep(0.01)
        ticks += 1

def listen(number):
    with threads.open_session(AudioFormat(), Deepgram("k", {url!r}), vad=None) as session:
        def push():
            for _ in range(25):
                session.push(bytes(640))
                if number < 2:  # the others all at once, for locks that both sides want
                    gevent.sleep(0.02)
            session.finish()
        gevent.spawn(push)
        if number % 2:
            session.on(TurnCompleted, lambda event: turns.append(event.text))
            session.wait()
        else:
            turns.extend(event.text for event in session if isinstance(event, TurnCompleted))
        session.force_end()

gevent.spawn(tick)
for _ in range(2):
    gevent.joinall([gevent.spawn(listen, number) for number in range(8)], timeout=20, raise_error=True)
print(turns, ticks > 20)
import select, threading
print(hasattr(select, "epoll"), threading.RLock())
""")
    lines = done[0].splitlines()
    assert lines[0] == f"{['hello.'] * 16} True", done
    assert lines[1].startswith("False <unlocked threading._RLock"), done
    assert done[2] == 0
    assert done[1] == ""


@pytest.mark.skipif(importlib.util.find_spec("gevent") is None, reason="gevent is not installed")
def test_greenlets_that_want_a_lock_of_loggings() -> None:
    # gevent leaves it to a loop in the thread of the sessions to wake them.
    done = run_program("""
from gevent import monkey
monkey.patch_all()
import gevent, logging, os
from hearout.threads.host import Host

logging.basicConfig(stream=open(os.devnull, "w"), level=logging.INFO)
log, host = logging.getLogger("application"), Host.running()

def write():
    for _ in range(200):
        log.info("from the thread of the sessions")

def listen():
    for number in range(1000):
        log.info("from a greenlet")
        if number % 20 == 0:
            host.soon(write)
            gevent.sleep(0)

greenlets = [gevent.spawn(listen) for _ in range(5)]
gevent.joinall(greenlets, timeout=30)
print([greenlet.ready() for greenlet in greenlets])
""")
    assert done == (f"{[True] * 5}\n", "", 0)


def test_the_thread_serves_after_all_this() -> None:
    with opened(AudioFormat()) as session:
        push_all(session)
        assert turns_of(session) == ["yes please."]
