"""An upstream that says what it is told to, and knows who left."""

from __future__ import annotations

import asyncio

import pytest

from puckstream.testing.upstream import Upstream

ASK = b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"


async def talk(upstream: Upstream) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", int(upstream.url.rpartition(":")[2])
    )
    writer.write(ASK)
    return reader, writer


async def test_it_answers_with_its_body_in_the_pieces_it_is_told() -> None:
    async with Upstream(b"abc", media="text/plain", headers={"x-a": "1"}, piece=1) as upstream:
        reader, writer = await talk(upstream)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert b"x-a: 1" in head
        assert await reader.readuntil(b"0\r\n\r\n") == b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n"
        upstream.status, upstream.piece = 429, None
        writer.write(ASK)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 429")
        assert await reader.readuntil(b"0\r\n\r\n") == b"3\r\nabc\r\n0\r\n\r\n"
        assert [(r.method, r.path, r.body) for r in upstream.requests] == [
            ("POST", "/x", b"{}")
        ] * 2
        writer.transport.abort()
        await upstream.wait_connections(0)


@pytest.mark.parametrize("head", [True, False])
async def test_it_falls_silent_and_notices_who_leaves(head: bool) -> None:
    async with Upstream(b"abc", then="stall", head=head) as upstream:
        reader, writer = await talk(upstream)
        await upstream.wait_requests(1)
        await upstream.wait_connections(1)
        if head:
            await reader.readuntil(b"abc\r\n")
        writer.transport.abort()
        await upstream.wait_connections(0)


async def test_it_cuts_the_connection() -> None:
    async with Upstream(b"abc", then="cut") as upstream:
        reader, writer = await talk(upstream)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readuntil(b"0\r\n\r\n")
        writer.transport.abort()


async def test_its_end_drops_whoever_is_there() -> None:
    async with Upstream(then="stall") as upstream:
        reader, writer = await talk(upstream)
        await upstream.wait_requests(1)
    try:
        while await reader.read(99):
            pass
    except ConnectionError:
        pass
    writer.transport.abort()
