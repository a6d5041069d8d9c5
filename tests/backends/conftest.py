"""Upstreams that do what no well-behaved server does."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
RawServer = Callable[..., AbstractAsyncContextManager[int]]


@pytest.fixture
def raw_server() -> RawServer:
    """Serve by hand: ``async with raw_server(talk) as port``."""

    @asynccontextmanager
    async def serve(talk: Talk, context: ssl.SSLContext | None = None) -> AsyncGenerator[int]:
        tasks: set[asyncio.Task[None]] = set()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            try:
                await talk(reader, writer)
            except (OSError, EOFError, asyncio.CancelledError):
                pass  # the client left, or the test is over
            finally:
                writer.transport.abort()

        server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await server.wait_closed()

    return serve
