"""W6: a tree of actors, each with ten children, whose leaves send their number up to be summed."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Final

import pykka

import puckstream as puck
from benchmarks.beam import elixir
from benchmarks.gauge import Stopwatch, on_asyncio
from benchmarks.workload import Sample, Subject, Workload, faster

__all__ = ["WORKLOAD"]

CHILDREN: Final = 10


class Knot(puck.Actor):
    def __init__(self, parent: puck.ActorRef[Any], number: int, leaves: int) -> None:
        super().__init__()
        self.parent = parent
        self.number = number
        self.leaves = leaves
        self.left = CHILDREN
        self.total = 0

    def on_start(self) -> None:
        if self.leaves == 1:
            self.parent.tell(self.number)
            self.stop()
            return
        share = self.leaves // CHILDREN
        for child in range(CHILDREN):
            self.spawn(Knot, self.actor_ref, self.number + child * share, share)

    def on_receive(self, message: Any) -> None:
        self.total += message
        self.left -= 1
        if not self.left:
            self.parent.tell(self.total)
            self.stop()


class Root(puck.Actor):
    def __init__(self, done: asyncio.Future[int]) -> None:
        super().__init__()
        self.done = done

    def on_receive(self, message: Any) -> None:
        self.done.set_result(message)


async def our_skynet(leaves: int) -> Sample:
    async with puck.Node() as node:
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        root = await node.spawn(Root, done)
        watch = Stopwatch()
        node.spawn(Knot, root, 0, leaves)
        check(await done, leaves)
        return {"time": watch.micros(leaves)}


def check(total: int, leaves: int) -> None:
    assert total == leaves * (leaves - 1) // 2


async def queue_skynet(leaves: int) -> Sample:
    tasks: set[asyncio.Task[None]] = set()

    def start(parent: asyncio.Queue[int], number: int, leaves: int) -> None:
        task = asyncio.create_task(knot(parent, number, leaves))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def knot(parent: asyncio.Queue[int], number: int, leaves: int) -> None:
        if leaves == 1:
            parent.put_nowait(number)
            return
        inbox: asyncio.Queue[int] = asyncio.Queue()
        share = leaves // CHILDREN
        for child in range(CHILDREN):
            start(inbox, number + child * share, share)
        total = 0
        for _ in range(CHILDREN):
            total += await inbox.get()
        parent.put_nowait(total)

    root: asyncio.Queue[int] = asyncio.Queue()
    watch = Stopwatch()
    start(root, 0, leaves)
    check(await root.get(), leaves)
    return {"time": watch.micros(leaves)}


async def gather_skynet(leaves: int) -> Sample:
    async def knot(number: int, leaves: int) -> int:
        if leaves == 1:
            return number
        share = leaves // CHILDREN
        return sum(
            await asyncio.gather(
                *(knot(number + child * share, share) for child in range(CHILDREN))
            )
        )

    watch = Stopwatch()
    check(await knot(0, leaves), leaves)
    return {"time": watch.micros(leaves)}


class PykkaKnot(pykka.ThreadingActor):
    def __init__(self, parent: pykka.ActorRef[Any], number: int, leaves: int) -> None:
        super().__init__()
        self.parent = parent
        self.number = number
        self.leaves = leaves
        self.left = CHILDREN
        self.total = 0

    def on_start(self) -> None:
        if self.leaves == 1:
            self.parent.tell(self.number)
            self.stop()
            return
        share = self.leaves // CHILDREN
        for child in range(CHILDREN):
            PykkaKnot.start(self.actor_ref, self.number + child * share, share)

    def on_receive(self, message: Any) -> None:
        self.total += message
        self.left -= 1
        if not self.left:
            self.parent.tell(self.total)
            self.stop()


class PykkaRoot(pykka.ThreadingActor):
    def __init__(self, done: threading.Event) -> None:
        super().__init__()
        self.done = done
        self.total = 0

    def on_receive(self, message: Any) -> None:
        self.total = message
        self.done.set()


def pykka_skynet(leaves: int) -> Sample:
    done = threading.Event()
    root = PykkaRoot.start(done)
    watch = Stopwatch()
    PykkaKnot.start(root, 0, leaves)
    done.wait()
    sample = {"time": watch.micros(leaves)}
    check(root.proxy().total.get(), leaves)
    root.stop()
    pykka.ActorRegistry.stop_all()
    return sample


WORKLOAD = Workload(
    name="skynet",
    title="W6 skynet",
    subjects=(
        Subject("puckstream", lambda leaves: on_asyncio(lambda: our_skynet(leaves)), 10_000, 100),
        Subject(
            "asyncio, queues", lambda leaves: on_asyncio(lambda: queue_skynet(leaves)), 10_000, 100
        ),
        Subject(
            "asyncio, gather", lambda leaves: on_asyncio(lambda: gather_skynet(leaves)), 10_000, 100
        ),
        Subject("pykka", pykka_skynet, 1_000, 100),
        elixir("skynet", 10_000, 1_000),
    ),
    goals=(
        faster("a leaf, against pykka (1,000 leaves)", ours="puckstream", peer="pykka", must=20),
        faster(
            "a leaf, against asyncio tasks + queues",
            ours="puckstream",
            peer="asyncio, queues",
            must=1,
            aim=1.5,
        ),
        faster("a leaf, against asyncio.gather", ours="puckstream", peer="asyncio, gather"),
        faster("a leaf, against BEAM processes", ours="puckstream", peer="Elixir"),
    ),
)
