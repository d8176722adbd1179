"""A thread of the operating system for trio, also in a process where gevent has put greenlets in the place of threads.

``gevent.monkey.patch_all()`` replaces `threading.Thread` and the locks, and takes `select.epoll` away. trio must have
them as they were: in a greenlet it would stop all others whenever it waits. gevent keeps the originals.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any

import trio

from hearout.threads.waiting import gevent_monkey, native_lock

__all__ = ["begin_thread", "wake_greenlets"]

_WAKE_EVERY = 0.05  # seconds

#: What trio asks for when it begins, and gevent replaces: module, name.
_AT_THE_BEGINNING = (("select", "epoll"), ("select", "kqueue"), ("threading", "_CRLock"))


def begin_thread(run: Callable[[Callable[[], object]], object], name: str) -> None:
    """Call ``run`` in a thread that does not keep the program from ending, and wait until it calls what it is given."""
    if (monkey := gevent_monkey()) is None:
        begun = threading.Event()
        threading.Thread(target=run, args=(begun.set,), name=name, daemon=True).start()
        begun.wait()
        return
    _native_workers(monkey)
    begun_natively = native_lock()
    begun_natively.acquire()
    with ExitStack() as stack:
        for module, attribute in _AT_THE_BEGINNING:
            if (original := monkey.saved.get(module, {}).get(attribute)) is not None:
                stack.enter_context(_put_back(sys.modules[module], attribute, original))
        monkey.get_original("_thread", "start_new_thread")(run, (begun_natively.release,))
        begun_natively.acquire()  # as no greenlet does: none of them runs meanwhile, and sees the originals


@contextmanager
def _put_back(module: ModuleType, name: str, original: object) -> Iterator[None]:
    there = name in vars(module)
    patched = vars(module).get(name)
    setattr(module, name, original)
    try:
        yield
    finally:
        if there:
            setattr(module, name, patched)
        else:
            delattr(module, name)


async def wake_greenlets() -> None:
    """In trio, for ever: let gevent wake the greenlets that wait for locks which were given back in this thread.

    Those are not hearout's own, but those of logging, or of what else an application's recorder or rule shares with it.
    """
    if gevent_monkey() is None:
        return
    import gevent

    while True:
        await trio.sleep(_WAKE_EVERY)
        gevent.sleep(0)


def _native_workers(monkey: Any) -> None:
    """Have trio's own threads, for names of hosts and for models, be native, too."""
    from trio._core import _thread_cache

    class Worker(threading.Thread):
        def start(self) -> None:
            monkey.get_original("_thread", "start_new_thread")(self.run, ())

    vars(_thread_cache).update(Thread=Worker, Lock=native_lock)
