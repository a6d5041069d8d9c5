"""Cancelling closes the upstream, wherever the answer is, and leaks nothing of the pool.

Every stream runs on a pool of two connections, so that two leaks would end the pool. The facts
are the model server's: it says when a connection was closed, and after how many tokens.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from puckstream.backends.base import Request, Resources
from puckstream.backends.openai import OpenAI
from puckstream.testing.model_server import ModelServer
from puckstream.testing.script import Fault, Script

ASK = Request(({"role": "user", "content": "go on"},))
TEXT = "a b c d e "

# Turns of the loop before each further cancellation: none, at once, and at every step of closing.
REPEATS = [(), (0,), (1,), (2,), (3,), (4,), (1, 1), (0, 1, 1, 1), (2, 2)]

SCRIPTS = {
    "silent-before-head": Script(text=TEXT, fault=Fault("stall", after=None)),
    "silent-before-token": Script(text=TEXT, fault=Fault("stall", after=0)),
    "silent-in-the-middle": Script(text=TEXT, fault=Fault("stall", after=3)),
    "slow-in-the-middle": Script(text=TEXT, rate=0.01),
}


class Bench:
    """A gated server, a client with two connections, and readers that count what they got."""

    def __init__(self, server: ModelServer) -> None:
        self.server = server
        self.resources = Resources()
        self.got: list[str] = []
        self.progress = asyncio.Event()

    def backend(self, model: str) -> OpenAI:
        return OpenAI(model, base_url=self.server.url, api_key="", max_connections=2)

    def start(self, model: str) -> asyncio.Task[None]:
        return asyncio.ensure_future(self.read(model))

    async def read(self, model: str) -> None:
        async with self.backend(model).open(ASK, self.resources) as chunks:
            async for chunk in chunks:
                self.got.append(chunk.content)
                self.progress.set()

    async def running(self, number: int, tokens: int = 0) -> None:
        """Wait until the server has sent ``tokens`` tokens of that request."""
        await self.server.wait_record(
            lambda record: record.id == f"req-{number}" and record.tokens_sent == tokens
        )

    async def ended(self, number: int) -> None:
        await self.server.wait_record(
            lambda record: record.id == f"req-{number}" and record.ended is not None
        )

    async def got_all(self, count: int, text: str | None = None) -> None:
        """Wait until ``count`` chunks have come, or ``count`` times ``text``."""
        await self.until(lambda: (len(self.got) if text is None else self.got.count(text)) == count)

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.progress.clear()
            await self.progress.wait()

    async def check_the_pool_still_works(self) -> None:
        """Two whole answers at the same time, on a pool of two."""
        self.server.release_all()
        self.got.clear()
        await asyncio.gather(self.read("fine"), self.read("fine"))
        assert sorted(self.got) == sorted(["fine", ""] * 2)
        await self.resources.aclose()
        await self.server.wait_connections(0)


async def cancelled(task: asyncio.Task[Any], repeats: tuple[int, ...]) -> None:
    task.cancel()
    for turns in repeats:
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def server() -> ModelServer:
    return ModelServer({**SCRIPTS, "gated": Script(text=TEXT), "fine": Script(text="fine")})


@pytest.mark.parametrize("repeats", REPEATS)
@pytest.mark.parametrize("model", SCRIPTS)
async def test_a_cancel_while_the_upstream_is_silent_closes_it(
    model: str, repeats: tuple[int, ...]
) -> None:
    tokens = {"silent-in-the-middle": 3, "slow-in-the-middle": 1}.get(model, 0)
    async with server() as upstream:
        bench = Bench(upstream)
        for number in (1, 2, 3):  # one more than the pool could lose
            task = bench.start(model)
            await bench.running(number, tokens)
            await bench.got_all(tokens * number)
            await cancelled(task, repeats)
            record = await upstream.wait_closed(f"req-{number}")
            assert (record.ended, record.tokens_sent) == ("client_closed", tokens)
        await bench.check_the_pool_still_works()


@pytest.mark.parametrize("repeats", REPEATS)
@pytest.mark.parametrize("released", [0, 1, 4, 5])
async def test_a_cancel_between_two_tokens_closes_the_upstream(
    released: int, repeats: tuple[int, ...]
) -> None:
    async with ModelServer(Script(text=TEXT), gated=True) as upstream:
        bench = Bench(upstream)
        for number in (1, 2, 3):
            bench.got.clear()
            task = bench.start("gated")
            await bench.running(number)
            upstream.release(released)
            await bench.got_all(released)
            await cancelled(task, repeats)
            record = await upstream.wait_closed(f"req-{number}")
            assert (record.ended, record.tokens_sent) == ("client_closed", released)
        await bench.resources.aclose()
        await upstream.wait_connections(0)


@pytest.mark.parametrize("repeats", REPEATS)
@pytest.mark.parametrize("turns", range(8))
async def test_a_cancel_at_the_last_chunk_leaves_the_pool_usable(
    turns: int, repeats: tuple[int, ...]
) -> None:
    """The answer may be complete by then, so that the connection may have been handed back."""
    async with server() as upstream:
        bench = Bench(upstream)
        for number in (1, 2, 3):
            task = bench.start("gated")
            await bench.got_all(number, "e ")
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            for gap in repeats:
                for _ in range(gap):
                    await asyncio.sleep(0)
                task.cancel()
            await asyncio.wait({task})
            await bench.ended(number)
        await bench.check_the_pool_still_works()


@pytest.mark.parametrize("repeats", REPEATS)
async def test_a_cancel_while_waiting_for_a_connection_takes_none(repeats: tuple[int, ...]) -> None:
    async with server() as upstream:
        bench = Bench(upstream)
        busy = [bench.start("silent-before-token") for _ in range(2)]
        await upstream.wait_record(lambda record: record.id == "req-2")
        waiting = [bench.start("fine") for _ in range(3)]
        await asyncio.sleep(0)
        for task in waiting:
            await cancelled(task, repeats)
        assert len(upstream.records) == 2
        for task in busy:
            await cancelled(task, ())
        await bench.check_the_pool_still_works()


@pytest.mark.parametrize("repeats", REPEATS)
@pytest.mark.parametrize("turns", range(10))
async def test_a_cancel_while_connecting_or_sending_closes_what_was_opened(
    turns: int, repeats: tuple[int, ...]
) -> None:
    async with server() as upstream:
        bench = Bench(upstream)
        for _ in range(3):
            task = bench.start("silent-before-head")
            for _ in range(turns):
                await asyncio.sleep(0)
            await cancelled(task, repeats)
        await upstream.wait_connections(0)
        await bench.check_the_pool_still_works()


async def test_a_timeout_around_a_silent_upstream_closes_it() -> None:
    async with server() as upstream:
        bench = Bench(upstream)
        task = bench.start("silent-before-token")
        await upstream.wait_record(lambda record: record.id == "req-1")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await task
        await upstream.wait_closed("req-1")
        await bench.check_the_pool_still_works()


async def test_cancels_at_random_moments_close_every_upstream_and_leave_the_pool_whole() -> None:
    chance = random.Random(20)
    models = [*SCRIPTS, "gated", "fine"]
    async with server() as upstream:
        bench = Bench(upstream)

        async def one() -> None:
            task = bench.start(chance.choice(models))
            for _ in range(chance.choice((0, 3, 10, 30, 60))):
                await asyncio.sleep(0)
            for _ in range(chance.choice((1, 1, 2, 3))):
                task.cancel()
                for _ in range(chance.choice((0, 1, 2, 3))):
                    await asyncio.sleep(0)
            await asyncio.wait({task})

        for _ in range(40):
            await asyncio.gather(*(one() for _ in range(5)))
        await upstream.wait_record(lambda record: record.ended is not None)
        assert all(record.ended in ("client_closed", "complete") for record in upstream.records)
        await bench.check_the_pool_still_works()
        assert all(record.closed for record in upstream.records)
