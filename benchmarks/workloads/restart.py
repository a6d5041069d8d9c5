"""W7: a supervised child that crashes again and again; the next crash follows the restart.

Every crash is reported, here as in Elixir, and the report is written, to the null device, as each
is configured by default. *Silent* is without: the logger is off on both sides.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import puckstream as puck
from benchmarks.beam import elixir
from benchmarks.gauge import Stopwatch, on_asyncio
from benchmarks.workload import Sample, Subject, Workload, faster

__all__ = ["WORKLOAD"]


class Fragile(puck.Actor):
    def __init__(self, started: asyncio.Queue[puck.ActorRef[Any]]) -> None:
        super().__init__()
        self.started = started

    def on_start(self) -> None:
        self.started.put_nowait(self.actor_ref)

    def on_receive(self, message: Any) -> None:
        raise ValueError(message)


async def our_restarts(count: int) -> Sample:
    started: asyncio.Queue[puck.ActorRef[Any]] = asyncio.Queue()
    supervisor = puck.child(
        puck.Supervisor, [puck.child(Fragile, started)], intensity=1_000_000, period=1.0
    )
    async with puck.Node([supervisor]):
        ref = await started.get()
        watch = Stopwatch()
        for _ in range(count):
            ref.tell("crash")
            ref = await started.get()
        return {"time": watch.micros(count)}


async def task_restarts(count: int) -> Sample:
    """Do the same with a loop that catches and starts anew."""
    started: asyncio.Queue[asyncio.Queue[str]] = asyncio.Queue()

    async def fragile(inbox: asyncio.Queue[str]) -> None:
        started.put_nowait(inbox)
        raise ValueError(await inbox.get())

    async def supervisor() -> None:
        while True:
            child = asyncio.create_task(fragile(asyncio.Queue()))
            await asyncio.wait([child])
            child.exception()

    task = asyncio.create_task(supervisor())
    inbox = await started.get()
    watch = Stopwatch()
    for _ in range(count):
        inbox.put_nowait("crash")
        inbox = await started.get()
    sample = {"time": watch.micros(count)}
    task.cancel()
    return sample


Restarts = Callable[[int], Coroutine[Any, Any, Sample]]


def reporting(main: Restarts) -> Callable[[int], Sample]:
    def run(count: int) -> Sample:
        # Python's handler of last resort writes to whatever sys.stderr is at that moment.
        with Path(os.devnull).open("w") as null, contextlib.redirect_stderr(null):
            return on_asyncio(lambda: main(count))

    return run


def silent(main: Restarts) -> Callable[[int], Sample]:
    def run(count: int) -> Sample:
        logging.disable(logging.CRITICAL)
        return on_asyncio(lambda: main(count))

    return run


WORKLOAD = Workload(
    name="restart",
    title="W7 restart",
    rounds=3,
    subjects=(
        Subject("puckstream", reporting(our_restarts), 2_000, 200),
        elixir("restart", 2_000, 200),
        Subject("puckstream, silent", silent(our_restarts), 2_000, 200),
        Subject("asyncio, silent", silent(task_restarts), 2_000, 200),
        elixir("restart_silent", 2_000, 200, "Elixir, silent"),
    ),
    goals=(
        faster(
            "a crash, report and restart, against Supervisor",
            ours="puckstream",
            peer="Elixir",
            must=1.5,
            aim=4,
        ),
        faster("silent, against Supervisor", ours="puckstream, silent", peer="Elixir, silent"),
        faster(
            "silent, against a loop around a task",
            ours="puckstream, silent",
            peer="asyncio, silent",
        ),
    ),
)
