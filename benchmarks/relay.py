"""A message handed round a ring: what ping-pong and the ring of 1,000 have in common."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pykka

import puckstream as puck
from benchmarks.gauge import Stopwatch
from benchmarks.workload import Sample

__all__ = ["our_relay", "pykka_relay", "queue_relay"]


class Member(puck.Actor):
    next: puck.ActorRef[Any]

    def __init__(self, done: asyncio.Future[None]) -> None:
        super().__init__()
        self.done = done

    def on_receive(self, message: Any) -> None:
        if type(message) is int:
            if message:
                self.next.tell(message - 1)
            else:
                self.done.set_result(None)
        else:
            self.next = message


async def our_relay(members: int, hops: int) -> Sample:
    """Run ``hops`` hops through actors."""
    async with puck.Node() as node:
        done = asyncio.get_running_loop().create_future()
        refs = [await node.spawn(Member, done) for _ in range(members)]
        for number, ref in enumerate(refs):
            await ref.call(refs[(number + 1) % members])
        watch = Stopwatch()
        refs[0].tell(hops)
        await done
        return {"time": watch.micros(hops)}


async def queue_relay(members: int, hops: int) -> Sample:
    """Run ``hops`` hops through tasks with queues."""
    done = asyncio.get_running_loop().create_future()
    queues: list[asyncio.Queue[int]] = [asyncio.Queue() for _ in range(members)]

    async def member(inbox: asyncio.Queue[int], following: asyncio.Queue[int]) -> None:
        while True:
            left = await inbox.get()
            if left:
                following.put_nowait(left - 1)
            else:
                done.set_result(None)

    tasks = [
        asyncio.create_task(member(queue, queues[(number + 1) % members]))
        for number, queue in enumerate(queues)
    ]
    await asyncio.sleep(0)
    watch = Stopwatch()
    queues[0].put_nowait(hops)
    await done
    sample = {"time": watch.micros(hops)}
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return sample


class PykkaMember(pykka.ThreadingActor):
    next: pykka.ActorRef[Any]

    def __init__(self, done: threading.Event) -> None:
        super().__init__()
        self.done = done

    def on_receive(self, message: Any) -> None:
        if type(message) is int:
            if message:
                self.next.tell(message - 1)
            else:
                self.done.set()
        else:
            self.next = message


def pykka_relay(members: int, hops: int) -> Sample:
    """Run ``hops`` hops through threads."""
    done = threading.Event()
    refs = [PykkaMember.start(done) for _ in range(members)]
    for number, ref in enumerate(refs):
        ref.ask(refs[(number + 1) % members])
    watch = Stopwatch()
    refs[0].tell(hops)
    done.wait()
    sample = {"time": watch.micros(hops)}
    pykka.get_all([ref.stop(block=False) for ref in refs])
    return sample
