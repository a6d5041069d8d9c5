"""W10: 1,000 concurrent paced model streams, each through httpx, stream actor and PubSub.

CPU time and memory of the whole way, against bare httpx that does the same reading and nothing
else: one task per stream, and the leanest reading httpx allows, which is raw bytes, msgspec, and a
client for every 32 streams. The row with *one client* is how it is mostly written, with
``aiter_lines`` and ``json``; httpx's pool makes that dearer the more is open, so it has 200.

Memory is read when every stream has begun and none has ended.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any, Final

import httpx
import msgspec

import puckstream as puck
from benchmarks.gauge import cpu_seconds, on_asyncio, settle
from benchmarks.memory import resident
from benchmarks.model import REQUEST, model, words
from benchmarks.workload import Sample, Subject, Workload, costs

__all__ = ["WORKLOAD"]

TOKENS: Final = 10
RATE: Final = 3
SHARD: Final = 32
TEXT: Final = words(TOKENS)


class Audience:
    """Counts the streams that have begun and ended, and measures in between."""

    def __init__(self, streams: int) -> None:
        self.streams = streams
        self.begun = 0
        self.ended = 0
        self.open = asyncio.Event()
        self.over = asyncio.Event()
        settle()
        self.memory = resident()
        self.cpu = cpu_seconds()

    def begin(self) -> None:
        """Count the first chunk of a stream."""
        self.begun += 1
        if self.begun == self.streams:
            self.open.set()

    def end(self, text: str) -> None:
        """Count the end of a stream."""
        assert text == TEXT
        self.ended += 1
        if self.ended == self.streams:
            self.over.set()

    async def sample(self) -> Sample:
        """Wait for the end and return CPU time and memory per stream."""
        await self.open.wait()
        memory = resident() - self.memory
        opened = cpu_seconds()
        assert not self.ended, "the streams are too short to be open all at once"
        await self.over.wait()
        return {
            "cpu": (cpu_seconds() - self.cpu) / self.streams * 1e3,
            "open": (opened - self.cpu) / self.streams * 1e3,
            "memory": memory / self.streams / 1000,
        }


class Viewer(puck.Actor):
    def __init__(self, audience: Audience) -> None:
        super().__init__()
        self.audience = audience
        self.text = ""

    def on_receive(self, message: Any) -> None:
        match message:
            case ("puck_stream", _, ("content", chunk)):
                if not self.text:
                    self.audience.begin()
                self.text += chunk.content
            case ("puck_stream", _, event) if event.terminal:
                self.audience.end(self.text)
                self.stop()
            case _:
                pass


async def ours(url: str, streams: int) -> Sample:
    client = puck.Client("openai:bench", base_url=url, api_key="", max_connections=streams)
    async with puck.Node() as node:
        audience = Audience(streams)
        for _ in range(streams):
            viewer = await node.spawn(Viewer, audience)
            stream = await node.start_stream(client, "Go on.")
            await node.subscribe(stream.id, subscriber=viewer)
        return await audience.sample()


async def one_client(url: str, streams: int) -> Sample:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(timeout=None, limits=limits) as client:

        async def read() -> None:
            text = ""
            async with client.stream("POST", f"{url}/chat/completions", json=REQUEST) as response:
                async for line in response.aiter_lines():
                    if line.startswith("data: {"):
                        for choice in json.loads(line[6:])["choices"]:
                            content = choice["delta"].get("content")
                            if content:
                                if not text:
                                    audience.begin()
                                text += content
            audience.end(text)

        audience = Audience(streams)
        async with asyncio.TaskGroup() as group:
            for _ in range(streams):
                group.create_task(read())
            return await audience.sample()


class Delta(msgspec.Struct):
    content: str | None = None


class Choice(msgspec.Struct):
    delta: Delta


class Event(msgspec.Struct):
    choices: list[Choice]


async def blocks_of(response: httpx.Response) -> AsyncIterator[bytes]:
    rest = b""
    async for data in response.aiter_raw():
        *blocks, rest = (rest + data).split(b"\n\n")
        for block in blocks:
            yield block


async def bare(url: str, streams: int) -> Sample:
    decoder = msgspec.json.Decoder(Event)
    limits = httpx.Limits(max_connections=None)
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                httpx.AsyncClient(timeout=None, limits=limits, verify=False)
            )
            for _ in range(-(-streams // SHARD))
        ]

        async def read(client: httpx.AsyncClient) -> None:
            text = ""
            async with client.stream("POST", f"{url}/chat/completions", json=REQUEST) as response:
                async for block in blocks_of(response):
                    if block != b"data: [DONE]":
                        for choice in decoder.decode(block[6:]).choices:
                            if choice.delta.content:
                                if not text:
                                    audience.begin()
                                text += choice.delta.content
            audience.end(text)

        audience = Audience(streams)
        async with asyncio.TaskGroup() as group:
            for number in range(streams):
                group.create_task(read(clients[number // SHARD]))
            return await audience.sample()


def turn(
    main: Callable[[str, int], Coroutine[Any, Any, Sample]],
) -> Callable[[int], Sample]:
    def run(streams: int) -> Sample:
        rate = RATE if streams >= SHARD else 10 * RATE  # a few begin all at once
        with model("--text", TEXT, "--rate", str(rate), "--delay", "1") as url:
            return on_asyncio(lambda: main(url, streams))

    return run


WORKLOAD = Workload(
    name="streams",
    title="W10 streams",
    fresh=True,
    rounds=2,
    subjects=(
        Subject("puckstream", turn(ours), 1_000, 20),
        Subject("httpx", turn(bare), 1_000, 20),
        Subject("httpx, one client", turn(one_client), 200, 20),
    ),
    goals=(
        costs(
            "CPU per stream, against bare httpx",
            ours="puckstream",
            peer="httpx",
            figure="cpu",
            unit="ms",
            must=1.15,
            aim=1.05,
        ),
        costs(
            "memory per stream, against bare httpx",
            ours="puckstream",
            peer="httpx",
            figure="memory",
            unit="KB",
            must=1.15,
            aim=1.05,
        ),
        costs(
            "CPU to open a stream, against bare httpx",
            ours="puckstream",
            peer="httpx",
            figure="open",
            unit="ms",
        ),
        costs(
            "CPU per stream, against one client, 200 streams",
            ours="puckstream",
            peer="httpx, one client",
            figure="cpu",
            unit="ms",
        ),
    ),
)
