"""What runs in this thread, trio or asyncio, and the right call for each."""

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from functools import wraps
from types import TracebackType
from typing import Generic, Literal, NoReturn, ParamSpec, TypeVar

import trio

from hearout.errors import UsageError
from hearout.writing import meant

__all__ = ["check_names", "only_in", "outside_loops", "running"]

Library = Literal["trio", "asyncio"]

P = ParamSpec("P")
T = TypeVar("T")

_CALLS = {"trio": "hearout", "asyncio": "hearout.aio", None: "hearout.threads"}


def running() -> Library | None:
    """That whose task this is, None where none runs. A guest of asyncio's is trio."""
    if trio.lowlevel.in_trio_task():
        return "trio"
    asyncio = sys.modules.get("asyncio")
    return "asyncio" if asyncio is not None and asyncio._get_running_loop() is not None else None


def only_in(library: Library) -> Callable[[Callable[P, AsyncIterator[T]]], Callable[P, AbstractAsyncContextManager[T]]]:
    """`asynccontextmanager`, of managers for one library; elsewhere one line says what is the right call there."""

    def decorate(function: Callable[P, AsyncIterator[T]]) -> Callable[P, AbstractAsyncContextManager[T]]:
        manager = asynccontextmanager(function)

        @check_names(_CALLS[library])
        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> AbstractAsyncContextManager[T]:
            return _Only(library, function.__name__, manager(*args, **kwargs))

        return call

    return decorate


def outside_loops(function: Callable[P, Iterator[T]]) -> Callable[P, AbstractContextManager[T]]:
    """`contextmanager`, of managers of `hearout.threads`; where a loop runs, one line says what is the right call."""
    manager = contextmanager(function)

    @check_names(_CALLS[None])
    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> AbstractContextManager[T]:
        return _Outside(function.__name__, manager(*args, **kwargs))

    return call


def check_names(module: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Of a call of ``module``: an option that it has not is a `UsageError` in one line."""

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        known = inspect.signature(function).parameters

        @wraps(function)
        def call(*args: P.args, **given: P.kwargs) -> T:
            for name in given:
                if name not in known:
                    raise UsageError(f"{module}.{function.__name__} has no option {name}{meant(name, known)}")
            return function(*args, **given)

        return call

    return decorate


class _Only(AbstractAsyncContextManager[T], Generic[T]):
    def __init__(self, library: Library, name: str, manager: AbstractAsyncContextManager[T]) -> None:
        self._library: Library = library
        self._name = name
        self._manager = manager

    async def __aenter__(self) -> T:
        if (here := running()) != self._library:
            self._refuse(f"is for {self._library}, and this is {here or 'neither trio nor asyncio'}", _CALLS[here])
        return await self._manager.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await self._manager.__aexit__(kind, error, traceback)

    def __enter__(self) -> NoReturn:
        if (here := running()) is None:
            self._refuse("needs a loop, and none runs here", _CALLS[None])
        self._refuse("takes `async with`", _CALLS[here], "async with ")

    def __exit__(self, *_: object) -> None:
        """Is never reached; `with` wants it."""

    def __await__(self) -> NoReturn:
        self.__enter__()

    def _refuse(self, why: str, module: str, keyword: str = "") -> NoReturn:
        raise UsageError(f"{_CALLS[self._library]}.{self._name} {why}: use {keyword}{module}.{self._name}")


class _Outside(AbstractContextManager[T], Generic[T]):
    def __init__(self, name: str, manager: AbstractContextManager[T]) -> None:
        self._name = name
        self._manager = manager

    def __enter__(self) -> T:
        if (here := running()) is not None:
            self._refuse(here)
        return self._manager.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return self._manager.__exit__(kind, error, traceback)

    async def __aenter__(self) -> NoReturn:
        self._refuse(running() or "asyncio")

    async def __aexit__(self, *_: object) -> None:
        """Is never reached; `async with` wants it."""

    def _refuse(self, here: Library) -> NoReturn:
        raise UsageError(
            f"hearout.threads.{self._name} would block the loop of {here} in this thread: use async with "
            f"{_CALLS[here]}.{self._name}"
        )
