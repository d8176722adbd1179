"""Ctrl-C wherever it comes, and sessions that nobody closed: the thread of all sessions must not wait for ever."""

from __future__ import annotations

import sys

import pytest

from tests.threads.test_host import run_program

EVERYWHERE = '''
import dis, faulthandler, itertools, os, sys
from hearout import AudioFormat
from tests.kit.threads_runs import opened, push_all, turns_of

OURS = os.path.join("hearout", "threads") + os.sep, os.sep + "threading.py"
LOOKS = "CALL", "JUMP_BACKWARD", "RESUME"  # behind these steps the interpreter looks for signals

class Interrupt:
    """Ctrl-C at the n-th place where it can come."""

    def __init__(self, number):
        self.left, self.steps = number, {}

    def __call__(self, frame, event, _):
        if not any(part in frame.f_code.co_filename for part in OURS):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            last = self.steps.get(frame, "")
            self.steps[frame] = dis.opname[frame.f_code.co_code[frame.f_lasti]]
            self.left -= last.startswith(LOOKS)
            if not self.left:
                sys.settrace(None)
                raise KeyboardInterrupt
        return self

def listen():
    with opened(AudioFormat()) as session:
        session.push(b"")
        session.force_end()
        session.finish()
        list(session)

listen()  # with it the thread of all sessions has begun
faulthandler.dump_traceback_later(50, exit=True)
for number in itertools.count(1, 2):
    sys.settrace(Interrupt(number))
    try:
        listen()
        break
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(None)
print("interrupted at many places" if number > 100 else number)
with opened(AudioFormat()) as session:
    push_all(session)
    print(turns_of(session))
'''


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="knows CPython's steps")
def test_ctrl_c_at_any_step() -> None:
    assert run_program(EVERYWHERE) == ("interrupted at many places\n['yes please.']\n", "", 0)


@pytest.mark.parametrize("where", ["Host.running().soon(collect)", "collect()"])
def test_a_session_that_nobody_closed_is_collected_in_any_thread(where: str) -> None:
    done = run_program(f"""
import gc, threading
from hearout import AudioFormat
from hearout.threads.host import Host
from tests.kit.threads_runs import opened, push_all, turns_of

class Bot:
    def __init__(self):
        self.block = opened(AudioFormat())
        self.session = self.block.__enter__()
        self.me = self  # so that it is no garbage until somebody looks for some

def collect():
    gc.collect()
    collected.set()

gc.disable()
Bot()
collected = threading.Event()
{where}
print(collected.wait(20))
with opened(AudioFormat()) as session:
    push_all(session)
    print(turns_of(session))
""")
    assert done == ("True\n['yes please.']\n", "", 0)


def test_a_generator_with_a_session_in_it_is_closed_when_that_is_over() -> None:
    done = run_program("""
from hearout import TurnStarted
from tests.kit.provider import Source
from tests.kit.threads_runs import opened

def turns():
    with opened(source) as session:
        yield from session

source = Source(600.0)
events = turns()
next(events)
events.close()
print(source.closed)
""")
    assert done == ("True\n", "", 0)


def test_at_the_end_of_the_program_no_session_begins() -> None:
    done = run_program("""
import atexit

def late():
    try:
        with opened(AudioFormat()):
            pass
    except SessionError as error:
        print(error)

atexit.register(late)  # is called after what was registered later
from hearout import AudioFormat, SessionError
from tests.kit.threads_runs import opened, push_all, turns_of

with opened(AudioFormat()) as session:
    push_all(session)
    print(turns_of(session))
""")
    assert done == ("['yes please.']\nits thread has ended, and the sessions with it\n", "", 0)


def test_a_session_of_a_thread_that_broke_down_says_so() -> None:
    done = run_program("""
from hearout import AudioFormat, SessionError
from tests.kit.threads_runs import break_trio, opened

try:
    with opened(AudioFormat()) as session:
        break_trio()
        try:
            list(session)
        except SessionError as error:
            print(type(error).__name__)
        for use in (session.force_end, lambda: session.push(bytes(2)), lambda: session.now):
            try:
                use()
            except Exception as error:
                print(type(error).__name__)
except SessionError as error:
    print("trio broke down" in str(error))
""")
    assert done[0].splitlines()[0] == "SessionError"
    assert set(done[0].splitlines()[1:-1]) <= {"SessionError", "UsageError"}
    assert done[0].splitlines()[-1] == "True"
