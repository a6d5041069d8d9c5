"""Wt: one thread outside the loop sends to an actor, until every message is handled."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import puckstream as puck
from benchmarks.gauge import Stopwatch
from benchmarks.workload import Sample, Subject, Workload, faster

__all__ = ["WORKLOAD"]


class Counter(puck.Actor):
    def __init__(self, count: int, done: threading.Event) -> None:
        super().__init__()
        self.left = count
        self.done = done

    def on_receive(self, message: Any) -> None:  # noqa: ARG002  # a hook
        self.left -= 1
        if not self.left:
            self.done.set()


def our_tell(count: int) -> Sample:
    with puck.Node() as node:
        done = threading.Event()
        ref = node.spawn(Counter, count, done).get()
        watch = Stopwatch()
        for number in range(count):
            ref.tell(number)
        done.wait()
        return {"time": watch.micros(count)}


def asyncio_tell(count: int) -> Sample:
    done = threading.Event()
    left = count

    def handle(_message: int) -> None:
        nonlocal left
        left -= 1
        if not left:
            done.set()

    async def main() -> Sample:
        loop = asyncio.get_running_loop()

        def send_all() -> Sample:
            watch = Stopwatch()
            for number in range(count):
                loop.call_soon_threadsafe(handle, number)
            done.wait()
            return {"time": watch.micros(count)}

        return await asyncio.to_thread(send_all)

    return asyncio.run(main())


WORKLOAD = Workload(
    name="tell_from_thread",
    title="Wt tell from a thread",
    subjects=(
        Subject("puckstream", our_tell, 100_000, 5_000),
        Subject("asyncio", asyncio_tell, 50_000, 2_000),
    ),
    goals=(
        faster(
            "a message, against call_soon_threadsafe",
            ours="puckstream",
            peer="asyncio",
            must=3,
            aim=5,
        ),
    ),
)
