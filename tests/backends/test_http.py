"""The pool under the providers: shared by equal calls, used again, and closed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from puckstream.backends.base import Resources
from puckstream.backends.http import Call, HttpPool, fetch, http_pool
from puckstream.errors import StreamError
from puckstream.testing.model_server import ModelServer

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunked(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def call(port: int) -> Call:
    return Call(f"http://127.0.0.1:{port}/", {"authorization": "Bearer sk-secret"}, b"{}", "test")


async def test_calls_to_one_origin_share_a_pool_and_others_have_their_own() -> None:
    resources = Resources()

    async def pool(url: str, size: int = 2) -> HttpPool:
        return await http_pool(resources, url, max_connections=size)

    first = await pool("http://127.0.0.1:1/v1")
    assert await pool("http://127.0.0.1:1/other") is first
    assert await pool("http://127.0.0.1:2/v1") is not first
    assert await pool("http://127.0.0.1:1/v1", 3) is not first
    await resources.aclose()


async def test_a_call_shows_no_key() -> None:
    assert "sk-secret" not in repr(call(1))
    assert Call("http://me:pass@h:1/x", {}, b"", "test").origin == "http://h:1"


async def test_an_end_of_the_body_that_is_late_costs_the_connection_and_nothing_else(
    raw_server: Any,
) -> None:
    connections = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"{}")
        writer.write(HEAD + chunked(b"all there is"))
        await reader.read()  # the body never ends

    async with raw_server(talk) as port:
        pool = HttpPool(1)
        for _ in range(2):
            async with pool.stream(call(port)) as answer:
                assert await anext(answer) == b"all there is"
                await answer.drain(linger=0.0)
            assert pool.free == 1
        await pool.aclose()
    assert connections == 2


async def test_an_end_of_the_body_that_comes_soon_saves_the_connection(raw_server: Any) -> None:
    connections = 0
    go = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            await reader.readuntil(b"{}")
            writer.write(HEAD + chunked(b"all there is"))
            await go.wait()
            writer.write(chunked(b""))

    async with raw_server(talk) as port:
        pool = HttpPool(1)
        for _ in range(2):
            async with pool.stream(call(port)) as answer:
                assert await anext(answer) == b"all there is"
                go.set()
                await answer.drain()
            go.clear()
        await pool.aclose()
    assert connections == 1


async def test_a_connection_that_the_server_closed_while_idle_is_not_used_again(
    raw_server: Any,
) -> None:
    closed = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(HEAD + chunked(b"x") + chunked(b""))
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        closed.set()

    async with raw_server(talk) as port:
        pool = HttpPool(1)
        for _ in range(3):
            async with pool.stream(call(port)) as answer:
                assert b"".join([piece async for piece in answer]) == b"x"
            await closed.wait()
            closed.clear()
            for _ in range(3):
                await asyncio.sleep(0)
        await pool.aclose()


async def test_a_page_can_be_fetched_and_a_missing_one_is_an_error() -> None:
    async with ModelServer() as server:
        assert await fetch(f"{server.url}/log", provider="test") == b"[]"
        with pytest.raises(StreamError, match="there is no /v1/nothing here") as caught:
            await fetch(f"{server.url}/nothing", provider="test")
        assert caught.value.status == 404
    with pytest.raises(StreamError) as caught:
        await fetch(server.url, provider="test")
    assert caught.value.kind == "connection"
