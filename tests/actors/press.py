"""A press: an engine and a PubSub whose actor can be killed, its readers and its feeds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Self

from puckstream.actors import lifecycle
from puckstream.actors.actor import Actor
from puckstream.actors.mailbox import Bound
from puckstream.actors.pubsub import PubSub
from puckstream.actors.scheduler import Scheduler
from puckstream.actors.thread_actor import ThreadActor
from puckstream.testing.clock import VirtualClock

__all__ = [
    "TOPIC",
    "Feed",
    "Press",
    "Reader",
    "Slow",
    "Small",
    "Threaded",
    "got",
    "numbered",
    "singly",
]

TOPIC = "news"


class Reader(Actor):
    """Keeps what it gets; runs what it is asked to."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[Any] = []

    def on_receive(self, message: Any) -> Any:
        if callable(message):
            return message()
        self.got.append(message)
        return None


class Threaded(ThreadActor):
    def __init__(self, got: list[Any]) -> None:
        super().__init__()
        self.got = got

    def on_receive(self, message: Any) -> None:
        self.got.append(message)


class Slow(Reader):
    """Takes its time over a message until the test lets it go."""

    def __init__(self) -> None:
        super().__init__()
        self.pace: asyncio.Queue[None] = asyncio.Queue()

    async def on_receive(self, message: Any) -> Any:
        super().on_receive(message)
        await self.pace.get()


class Small(Reader):
    mailbox = Bound(2, "refuse")


class Feed:
    """A growing list of numbered messages, joined with a plus."""

    def __init__(self, name: str, count: int = 0) -> None:
        self.name = name
        self.messages: list[str] = []
        self.ended = False
        self.broken = False
        self.grow(count)

    @property
    def last(self) -> int:
        return len(self.messages)

    def next(self, number: int, count: int, *, join: bool) -> tuple[list[str], int]:
        behind = list(self.after(number))
        if not join:
            return behind[:count], number + len(behind[:count])
        # As with streams, the end is joined to nothing.
        last = behind[-1:] if self.ended else []
        run = behind[: len(behind) - len(last)]
        joined = ["+".join(run), *last] if run else last
        return joined[:count], number + (len(run) if run and count == 1 else len(behind))

    def after(self, number: int) -> Sequence[str]:
        if self.broken:
            raise RuntimeError("broken feed")
        return self.messages[number:]

    def grow(self, count: int = 1) -> None:
        self.messages += [f"{self.name}{self.last + 1 + n}" for n in range(count)]


class Press:
    """An engine and a PubSub whose actor can be killed and started again."""

    async def __aenter__(self) -> Self:
        self.system = Scheduler(asyncio.get_running_loop())
        self.pubsub = PubSub(self.system)
        self.employ()
        return self

    async def __aexit__(self, *error: object) -> None:
        self.pubsub.service.close()
        await self.system.close()

    def employ(self) -> None:
        actor_class, args = self.pubsub.actor()
        self.actor: Any = lifecycle.spawn(self.system, actor_class, args, {})

    def reader(self, actor_class: type[Actor] = Reader, *args: Any) -> Any:
        return lifecycle.spawn(self.system, actor_class, args, {})

    async def readers(self, count: int, topic: str = TOPIC) -> list[Any]:
        readers = [self.reader() for _ in range(count)]
        for reader in readers:
            await self.pubsub.subscribe(topic, reader)
        return readers

    @property
    def watching(self) -> dict[int, Any]:
        return self.actor._extra.watching or {}

    def go_on(self, reader: Any, messages: int = 1) -> None:
        """Let a slow reader finish so many messages."""
        for _ in range(messages):
            reader._actor.pace.put_nowait(None)

    def publish(self, feed: Feed, count: int = 1, *, ends: bool = False) -> None:
        feed.grow(count)
        feed.ended = ends
        self.pubsub.advance(TOPIC)

    settle = staticmethod(VirtualClock.settle)


def got(reader: Any) -> list[Any]:
    return list(reader._actor.got)


def numbered(name: str, first: int, last: int) -> list[str]:
    return [f"{name}{number}" for number in range(first, last + 1)]


def singly(messages: list[str]) -> list[str]:
    """Return what joined messages stand for."""
    return "+".join(messages).split("+") if messages else []
