"""Wj join: the time to join a stream that has 10,000 events in its log, up to the last of them.

By iterating and by an actor; *alone* with chunks that cannot be joined, so that each is an event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from statistics import median
from typing import Any, Final

import puckstream as puck
from benchmarks.gauge import Stopwatch, on_asyncio
from benchmarks.workload import Sample, Subject, Workload, at_most, reads

__all__ = ["WORKLOAD"]

JOINS: Final = 20


class Reader(puck.Actor):
    def __init__(self, stream_id: str, last: int, there: asyncio.Future[None]) -> None:
        super().__init__()
        self.stream_id, self.last, self.there = stream_id, last, there

    async def on_start(self) -> None:
        await self.node.subscribe(self.stream_id)

    def on_receive(self, message: Any) -> None:
        if message[2].seq == self.last:
            self.there.set_result(None)


async def iterate(stream: puck.Stream, last: int) -> None:
    async with stream.subscribe() as events:
        async for event in events:
            if event.seq == last:
                return


def actor_of(node: puck.Node) -> Callable[[puck.Stream, int], Any]:
    async def read(stream: puck.Stream, last: int) -> None:
        there: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        reader = await node.spawn(Reader, stream.id, last, there)
        await there
        reader.kill()

    return read


async def joins(events: int, *, alone: bool, by_actor: bool) -> Sample:
    async def source(emit: Any) -> None:
        for number in range(events - 1):  # the first event is ``started``
            emit(puck.Chunk("content", "word ", {"n": number} if alone else {}))
        await asyncio.Event().wait()

    # Room for all of them, so that none is skipped.
    async with puck.Node(log_bytes=1e9) as node:
        stream = await node.start_stream(source)
        await iterate(stream, events)
        join = actor_of(node) if by_actor else iterate
        times: list[float] = []
        for _ in range(JOINS):
            watch = Stopwatch()
            await join(stream, events)
            times.append(watch.seconds() * 1e3)
        return {"time": median(times), "longest": max(times)}


def subject(name: str, *, alone: bool, by_actor: bool) -> Subject:
    def turn(events: int) -> Sample:
        return on_asyncio(lambda: joins(events, alone=alone, by_actor=by_actor))

    return Subject(name, turn, 10_000, 1_000)


WORKLOAD = Workload(
    name="join",
    title="Wj join",
    rounds=3,
    subjects=(
        subject("iterating", alone=False, by_actor=False),
        subject("an actor", alone=False, by_actor=True),
        subject("iterating, alone", alone=True, by_actor=False),
        subject("an actor, alone", alone=True, by_actor=True),
    ),
    goals=tuple(
        reads(
            f"to join at 10,000 events, {name}",
            ours=name,
            figure="time",
            unit="ms",
            must=at_most(50),
        )
        for name in ("iterating", "an actor", "iterating, alone", "an actor, alone")
    ),
)
