"""Actors that lock a key until a gate opens, and a node to have them on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from puckstream.actors.actor import Actor
from puckstream.actors.locks import Lock
from puckstream.actors.registry import Registry
from puckstream.actors.thread_actor import ThreadActor
from puckstream.node import Node
from puckstream.testing.clock import VirtualClock
from puckstream.testing.gate import Gate

PATIENCE = 20.0


class Locker(Actor):
    """Locks what it is told to until the gate opens, and writes down when."""

    def __init__(self, lock: Lock, gate: Gate, diary: list[Any], name: Any) -> None:
        super().__init__()
        self.lock, self.gate, self.diary, self.name = lock, gate, diary, name

    async def on_receive(self, message: Any) -> Any:
        async with self.lock:
            self.diary.append(("in", self.name))
            try:
                await self.gate.wait()
                if message == "raise":
                    raise LookupError("in the block")
            finally:
                self.diary.append(("out", self.name))
        return self.name


class Stubborn(Locker):
    """Does not let itself be cancelled in the block."""

    async def on_receive(self, message: Any) -> Any:
        async with self.lock:
            self.diary.append(("in", self.name))
            waiting = asyncio.ensure_future(self.gate.wait())
            while not waiting.done():
                try:
                    await asyncio.shield(waiting)
                except asyncio.CancelledError:
                    continue
        self.diary.append(("out", self.name))


class Tasks(Locker):
    """Locks in two tasks it owns."""

    def on_receive(self, message: Any) -> Any:
        if message == "start":
            for name in ("first", "second"):
                self.start_task(name, self.run, name)

    async def run(self, name: str) -> None:
        async with self.lock:
            self.diary.append(("in", name))
            await self.gate.wait()
            self.diary.append(("out", name))


class ThreadLocker(ThreadActor):
    """Locks in a thread, until the event is set."""

    def __init__(self, lock: Lock, entered: threading.Event, leave: threading.Event) -> None:
        super().__init__()
        self.lock, self.entered, self.leave = lock, entered, leave

    def on_receive(self, message: Any) -> Any:
        with self.lock:
            self.entered.set()
            assert self.leave.wait(PATIENCE)
        return "done"


class Stage:
    """A node, and what the lockers write down."""

    def __init__(self, node: Node, clock: VirtualClock) -> None:
        self.node, self.clock = node, clock
        self.registry: Registry = node.registry
        self.gate = Gate()
        self.diary: list[Any] = []

    async def locker(
        self, name: Any, kind: type[Locker] = Locker, *, timeout: float | None = None
    ) -> Any:
        lock = self.registry.lock("key", timeout=timeout)
        return await self.node.spawn(kind, lock, self.gate, self.diary, name)

    async def lockers(self, *names: Any) -> list[Any]:
        """Start some that wait for the key, in this order, the first in it."""
        refs = [await self.locker(name) for name in names]
        for ref in refs:
            ref.tell("go")
            await VirtualClock.settle()
        return refs

    @property
    def waiting(self) -> int:
        return len(self.registry.locks.queues.get("key", ()))

    async def free(self) -> bool:
        """Whether nothing is left of any lock."""
        await VirtualClock.settle()
        return not self.registry.locks.queues


@asynccontextmanager
async def stage() -> AsyncGenerator[Stage, None]:
    """Enter a node; whoever is in a block at the end may leave it."""
    clock = VirtualClock()
    async with Node(clock=clock) as node:
        here = Stage(node, clock)
        try:
            yield here
        finally:
            here.gate.open()
