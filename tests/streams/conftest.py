"""A stage for streams: sources fed by the test, time moved by hand, and an audience.

The audience of a stream is whoever follows it, each in another way; `Audience.verdict` holds
what every one of them has seen against the guarantees.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from typing import Any

import pytest

import puckstream as puck
from puckstream.actors.ref import ActorRef
from puckstream.testing.clock import VirtualClock

TURNS = 5000
"""Turns of the loop after which something that should have happened never will."""


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], object]) -> None:
    """Give the loop turns until ``condition`` holds."""
    for _ in range(TURNS):
        if condition():
            return
        await asyncio.sleep(0)
    pytest.fail(f"never came true: {condition}")


class Feed:
    """A source function that does what the test says, and counts how often it is run."""

    END = object()

    def __init__(self) -> None:
        self.runs = 0
        self.running = 0
        self._orders: asyncio.Queue[Any] = asyncio.Queue()

    def __call__(self, *items: Any) -> None:
        """Emit ``items``; an exception among them is raised, `END` returns."""
        for item in items:
            self._orders.put_nowait(item)

    def end(self, result: Any = None) -> None:
        self._orders.put_nowait((Feed.END, result))

    def started(self) -> bool:
        return self.running > 0

    def stopped(self) -> bool:
        return not self.running

    async def source(self, emit: Any) -> Any:
        self.runs += 1
        self.running += 1
        try:
            while True:
                match await self._orders.get():
                    case (Feed.END, result):
                        return result
                    case BaseException() as error:
                        raise error
                    case item:
                        emit(item)
        finally:
            self.running -= 1


class Viewer(puck.Actor):
    """An actor that subscribes itself, and writes down every event of its stream."""

    def __init__(self, stream_id: str, after: Any, seen: list[Any]) -> None:
        super().__init__()
        self._stream_id = stream_id
        self._after = after
        self._seen = seen

    async def on_start(self) -> None:
        await self.node.subscribe(self._stream_id, after=self._after)

    def on_receive(self, message: Any) -> Any:
        match message:
            case ("puck_stream", id, event) if id == self._stream_id:
                self._seen.append(event)
            case ("subscribe", after):
                return self.node.subscribe(self._stream_id, after=after)
            case _:
                self._seen.append(message)
        return None


class Seat:
    """One follower, and what it has seen."""

    def __init__(self, name: str, after: int) -> None:
        self.name = name
        self.after = after
        self.seen: list[Any] = []
        self.ref: ActorRef[Any] | None = None
        self.task: asyncio.Task[None] | None = None

    def complaints(self) -> Iterable[str]:
        """Say what of the first two guarantees does not hold."""
        numbers = [event.seq for event in self.seen]
        expected = list(range(self.after + 1, self.after + 1 + len(numbers)))
        if numbers != expected:
            yield f"{self.name} saw {numbers} instead of {expected}"
        ends = [event.seq for event in self.seen if event.terminal]
        if len(ends) != 1:
            yield f"{self.name} saw {len(ends)} terminal events in {self.seen}"
        elif not self.seen[-1].terminal:
            yield f"{self.name} saw something behind the terminal event: {self.seen}"


class Audience:
    """Everybody who follows one stream."""

    def __init__(self, node: puck.Node, stream: puck.Stream) -> None:
        self._node = node
        self._stream = stream
        self.seats: list[Seat] = []

    async def actor(self, after: int = 0) -> Seat:
        """Seat an actor; it is subscribed when this returns."""
        seat = self._seat("actor", after)
        seat.ref = await self._node.spawn(Viewer, self._stream.id, after, seat.seen)
        return seat

    def actor_soon(self, after: int = 0) -> Seat:
        """Seat an actor that subscribes as soon as somebody is there to hear it."""
        seat = self._seat("actor", after)

        async def spawn() -> None:
            seat.ref = await self._node.spawn(Viewer, self._stream.id, after, seat.seen)

        seat.task = asyncio.create_task(spawn())
        return seat

    def reader(self, after: int = 0) -> Seat:
        """Seat somebody who iterates."""
        seat = self._seat("iterator", after)

        async def read() -> None:
            async with self._stream.subscribe(after=after) as events:
                async for event in events:
                    seat.seen.append(event)

        seat.task = asyncio.create_task(read())
        return seat

    def _seat(self, what: str, after: int) -> Seat:
        seat = Seat(f"{what} {len(self.seats) + 1}", after)
        self.seats.append(seat)
        return seat

    async def gather(self) -> None:
        """Seat two actors and an iterator."""
        await self.actor()
        await self.actor()
        self.reader()
        await turns(2)

    async def verdict(self) -> Any:
        """Wait for the end, let everything settle, and return the terminal event all have seen.

        Fails if any of the audience missed an event, or saw one twice or in the wrong place.
        """
        async with asyncio.timeout(20.0):
            terminal = await self._stream.wait()
        with contextlib.suppress(AssertionError, pytest.fail.Exception):
            await until(lambda: all(seat.seen and seat.seen[-1].terminal for seat in self.seats))
        await turns()
        complaints = [what for seat in self.seats for what in seat.complaints()]
        ends = {id(seat.seen[-1]) for seat in self.seats if seat.seen}
        assert not complaints, "\n".join(complaints)
        assert ends <= {id(terminal)}
        for seat in self.seats:
            if seat.task is not None:
                await seat.task
        return terminal


def kill(node: puck.Node, *names: str) -> None:
    """Kill children of the root at once, all before any of them is restarted."""
    refs = [node.whereis_child(name) for name in names]
    for ref in refs:
        if ref is not None:
            ref.kill()


def crash(node: puck.Node, *names: str) -> None:
    """Have children of the root raise in their next handler."""
    for name in names:
        ref = node.whereis_child(name)
        if ref is not None and ref._actor is not None:
            ref._actor.on_receive = _raise
            ref._deliver("anything")


def _raise(_message: Any) -> None:
    raise RuntimeError("injected")


class Stage:
    """The above, for tests to get as one fixture."""

    Clock = VirtualClock
    Feed = Feed
    Audience = Audience
    Viewer = Viewer
    turns = staticmethod(turns)
    settle = staticmethod(VirtualClock.settle)
    until = staticmethod(until)
    kill = staticmethod(kill)
    crash = staticmethod(crash)

    @staticmethod
    def owner(node: puck.Node, stream: puck.Stream) -> ActorRef[Any]:
        """Return the actor of a stream."""
        owner = node._shelf.get(stream.id, 0.0).owner
        assert isinstance(owner, ActorRef)
        return owner

    @staticmethod
    def log(stream: puck.Stream) -> Any:
        """Return the log of a stream, to look at without a turn of the loop."""
        return stream._log

    @staticmethod
    def reached(stream: puck.Stream, seq: int) -> Callable[[], bool]:
        """Return the condition that a stream's log has come to ``seq``."""
        return lambda: stream._log.last_seq >= seq

    @staticmethod
    async def ended(stream: puck.Stream) -> Any:
        """Return the terminal event, of which the test knows the kind."""
        return await stream.wait()

    @staticmethod
    async def events(stream: puck.Stream, after: Any = 0) -> list[Any]:
        """Return all events of a stream up to its end."""
        return [event async for event in stream.subscribe(after=after)]

    @staticmethod
    def zombies(node: puck.Node) -> int:
        """Return how many workers of killed actors still run."""
        assert node._system is not None
        return len(node._system.zombies)

    @staticmethod
    def nothing_left(node: puck.Node) -> bool:
        """Whether an ended node has left neither actor nor worker behind."""
        system = node._system
        assert system is not None
        return not system.actors and not system.zombies


@pytest.fixture
def stage() -> type[Stage]:
    """Hand out the stage."""
    return Stage


@pytest.fixture
def clock() -> VirtualClock:
    """Make a clock that stands still."""
    return VirtualClock(1000.0)
