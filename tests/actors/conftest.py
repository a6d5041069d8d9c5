"""A bare engine, actors that do what they are told, and a door to hold their handlers at."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, Self

import pytest

from puckstream.actors import lifecycle
from puckstream.actors.actor import Actor
from puckstream.actors.ref import ActorRef
from puckstream.actors.reply import Reply
from puckstream.actors.scheduler import Scheduler
from puckstream.actors.thread_actor import ThreadActor
from puckstream.testing.clock import VirtualClock
from puckstream.testing.probe import Probe

PATIENCE = 20.0
"""Seconds for which a thread waits before the test has failed."""


class Engine:
    """An engine without a node, closed at the end of ``async with``.

    A test that fails opens its door: what is held there would hang the closing of the loop.
    """

    door: Door

    def __init__(self) -> None:
        self.clock = VirtualClock()

    async def __aenter__(self) -> Self:
        self.system = Scheduler(asyncio.get_running_loop(), self.clock)
        return self

    async def __aexit__(self, error: object = None, *_: object) -> None:
        if error is not None:
            self.door.open()
        await self.system.close(grace=PATIENCE)

    def spawn(self, actor_class: type[Actor], *args: Any, **kwargs: Any) -> Reply[ActorRef[Any]]:
        """Start an actor; from any thread."""

        def start() -> ActorRef[Any] | Reply[ActorRef[Any]]:
            return lifecycle.handshake(lifecycle.spawn(self.system, actor_class, args, kwargs))

        return self.system.perform(start)

    async def probe(self) -> Probe:
        return await Probe.on(self)

    async def settle(self) -> None:
        """Let the loop do what it can."""
        await self.clock.settle()

    async def no_zombies(self) -> None:
        """Wait until nothing runs of those that were killed."""
        async with asyncio.timeout(PATIENCE):
            while self.system.zombies:
                await asyncio.sleep(0)


class Door:
    """Holds a handler until the test opens it; for coroutines and for threads."""

    def __init__(self) -> None:
        self.reached: Reply[None] = Reply()
        self._open: Reply[None] = Reply()

    def open(self) -> None:
        self._open._resolve(None)

    def hold(self, actor: object) -> Any:
        """Hold the handler of ``actor`` here: return this call from it."""
        return self.block() if isinstance(actor, ThreadActor) else self.wait()

    async def wait(self) -> None:
        self.reached._resolve(None)
        await self._open

    async def resist(self) -> None:
        """Wait like `wait`, and swallow what an exit and a kill do to the task."""
        self.reached._resolve(None)
        while not self._open.done:
            with contextlib.suppress(asyncio.CancelledError):
                await self._open

    def block(self) -> None:
        self.reached._resolve(None)
        self._open.get(timeout=PATIENCE)


class Doer(Actor):
    """Calls the functions it is sent with itself, and keeps all other messages.

    It answers a request with what the function returns, or with the message itself.
    """

    def __init__(self, heard: list[Any] | None = None) -> None:
        super().__init__()
        self.heard: list[Any] = [] if heard is None else heard

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, BaseException):
            raise message
        if callable(message):
            return message(self)
        self.heard.append(message)
        return message

    def on_stop(self) -> Any:
        self.heard.append("on_stop")

    def on_failure(self, *error: Any) -> Any:
        self.heard.append("on_failure")


class ThreadDoer(ThreadActor):
    """A `Doer` with a thread."""

    def __init__(self, heard: list[Any] | None = None) -> None:
        super().__init__()
        self.heard: list[Any] = [] if heard is None else heard

    on_receive = Doer.on_receive
    on_stop = Doer.on_stop
    on_failure = Doer.on_failure


class Trapper(Doer):
    """A `Doer` that traps exits."""

    trap_exit = True


class ThreadTrapper(ThreadDoer):
    """A `ThreadDoer` that traps exits."""

    trap_exit = True


class Threads:
    """Threads of a test, joined at its end; what they raise fails the test."""

    def __init__(self) -> None:
        self._threads: list[tuple[threading.Thread, Reply[Any]]] = []

    def run(self, function: Callable[..., Any], *args: Any) -> Reply[Any]:
        """Run ``function(*args)`` in a new thread; the reply has its result."""
        reply: Reply[Any] = Reply()

        def run() -> None:
            try:
                reply._resolve(function(*args))
            except BaseException as error:  # noqa: BLE001  # handed to whoever waits
                reply._reject(error)

        thread = threading.Thread(target=run, daemon=True)
        self._threads.append((thread, reply))
        thread.start()
        return reply

    def join(self) -> None:
        for thread, _ in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a thread of the test hangs"


@pytest.fixture
def engine(door: Door) -> type[Engine]:
    """Make an engine: ``async with engine() as e``."""
    return type("EngineWithDoor", (Engine,), {"door": door})


@pytest.fixture
def threads() -> Any:
    """Run functions in threads, which are joined at the end."""
    threads = Threads()
    yield threads
    threads.join()


@pytest.fixture
def door() -> Door:
    """A closed door."""
    return Door()


@pytest.fixture
def new_door() -> type[Door]:
    """Make a closed door."""
    return Door


@pytest.fixture
def doer() -> type[Doer]:
    """The actor class that does what it is told, on the loop."""
    return Doer


@pytest.fixture
def thread_doer() -> type[ThreadDoer]:
    """The same with a thread."""
    return ThreadDoer


@pytest.fixture(params=[Doer, ThreadDoer], ids=["Actor", "ThreadActor"])
def kind(request: pytest.FixtureRequest) -> Any:
    """Either kind of actor."""
    return request.param


@pytest.fixture(params=[Trapper, ThreadTrapper], ids=["Actor", "ThreadActor"])
def trapper(request: pytest.FixtureRequest) -> Any:
    """Either kind of actor, trapping exits."""
    return request.param


@pytest.fixture
def outcome() -> Callable[[Reply[Any]], Any]:
    """Return what a settled reply holds: its value, or its exception."""

    def of(reply: Reply[Any]) -> Any:
        assert reply.done, "never answered"
        try:
            return reply.get()
        except BaseException as error:  # noqa: BLE001  # it is what the test asks for
            return error

    return of
