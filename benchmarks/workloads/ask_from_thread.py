"""W3t: round trips from a thread outside the loop, which blocks for each."""

from __future__ import annotations

import asyncio
from typing import Any

import pykka
import uvloop

import puckstream as puck
from benchmarks.gauge import Stopwatch
from benchmarks.workload import Sample, Subject, Workload, faster

__all__ = ["WORKLOAD"]


class Echo(puck.Actor):
    def on_receive(self, message: Any) -> Any:
        return message


def ask_all(node: puck.Node, count: int) -> Sample:
    with node:
        ref = node.spawn(Echo).get()
        watch = Stopwatch()
        for number in range(count):
            ref.ask(number)
        return {"time": watch.micros(count)}


def our_ask(count: int) -> Sample:
    return ask_all(puck.Node(), count)


def our_ask_on_uvloop(count: int) -> Sample:
    return ask_all(puck.Node(loop_factory=uvloop.new_event_loop), count)


class PykkaEcho(pykka.ThreadingActor):
    def on_receive(self, message: Any) -> Any:
        return message


def pykka_ask(count: int) -> Sample:
    ref = PykkaEcho.start()
    watch = Stopwatch()
    for number in range(count):
        ref.ask(number)
    sample = {"time": watch.micros(count)}
    ref.stop()
    return sample


async def echo(message: int) -> int:
    return message


def asyncio_ask(count: int) -> Sample:
    async def main() -> Sample:
        loop = asyncio.get_running_loop()

        def ask_each() -> Sample:
            watch = Stopwatch()
            for number in range(count):
                asyncio.run_coroutine_threadsafe(echo(number), loop).result()
            return {"time": watch.micros(count)}

        return await asyncio.to_thread(ask_each)

    return asyncio.run(main())


WORKLOAD = Workload(
    name="ask_from_thread",
    title="W3t ask from a thread",
    subjects=(
        Subject("puckstream", our_ask, 5_000, 500),
        Subject("puckstream, uvloop", our_ask_on_uvloop, 5_000, 500),
        Subject("pykka", pykka_ask, 5_000, 500),
        Subject("asyncio", asyncio_ask, 5_000, 300),
    ),
    goals=(
        faster("a round trip, against pykka", ours="puckstream", peer="pykka", must=0.75),
        faster(
            "a round trip on uvloop, against pykka",
            ours="puckstream, uvloop",
            peer="pykka",
            aim=1.3,
        ),
        faster("a round trip, against run_coroutine_threadsafe", ours="puckstream", peer="asyncio"),
    ),
)
